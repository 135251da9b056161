//! An event as auditors get it.

use domain::{Timestamp, without_credentials};
use event_store::RecordedEvent;
use poem_openapi::Object;
use poem_openapi::types::{Any, Example};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

/// An event, with everything that is kept of it but credentials
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvent {
    event_id: String,
    /// Type of the event; see the catalogue
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    event_type: String,
    /// Version of the shape of `data`
    schema_version: u16,
    /// Stream of the event
    stream: String,
    /// Its place in the stream, from 1
    stream_version: u64,
    /// Its place in the whole log
    position: u64,
    /// Time of recording
    recorded_at: String,
    /// The business that it concerns
    business_id: String,
    actor: AuditActor,
    /// The request, or whatever else set it all off
    correlation_id: String,
    /// The event that was reacted to, if one was
    causation_id: Option<String>,
    /// Data, in the shape of its type and version
    data: Any<Value>,
}

/// Actor of an event
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct AuditActor {
    /// The person, unless the system acted by itself
    user: Option<String>,
    /// The role in which they did it
    role: Option<String>,
    /// The session in which they did it
    session: Option<String>,
}

impl Example for AuditEvent {
    fn example() -> Self {
        Self {
            event_id: "event_id".into(),
            event_type: "BusinessRenamed".into(),
            schema_version: 1,
            stream: "business-business_id".into(),
            stream_version: 2,
            position: 42,
            recorded_at: "2025-11-22T10:30:00.000Z".into(),
            business_id: "business_id".into(),
            actor: AuditActor {
                user: Some("user_id".into()),
                role: Some("SYSTEM_SUPER_ADMIN".into()),
                session: Some("session_id".into()),
            },
            correlation_id: "correlation_id".into(),
            causation_id: None,
            data: Any(json!({"name": "Acme", "renamedAt": "2025-11-22T10:30:00.000Z"})),
        }
    }
}

impl From<&RecordedEvent> for AuditEvent {
    fn from(event: &RecordedEvent) -> Self {
        let text = |id: Uuid| id.to_string();
        let actor = &event.metadata.actor;
        Self {
            event_id: text(event.event_id),
            event_type: event.event_type.to_string(),
            schema_version: event.schema_version,
            stream: event.stream.to_string(),
            stream_version: event.stream_version,
            position: event.position,
            recorded_at: Timestamp::from(event.recorded_at).to_string(),
            business_id: text(event.metadata.business_id),
            actor: AuditActor {
                user: actor.user.map(text),
                role: actor.role.as_ref().map(ToString::to_string),
                session: actor.session.map(text),
            },
            correlation_id: text(event.metadata.correlation_id),
            causation_id: event.metadata.causation_id.map(text),
            data: Any(serde_json::from_slice(&without_credentials(&event.data)).unwrap_or_default()),
        }
    }
}

/// The same, with the data byte for byte as it was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    event_id: Uuid,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: u16,
    stream: &'a str,
    stream_version: u64,
    position: u64,
    recorded_at: Timestamp,
    business_id: Uuid,
    actor: LineActor<'a>,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct LineActor<'a> {
    user: Option<Uuid>,
    role: Option<&'a str>,
    session: Option<Uuid>,
}

/// Writes an event as JSON, on one line, without an end of line. Data that was written over several lines is put on one: JSON has
/// no line breaks but between its parts.
pub fn write_line(into: &mut Vec<u8>, event: &RecordedEvent) {
    let data = without_credentials(&event.data);
    let one_line: Vec<u8>;
    let data: &[u8] = if data.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        one_line = data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        &one_line
    } else {
        &data
    };
    let actor = &event.metadata.actor;
    let line = Line {
        event_id: event.event_id,
        event_type: &event.event_type,
        schema_version: event.schema_version,
        stream: event.stream.as_str(),
        stream_version: event.stream_version,
        position: event.position,
        recorded_at: event.recorded_at.into(),
        business_id: event.metadata.business_id,
        actor: LineActor { user: actor.user, role: actor.role.as_deref(), session: actor.session },
        correlation_id: event.metadata.correlation_id,
        causation_id: event.metadata.causation_id,
        data: serde_json::from_slice(data).unwrap_or(RawValue::NULL),
    };
    // Structs of strings and numbers can all be written.
    let _ = serde_json::to_writer(into, &line);
}
