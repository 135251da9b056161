//! Personal data inside events.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UserId;

/// Data about a person, inside a fact that is kept for ever. It names its subject, so that the one place that turns events into
/// bytes can seal it with that person's key; destroying the key erases the value and leaves the fact.
///
/// Its `Debug` never shows the value: events get logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Personal<T> {
    /// User whom the data is about.
    pub subject: UserId,
    /// The data itself, unless it was erased.
    pub value: Known<T>,
}

/// A value that can be erased.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Known<T> {
    /// The value stands.
    Value(T),
    /// The subject had it erased. Stored as `null`.
    Erased,
}

impl<T> Personal<T> {
    /// Data about `subject`.
    pub fn of(subject: UserId, value: T) -> Self {
        Self { subject, value: Known::Value(value) }
    }

    /// The value, unless it was erased.
    pub fn known(&self) -> Option<&T> {
        match &self.value {
            Known::Value(value) => Some(value),
            Known::Erased => None,
        }
    }
}

impl Personal<String> {
    /// Heap memory of the value, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.known().map_or(0, String::capacity)
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Personal(of {})", self.subject)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn debug_output_keeps_the_secret() {
        let name = Personal::of(UserId(Uuid::nil()), "Jane Smith".to_owned());
        assert!(!format!("{name:?}").contains("Jane"));
    }

    #[test]
    fn an_erased_value_is_stored_as_null() {
        let erased = Personal::<String> { subject: UserId(Uuid::nil()), value: Known::Erased };
        let json = serde_json::to_string(&erased).unwrap();
        assert_eq!(json, r#"{"subject":"00000000-0000-0000-0000-000000000000","value":null}"#);
        assert_eq!(serde_json::from_str::<Personal<String>>(&json).unwrap(), erased);
    }
}
