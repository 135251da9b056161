//! Envelope of every event.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

/// A place in the whole log. Positions start at 1; 0 is the place before the first event.
pub type Position = u64;

/// Name of a stream, `category-id`. A category carries no `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// The stream of `id` in `category`.
    #[must_use]
    pub fn new(category: &str, id: impl fmt::Display) -> Self {
        debug_assert!(!category.contains('-'), "a category carries no -");
        Self(format!("{category}-{id}").into())
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Category of the stream.
    #[must_use]
    pub fn category(&self) -> &str {
        self.0.split_once('-').map_or(&*self.0, |(category, _)| category)
    }

    /// Id within the category.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, id)| id)
    }
}

impl From<String> for StreamId {
    /// Takes a name as it was stored.
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Actor of an event.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Actor {
    /// The person; none when the system acted by itself.
    pub user: Option<Uuid>,
    /// The role in which they did it; none when the system acted by itself.
    pub role: Option<Cow<'static, str>>,
    /// The session in which they did it.
    pub session: Option<Uuid>,
}

/// Cause of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The tenant that it concerns.
    pub business_id: Uuid,
    /// The actor.
    pub actor: Actor,
    /// The request, or whatever else set it all off.
    pub correlation_id: Uuid,
    /// The event that was reacted to, where one was.
    pub causation_id: Option<Uuid>,
}

/// An event about to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Names this very event, so that a retry is recognised.
    pub event_id: Uuid,
    /// Stored name of its type.
    pub event_type: Cow<'static, str>,
    /// Version of the shape of its data.
    pub schema_version: u16,
    /// Its data: JSON, kept byte for byte.
    pub data: Bytes,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Names this very event.
    pub event_id: Uuid,
    /// Stored name of its type.
    pub event_type: Cow<'static, str>,
    /// Version of the shape of its data.
    pub schema_version: u16,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in that stream, from 1.
    pub stream_version: u64,
    /// Its place in the whole log.
    pub position: Position,
    /// Time of the append. Never goes back as positions increase.
    pub recorded_at: OffsetDateTime,
    /// Its cause.
    pub metadata: Metadata,
    /// Its data: JSON, byte for byte as it was written.
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_splits_at_its_first_dash() {
        let stream = StreamId::new("reading", "a-b.c-d");
        assert_eq!((stream.as_str(), stream.category(), stream.id()), ("reading-a-b.c-d", "reading", "a-b.c-d"));
    }
}
