//! Our envelope, and what KurrentDB makes of it.

use std::borrow::Cow;

use bytes::Bytes;
use eventstore::EventData;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::failure::Failure;
use crate::{Actor, Metadata, NewEvent, Position, RecordedEvent, StreamId};

/// What of the envelope KurrentDB has no place for. Names that begin with `$` are its own: its explorer and its projections go by
/// them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomMetadata {
    schema_version: u16,
    business_id: Uuid,
    actor: StoredActor,
    #[serde(rename = "$correlationId")]
    correlation_id: Uuid,
    #[serde(rename = "$causationId", default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
}

#[derive(Serialize, Deserialize)]
struct StoredActor {
    user: Option<Uuid>,
    role: Option<Cow<'static, str>>,
    session: Option<Uuid>,
}

/// An event as the client takes it.
pub(super) fn event_data(event: &NewEvent, metadata: &Metadata) -> serde_json::Result<EventData> {
    let custom = CustomMetadata {
        schema_version: event.schema_version,
        business_id: metadata.business_id,
        actor: StoredActor {
            user: metadata.actor.user,
            role: metadata.actor.role.clone(),
            session: metadata.actor.session,
        },
        correlation_id: metadata.correlation_id,
        causation_id: metadata.causation_id,
    };
    Ok(json(&event.event_type, &event.data)?.id(event.event_id).metadata(Bytes::from(serde_json::to_vec(&custom)?)))
}

/// The very bytes, said to be JSON. The client takes JSON only as a value that it writes itself, so they are handed to it as one
/// that is written as it was read. Bytes that aren't exactly one value (nothing of ours) aren't said to be JSON.
fn json(event_type: &str, data: &Bytes) -> serde_json::Result<EventData> {
    match serde_json::from_slice::<&RawValue>(data) {
        Ok(value) if value.get().len() == data.len() => EventData::json(event_type, &value),
        _ => Ok(EventData::binary(event_type, data.clone())),
    }
}

/// The event as we know it; none when it isn't one of ours.
pub(super) fn recorded(event: eventstore::RecordedEvent) -> Result<Option<RecordedEvent>, Failure> {
    let Ok(custom) = serde_json::from_slice::<CustomMetadata>(&event.custom_metadata) else {
        tracing::debug!(position = event.position.commit, "skipped an event of another program");
        return Ok(None);
    };
    let stream = StreamId::from(event.stream_id().to_owned());
    Ok(Some(RecordedEvent {
        position: position(&event)?,
        recorded_at: recorded_at(&event),
        event_id: event.id,
        event_type: event.event_type.into(),
        schema_version: custom.schema_version,
        stream,
        stream_version: event.revision + 1,
        metadata: Metadata {
            business_id: custom.business_id,
            actor: Actor { user: custom.actor.user, role: custom.actor.role, session: custom.actor.session },
            correlation_id: custom.correlation_id,
            causation_id: custom.causation_id,
        },
        data: event.data,
    }))
}

/// The one number that is the place of an event in the log. KurrentDB has two, for transactions that are committed long after
/// they were begun; what is appended today commits itself, and is where it is committed.
///
/// Servers that are too old for it don't say where the events of a stream are.
pub(super) fn position(event: &eventstore::RecordedEvent) -> Result<Position, Failure> {
    let eventstore::Position { commit, prepare } = event.position;
    if commit != prepare || commit == u64::MAX {
        return Err(Failure::Misplaced { commit, prepare });
    }
    Ok(commit)
}

/// Time of writing in the server's units of 100 ns; the client's `created` has whole seconds.
fn recorded_at(event: &eventstore::RecordedEvent) -> OffsetDateTime {
    let ticks = event.metadata.get("created").and_then(|ticks| ticks.parse::<i64>().ok());
    let nanos = ticks.map(|ticks| i128::from(ticks) * 100);
    let exactly = nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    exactly.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
