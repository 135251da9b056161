//! Reading the log, whatever it contains.

use std::borrow::Cow;
use std::collections::BTreeSet;

use domain::{Decider, DomainEvent, Visitor, visit_all};
use event_store::{Actor, Metadata, RecordedEvent, StreamId, codec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::repository::decode;

fn recorded(event_type: &str, schema_version: u16, data: Vec<u8>) -> RecordedEvent {
    let metadata =
        Metadata { business_id: Uuid::nil(), actor: Actor::default(), correlation_id: Uuid::nil(), causation_id: None };
    RecordedEvent {
        event_id: Uuid::nil(),
        event_type: Cow::Owned(event_type.to_owned()),
        schema_version,
        stream: StreamId::new("any", 1),
        stream_version: 1,
        position: 1,
        recorded_at: OffsetDateTime::UNIX_EPOCH,
        metadata,
        data: data.into(),
    }
}

/// The types of events, each with its shape.
fn types() -> Vec<(&'static str, Value)> {
    struct Types;
    impl Visitor for Types {
        type Output = Vec<(&'static str, Value)>;

        fn visit<D: Decider>(&mut self) -> Self::Output {
            D::Event::types().into_iter().map(|of| (of.name, of.schema.to_value())).collect()
        }
    }
    visit_all(&mut Types).into_iter().flatten().collect()
}

/// What a shape allows, and now and then something else. Of the words of JSON schemas, those that the shapes of events use.
fn like(shape: &Value, shapes: &Value) -> BoxedStrategy<Value> {
    let one_of = |several: &Value| {
        let several = several.as_array().into_iter().flatten().map(|one| like(one, shapes)).collect::<Vec<_>>();
        prop::strategy::Union::new(several).boxed()
    };
    if let Some(name) = shape["$ref"].as_str() {
        return like(&shapes[name.trim_start_matches("#/$defs/")], shapes);
    }
    if let Some(constant) = shape.get("const") {
        return Just(constant.clone()).boxed();
    }
    if let Some(several) = shape.get("oneOf").or_else(|| shape.get("anyOf")) {
        return one_of(several);
    }
    let allowed = match (shape["type"].as_str(), shape["format"].as_str()) {
        (Some("string"), Some("uuid")) => any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string().into()).boxed(),
        (Some("string"), Some("date-time")) => Just("2026-01-01T00:00:00.000Z".into()).boxed(),
        (Some("string"), _) => "\\PC{0,20}".prop_map(Value::from).boxed(),
        (Some("integer"), _) => prop_oneof![any::<u64>(), 0..9_u64].prop_map(Value::from).boxed(),
        (Some("boolean"), _) => any::<bool>().prop_map(Value::from).boxed(),
        (Some("array"), _) => prop::collection::vec(like(&shape["items"], shapes), 0..3).prop_map(Value::from).boxed(),
        (Some("object"), _) => {
            let fields: Vec<_> = shape["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, shape)| (Just(name.clone()), like(shape, shapes)))
                .collect();
            fields.prop_map(|fields| fields.into_iter().collect()).boxed()
        }
        _ => Just(Value::Null).boxed(),
    };
    let anything =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "\\PC{0,9}".prop_map(Value::from)];
    prop_oneof![30 => allowed, 1 => anything].boxed()
}

/// An event as it may be kept: of a type that there is, nearly always in the shape of that type.
fn kept() -> impl Strategy<Value = RecordedEvent> {
    let data = |(name, shape): (&'static str, Value)| {
        let shapes = shape["$defs"].clone();
        (Just(name), 0..4_u16, like(&shape, &shapes))
    };
    prop::sample::select(types())
        .prop_flat_map(data)
        .prop_map(|(name, version, data)| recorded(name, version, data.to_string().into_bytes()))
}

/// Reads an event as a fact of each aggregate: what is read can be written and read again, and has its place in a history.
struct Read<'a>(&'a RecordedEvent);

impl Visitor for Read<'_> {
    type Output = bool;

    fn visit<D: Decider>(&mut self) -> bool {
        let Ok(fact) = decode::<D>(self.0) else { return false };
        let again = codec::encode(Uuid::nil(), fact.event_type(), fact.schema_version(), &fact);
        let again = recorded(&again.event_type, again.schema_version, again.data.to_vec());
        assert_eq!(decode::<D>(&again).expect("it was written a moment ago"), fact);
        D::default().evolve(&fact);
        true
    }
}

#[test]
fn an_event_in_the_shape_of_its_type_has_its_place_in_a_history() {
    let mut taken_in = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..3000 {
        let event = kept().new_tree(&mut runner).expect("an event").current();
        if visit_all(&mut Read(&event)).contains(&true) {
            taken_in.insert(event.event_type.into_owned());
        }
    }
    assert_eq!(taken_in.len(), types().len(), "{taken_in:?}");
}

proptest! {
    #[test]
    fn bytes_that_are_no_event_are_refused(kind in prop::sample::select(types()), data in prop::collection::vec(any::<u8>(), 0..60)) {
        visit_all(&mut Read(&recorded(kind.0, 1, data)));
    }
}
