//! One aggregate: its life, and what it was at some moment.

use std::sync::Arc;

use commands::{Caller, HistoryRead, PastState, Until};
use domain::Timestamp;
use domain::audit::AuditedThing;
use event_store::{Position, StreamId};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_json::{Value, json};

use super::envelope::AuditEvent;
use super::events::{AuditEvents, PAGE_BYTES, READ_AT_ONCE};
use super::query::{stream_id, time};
use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::openapi::Tag;
use crate::paging::PageSize;

pub(crate) struct StreamsApi;

/// Past state of an aggregate
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct StateThen {
    /// Always true
    success: bool,
    stream: String,
    /// Version of the last event that made it what it was; 0 when it wasn't anything yet
    stream_version: u64,
    /// Position of that event
    position: u64,
    /// Time of recording
    recorded_at: Option<String>,
    /// The state, made of the events alone; null when it wasn't anything yet. What it is made of differs from kind to kind of stream
    state: Any<Value>,
}

impl Example for StateThen {
    fn example() -> Self {
        Self {
            success: true,
            stream: "business-business_id".into(),
            stream_version: 2,
            position: 42,
            recorded_at: Some("2025-11-22T10:30:00.000Z".into()),
            state: Any(json!({
                "phase": "active", "id": "business_id", "name": "Acme", "createdAt": "2025-11-22T10:00:00.000Z",
            })),
        }
    }
}

#[OpenApi(prefix_path = "/api/audit/streams", tag = "Tag::Audit")]
impl StreamsApi {
    /// Read the life of one thing
    ///
    /// Everything that has happened to a person (`user-{id}`), a message (`message-{id}`), a call (`call-{id}`), or whatever else an
    /// event names as its stream; in order.
    #[oai(path = "/:stream", method = "get", operation_id = "auditStream")]
    async fn stream(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        stream: Path<String>,
        /// Events after this version of the stream only
        after: Query<Option<u64>>,
        /// Maximum number of events, 1 to 1000
        limit: Query<Option<u32>>,
    ) -> Result<Found<AuditEvents>, ApiError> {
        let limit = PageSize::EVENTS.limit(limit.0)?;
        let stream = named(&stream.0)?;
        let (head, caller) = record(&api, &token, &stream, AuditedThing::Stream).await?;
        let (mut events, mut bytes) = (vec![], 0);
        let mut after = after.0.unwrap_or(0);
        let mut is_over = false;
        while !is_over && events.len() < limit as usize && bytes <= PAGE_BYTES {
            let turn = api.audit_gate.page(&caller).await?;
            let at_once = (limit as usize - events.len()).min(READ_AT_ONCE as usize);
            let page = api.store.read_stream(&stream, after, at_once).await;
            drop(turn);
            let page = page.map_err(commands::Error::from)?;
            is_over = page.is_empty();
            after = page.last().map_or(after, |event| event.stream_version);
            bytes += page.iter().map(|event| event.data.len()).sum::<usize>();
            events.extend(page.iter().filter(|event| event.position <= head).map(AuditEvent::from));
        }
        Ok(Found::at(head, AuditEvents::page(events, (!is_over).then_some(after))))
    }

    /// See what one thing was
    ///
    /// As of a position or a moment, and including it; without either, as of now. Made by replay of what has happened to it.
    #[oai(path = "/:stream/state", method = "get", operation_id = "auditState")]
    async fn state(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        stream: Path<String>,
        /// As of this position
        position: Query<Option<u64>>,
        /// As of this moment
        at: Query<Option<String>>,
    ) -> Result<Found<StateThen>, ApiError> {
        let at = time("at", at.0.as_deref())?;
        if position.0.is_some() && at.is_some() {
            return Err(ApiError::invalid("at", "there is a position already"));
        }
        let stream = named(&stream.0)?;
        let (head, caller) = record(&api, &token, &stream, AuditedThing::State).await?;
        // Nothing that came after the question is part of the answer.
        let until = at.map_or(Until::Position(position.0.unwrap_or(head).min(head)), Until::Time);
        let _turn = api.audit_gate.page(&caller).await?;
        let past = api.commands.state_of(&stream, until).await?;
        Ok(Found::at(head, StateThen::of(&stream, past)))
    }
}

impl StateThen {
    fn of(stream: &StreamId, past: Option<PastState>) -> Self {
        let last = past.as_ref().map(|past| &past.last);
        Self {
            success: true,
            stream: stream.to_string(),
            stream_version: last.map_or(0, |event| event.stream_version),
            position: last.map_or(0, |event| event.position),
            recorded_at: last.map(|event| Timestamp::from(event.recorded_at).to_string()),
            state: Any(past.map(|past| past.state).unwrap_or_default()),
        }
    }
}

/// A stream that there may be; whatever can't be the name of one, isn't.
fn named(name: &str) -> Result<StreamId, ApiError> {
    stream_id(name).map_err(|_| ApiError::not_found("Stream"))
}

/// Has it recorded that a stream is read, if the caller may. The head of the log, up to which the answer goes, and the caller.
async fn record(
    api: &Api,
    token: &AdminToken,
    stream: &StreamId,
    what: AuditedThing,
) -> Result<(Position, Caller), ApiError> {
    let request = token.request(api);
    let business = Some(api.commands.must_see_stream(&request, stream).await?);
    let read = HistoryRead { business, what, query: Some(format!("stream={stream}")) };
    Ok((api.commands.read_history(&request, read).await?.position, request.caller))
}
