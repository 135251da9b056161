//! The catalogue of events: what may happen, and in which shape it is kept.

use domain::{Decider, DomainEvent, Visitor, visit_all};
use poem_openapi::payload::Json;
use poem_openapi::types::{Any, Example, ToJSON};
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::AdminToken;
use crate::error::ApiError;
use crate::openapi::Tag;

pub(crate) struct CatalogueApi;

/// Shapes that events once had. The log keeps them for ever, so they stay here when their types have gone on to the next version.
const RETIRED: &str = include_str!("retired_events.json");

/// A type of events, in one version
#[derive(Object)]
#[oai(rename_all = "camelCase")]
struct EventType {
    /// Its name in events
    #[oai(rename = "type")]
    event_type: String,
    /// Version of the shape
    schema_version: u16,
    /// Category of the streams of such events
    category: String,
    /// True if events are still written in this version
    is_current: bool,
    /// JSON schema of `data`
    schema: Any<Value>,
}

/// All types of events
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct Catalogue {
    /// Always true
    success: bool,
    /// Every type of events, in every version that there may be in the log
    types: Vec<EventType>,
}

impl Example for Catalogue {
    fn example() -> Self {
        let renamed = EventType {
            event_type: "BusinessRenamed".into(),
            schema_version: 1,
            category: "business".into(),
            is_current: true,
            schema: Any(json!({"type": "object", "properties": {"name": {"type": "string"}}})),
        };
        Self { success: true, types: vec![renamed] }
    }
}

/// A shape that events once had.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetiredType {
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u16,
    category: String,
    schema: Value,
}

#[OpenApi(prefix_path = "/api/audit", tag = "Tag::Audit")]
impl CatalogueApi {
    /// See what may happen
    ///
    /// Every type of events, with a JSON schema for each version of it. Nothing of anybody's history.
    #[oai(path = "/catalogue", method = "get", operation_id = "auditCatalogue")]
    #[expect(clippy::unused_async, reason = "handlers are")]
    async fn catalogue(&self, _token: AdminToken) -> Result<Json<Catalogue>, ApiError> {
        Ok(Json(Catalogue { success: true, types: types() }))
    }
}

/// The catalogue as a document: it is compared with the one that was released, so that no shape changes unnoticed.
#[must_use]
pub fn document() -> String {
    let catalogue = Catalogue { success: true, types: types() };
    serde_json::to_string_pretty(&catalogue.to_json()).unwrap_or_default()
}

fn types() -> Vec<EventType> {
    struct Types;
    impl Visitor for Types {
        type Output = Vec<EventType>;

        fn visit<D: Decider>(&mut self) -> Vec<EventType> {
            let types = D::Event::types().into_iter().map(|known| EventType {
                event_type: known.name.to_owned(),
                schema_version: known.schema_version,
                category: D::CATEGORY.to_owned(),
                is_current: true,
                schema: Any(in_short(known.schema.to_value())),
            });
            types.collect()
        }
    }
    let retired: Vec<RetiredType> = serde_json::from_str(RETIRED).expect("it was read by a test");
    let mut types: Vec<EventType> = visit_all(&mut Types).into_iter().flatten().collect();
    types.extend(retired.into_iter().map(|retired| EventType {
        event_type: retired.event_type,
        schema_version: retired.schema_version,
        category: retired.category,
        is_current: false,
        schema: Any(retired.schema),
    }));
    let order = |known: &EventType| (known.category.clone(), known.event_type.clone(), known.schema_version);
    types.sort_by_key(order);
    types
}

/// With the first sentence of each description: what comes after it is for those who work on this program.
fn in_short(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    Value::String(text) if name == "description" => {
                        if let Some((first, _)) = text.split_once(". ") {
                            *field = format!("{first}.").into();
                        }
                    }
                    other => *other = in_short(other.take()),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = in_short(item.take())),
        _ => {}
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_is_there_in_every_version_up_to_todays() {
        let types = types();
        let named: BTreeSet<(&str, u16)> =
            types.iter().map(|known| (known.event_type.as_str(), known.schema_version)).collect();
        assert_eq!(named.len(), types.len(), "each once");
        for known in &types {
            for version in 1..known.schema_version {
                assert!(named.contains(&(&known.event_type, version)), "{} v{version}", known.event_type);
            }
        }
        let current: BTreeSet<&str> =
            types.iter().filter(|known| known.is_current).map(|known| known.event_type.as_str()).collect();
        assert_eq!(
            current.len(),
            types.iter().filter(|known| known.is_current).count(),
            "one version of each is today's"
        );
    }
}
