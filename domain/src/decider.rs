//! Aggregates: commands, events, rules and state of one stream.

use std::fmt::Debug;

use schemars::Schema;
use serde::{Deserializer, Serialize};

use crate::RuleError;

/// The rules of one stream. Pure: clock, ids and look-ups arrive inside the command.
///
/// Its state can be written as JSON, for auditors: without credentials.
pub trait Decider: Default + Clone + Debug + Serialize + Send + Sync + 'static {
    /// The stream is named `{CATEGORY}-{id}`.
    const CATEGORY: &'static str;
    /// Commands that it accepts.
    type Command: Clone + Debug + Send;
    /// Events of its stream.
    type Event: DomainEvent;
    /// Rules that may refuse a command.
    type Error: RuleError;

    /// Says which events the command leads to, or which rule forbids it. No events means that there is nothing left to do.
    ///
    /// # Errors
    /// The rule that stands against the command.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Takes one fact in. Total: history is never rejected.
    fn evolve(&mut self, event: &Self::Event);

    /// Heap memory of the state in bytes, about: caches of states are bounded by it.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// The state after a whole history.
    fn replay<'a>(history: impl IntoIterator<Item = &'a Self::Event>) -> Self
    where
        Self::Event: 'a,
    {
        let mut state = Self::default();
        for event in history {
            state.evolve(event);
        }
        state
    }
}

/// A fact in the form that is kept for ever.
pub trait DomainEvent: Serialize + Sized + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Name under which the fact is stored. Given explicitly, so that renaming a Rust type changes no history.
    fn event_type(&self) -> &'static str;

    /// Version of the stored shape; older ones are upcast before they get here.
    fn schema_version(&self) -> u16;

    /// The types of events there are, with today's version and shape of each.
    fn types() -> Vec<EventType>;

    /// Reads the fact that is stored as `event_type`; `None` when this aggregate knows no such type.
    ///
    /// # Errors
    /// The deserializer's error if the data does not have the current shape.
    fn deserialize<'de, D: Deserializer<'de>>(event_type: &str, data: D) -> Result<Option<Self>, D::Error>;
}

/// A type of events, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct EventType {
    /// Its stored name.
    pub name: &'static str,
    /// Version of the shape.
    pub schema_version: u16,
    /// The shape: a JSON schema.
    pub schema: Schema,
}

/// Declares the events of one aggregate: an enum over payload structs, each with its stored name and schema version.
macro_rules! domain_events {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $( $stored:literal, version $version:literal => $variant:ident($payload:ty) ),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        $vis enum $name {
            $( #[doc = concat!("Stored as `", $stored, "`.")] $variant($payload), )+
        }

        impl crate::DomainEvent for $name {
            fn event_type(&self) -> &'static str {
                match self { $( Self::$variant(_) => $stored, )+ }
            }

            fn schema_version(&self) -> u16 {
                match self { $( Self::$variant(_) => $version, )+ }
            }

            fn types() -> Vec<crate::EventType> {
                vec![ $( crate::EventType {
                    name: $stored,
                    schema_version: $version,
                    schema: schemars::SchemaGenerator::default().into_root_schema_for::<$payload>(),
                }, )+ ]
            }

            fn deserialize<'de, D: serde::Deserializer<'de>>(event_type: &str, data: D) -> Result<Option<Self>, D::Error> {
                match event_type {
                    $( $stored => <$payload as serde::Deserialize>::deserialize(data).map(|payload| Some(Self::$variant(payload))), )+
                    _ => Ok(None),
                }
            }
        }
    };
}
pub(crate) use domain_events;
