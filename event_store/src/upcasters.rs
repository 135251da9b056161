//! From the shapes that events once had to the next ones. The domain knows today's shapes only; an event that was written years
//! ago takes as many of these steps as it needs when it is read. The log itself is never rewritten.

use serde_json::{Value, json};

/// One step: rewrites the data of one version into the next.
pub(crate) type Upcaster = fn(&mut Value);

/// The step from this version of an event's shape to the next; none when it is today's.
pub(crate) fn upcaster(event_type: &str, schema_version: u16) -> Option<Upcaster> {
    match (event_type, schema_version) {
        ("MessageSent", 1) => Some(message_sent_gains_a_kind),
        _ => None,
    }
}

/// Before messages had kinds, every message was text.
fn message_sent_gains_a_kind(data: &mut Value) {
    if let Value::Object(fields) = data {
        fields.entry("kind").or_insert_with(|| json!("text"));
    }
}
