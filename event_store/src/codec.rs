//! Between facts and bytes. This is the one place where personal data turns into bytes and back, and the one place that knows
//! the shapes which events had in the past.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::de::SliceRead;

use crate::upcasters::upcaster;
use crate::{NewEvent, RecordedEvent};

/// The data of an event isn't what its type says. Says which event it is and nothing of what is in it.
#[derive(thiserror::Error)]
#[error("event {event_id} of type {event_type} v{schema_version} can't be decoded")]
pub struct DecodeError {
    event_id: uuid::Uuid,
    event_type: String,
    schema_version: u16,
    #[source]
    source: serde_json::Error,
}

impl std::fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Puts a fact into the form in which it is kept.
///
/// # Panics
/// If `data` cannot be written as JSON. A type made of structs, strings and numbers always can.
#[must_use]
pub fn encode(event_id: uuid::Uuid, event_type: &'static str, schema_version: u16, data: &impl Serialize) -> NewEvent {
    let mut json = Vec::with_capacity(512);
    serde_json::to_writer(&mut json, data).expect("the types of events can all be written as JSON");
    NewEvent { event_id, event_type: Cow::Borrowed(event_type), schema_version, data: Bytes::from(json) }
}

/// Reads a fact, whatever shape it was written in. `read` gets the name of its type today and the data in today's shape.
pub fn decode<T>(
    event: &RecordedEvent,
    read: impl for<'de, 'json> FnOnce(
        &str,
        &'json mut serde_json::Deserializer<SliceRead<'de>>,
    ) -> Result<Option<T>, serde_json::Error>,
) -> Result<Option<T>, DecodeError> {
    let failed = |source| DecodeError {
        event_id: event.event_id,
        event_type: event.event_type.to_string(),
        schema_version: event.schema_version,
        source,
    };
    let data = upcast(event).map_err(failed)?;
    let mut json = serde_json::Deserializer::from_slice(&data);
    read(&event.event_type, &mut json).map_err(failed)
}

/// The data in today's shape: as it was written, unless it is old.
fn upcast(event: &RecordedEvent) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    let mut version = event.schema_version;
    let Some(mut step) = upcaster(&event.event_type, version) else {
        return Ok(Cow::Borrowed(&event.data));
    };
    let mut data = serde_json::from_slice(&event.data)?;
    loop {
        step(&mut data);
        version += 1;
        match upcaster(&event.event_type, version) {
            Some(next) => step = next,
            None => return serde_json::to_vec(&data).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{Actor, Metadata, StreamId};

    #[derive(Debug, PartialEq, Deserialize)]
    struct MessageSent {
        content: String,
        kind: String,
    }

    fn recorded(schema_version: u16, data: &'static str) -> RecordedEvent {
        RecordedEvent {
            event_id: Uuid::nil(),
            event_type: Cow::Borrowed("MessageSent"),
            schema_version,
            stream: StreamId::new("message", 1),
            stream_version: 1,
            position: 1,
            recorded_at: OffsetDateTime::UNIX_EPOCH,
            metadata: Metadata {
                business_id: Uuid::nil(),
                actor: Actor::default(),
                correlation_id: Uuid::nil(),
                causation_id: None,
            },
            data: Bytes::from_static(data.as_bytes()),
        }
    }

    fn read(event: &RecordedEvent) -> Result<Option<MessageSent>, DecodeError> {
        decode(event, |_, json| MessageSent::deserialize(json).map(Some))
    }

    #[test]
    fn an_old_shape_is_read_as_todays() {
        let old = recorded(1, r#"{"content":"Hello!"}"#);
        assert_eq!(read(&old).unwrap(), Some(MessageSent { content: "Hello!".into(), kind: "text".into() }));
    }

    #[test]
    fn todays_shape_is_read_as_it_stands() {
        let today = recorded(2, r#"{"content":"Hello!","kind":"image"}"#);
        assert_eq!(read(&today).unwrap(), Some(MessageSent { content: "Hello!".into(), kind: "image".into() }));
    }

    #[test]
    fn what_cannot_be_read_is_named_without_its_content() {
        let broken = recorded(2, r#"{"content":"x","kind":["secret"]}"#);
        let error = read(&broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
