//! The history as pages, and all at once.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use commands::Caller;
use domain::UserId;
use domain::audit::AuditedThing;
use event_store::RecordedEvent;
use futures_util::{Stream, stream};
use poem::Body;
use poem::web::Data;
use poem_openapi::param::{Header, Query as Param};
use poem_openapi::payload::Binary;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent};
use projections::audit::{AuditReader, ReadError};
use serde::Serialize;

use super::envelope::{AuditEvent, write_line};
use super::query::{Query, Words};
use crate::Api;
use crate::auth::AdminToken;
use crate::error::ApiError;
use crate::fair_queue::Crowded;
use crate::json_answer::JsonAnswer;
use crate::openapi::Tag;
use crate::paging::PageSize;
use crate::shares::Share;

pub(crate) struct AuditEventsApi;

/// Events that are read at once.
pub(super) const READ_AT_ONCE: u32 = 100;
/// Bytes of events on a page; it ends with what was read when they were exceeded, and says how to go on.
pub(super) const PAGE_BYTES: usize = 2 * 1024 * 1024;
const NDJSON: &str = "application/x-ndjson";

/// A page of the history
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvents {
    /// Always true
    success: bool,
    events: Vec<AuditEvent>,
    /// Cursor of the next page; null on the last one
    next_cursor: Option<String>,
}

impl Example for AuditEvents {
    fn example() -> Self {
        Self { success: true, events: vec![Example::example()], next_cursor: Some("42".into()) }
    }
}

impl AuditEvents {
    pub(super) fn page(events: Vec<AuditEvent>, next_cursor: Option<u64>) -> Self {
        Self { success: true, events, next_cursor: next_cursor.map(|cursor| cursor.to_string()) }
    }
}

#[derive(ResponseContent)]
enum Content {
    Page(JsonAnswer<AuditEvents>),
    /// An event a line, each as in the page
    #[oai(content_type = "application/x-ndjson")]
    Lines(Binary<Body>),
}

#[derive(ApiResponse)]
enum History {
    /// The events. `X-Position` is that of the last event in the log when they were asked for, up to which they go
    #[oai(status = 200)]
    Ok(Content, #[oai(header = "X-Position")] u64),
}

#[OpenApi(prefix_path = "/api/audit", tag = "Tag::Audit")]
impl AuditEventsApi {
    /// Read the history
    ///
    /// In order; of one's own business, with a system role of all. As a page of JSON, or with `Accept: application/x-ndjson` as lines
    /// of JSON, all there are up to now unless a `limit` is set. What breaks off is gone on with by `after`, the position of the last
    /// event that came. Live, with the same filters: server-sent events at `/api/audit/events/stream` (`id` is the position,
    /// `Last-Event-ID` is honoured), and a WebSocket at `/api/audit/events/ws`.
    #[oai(path = "/events", method = "get", operation_id = "auditEvents")]
    #[expect(clippy::too_many_arguments, reason = "these are the filters that there are")]
    async fn events(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        /// Events after this position only
        after: Param<Option<u64>>,
        /// Maximum number of events: 1 to 1000 on a page, 100 by default; without limit as lines
        limit: Param<Option<u64>>,
        /// Of this type only
        #[oai(name = "type")]
        event_type: Param<Option<String>>,
        /// Of this stream only
        stream: Param<Option<String>>,
        /// Caused by this person only
        actor: Param<Option<String>>,
        /// Of this business only
        #[oai(name = "businessId")]
        business_id: Param<Option<String>>,
        /// Recorded at this time or later
        from: Param<Option<String>>,
        /// Recorded at this time or earlier
        to: Param<Option<String>>,
        /// `application/x-ndjson` for lines
        #[oai(name = "Accept")]
        accept: Header<Option<String>>,
    ) -> Result<History, ApiError> {
        let words = Words {
            after: after.0,
            event_type: event_type.0,
            stream: stream.0,
            actor: actor.0,
            business: business_id.0,
            from: from.0,
            to: to.0,
        };
        let query = Query::of(&words)?;
        let wants_lines = accept.0.as_deref().is_some_and(wants_lines);
        let largest = if wants_lines { u64::MAX } else { u64::from(PageSize::EVENTS.max) };
        if limit.0.is_some_and(|limit| limit == 0 || limit > largest) {
            let no_page = || PageSize::EVENTS.out_of_bounds();
            return Err(if wants_lines { ApiError::invalid("limit", "must be at least 1") } else { no_page() });
        }
        let request = token.request(&api);
        let export = wants_lines.then(|| api.audit_gate.export(&request.caller)).transpose()?;
        let permitted = query.permit(&api, &request, AuditedThing::Events).await?;
        let reader = permitted.reader(&api, permitted.before).await?;
        if let Some(export) = export {
            let left = limit.0.unwrap_or(u64::MAX);
            let export = Export { api: api.clone(), caller: request.caller, reader, left, _share: export };
            let lines = Body::from_bytes_stream(lines(export));
            return Ok(History::Ok(Content::Lines(Binary(lines)), permitted.head));
        }
        let limit =
            limit.0.map_or(PageSize::EVENTS.default, |limit| u32::try_from(limit).unwrap_or(PageSize::EVENTS.max));
        let (events, cursor) = page(&api, &request.caller, reader, limit).await?;
        Ok(History::Ok(Content::Page(JsonAnswer(AuditEvents::page(events, cursor))), permitted.head))
    }
}

/// A page of so many events, and where the next one begins if there is one.
async fn page(
    api: &Api,
    caller: &Caller,
    mut reader: AuditReader,
    limit: u32,
) -> Result<(Vec<AuditEvent>, Option<u64>), ApiError> {
    let (mut events, mut last, mut bytes) = (vec![], None, 0);
    loop {
        let left = limit - u32::try_from(events.len()).unwrap_or(limit);
        if left == 0 || bytes > PAGE_BYTES {
            return Ok((events, last));
        }
        let turn = api.audit_gate.page(caller).await?;
        let more = reader.next_page(left.min(READ_AT_ONCE)).await?;
        drop(turn);
        if more.is_empty() {
            return Ok((events, None));
        }
        last = more.last().map(|event| event.position);
        bytes += more.iter().map(|event| event.data.len()).sum::<usize>();
        events.extend(more.iter().map(AuditEvent::from));
    }
}

/// Returns true if a client that accepts this prefers lines.
fn wants_lines(accept: &str) -> bool {
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(NDJSON)))
}

/// An export that goes on.
struct Export {
    api: Arc<Api>,
    caller: Caller,
    reader: AuditReader,
    /// Events that are still to come, at most.
    left: u64,
    _share: Share<UserId>,
}

impl Export {
    async fn next(&mut self) -> Result<Vec<RecordedEvent>, io::Error> {
        let _turn = self.api.audit_gate.page(&self.caller).await.map_err(|_| io::Error::other(Crowded))?;
        let limit = u32::try_from(self.left).unwrap_or(READ_AT_ONCE).min(READ_AT_ONCE);
        self.reader.next_page(limit).await.map_err(io::Error::other)
    }
}

/// Lines, made as the client takes them.
fn lines(export: Export) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(export), |state| async {
        let mut export = state?;
        if export.left == 0 {
            return None;
        }
        let events = match export.next().await {
            Ok(events) if events.is_empty() => return None,
            Ok(events) => events,
            // The client sees the connection break, and knows that something is missing.
            Err(error) => return Some((Err(error), None)),
        };
        let mut lines = Vec::with_capacity(events.len() * 512);
        for event in &events {
            write_line(&mut lines, event);
            lines.push(b'\n');
        }
        export.left = export.left.saturating_sub(events.len() as u64);
        Some((Ok(Bytes::from(lines)), Some(export)))
    })
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Index(error) => error.into(),
            ReadError::Log(error) => {
                tracing::warn!(%error, cause = %error.source, "reading the log failed");
                ApiError::unavailable()
            }
            ReadError::Missing(_) => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_accepts_lines_gets_lines() {
        for (accept, expected) in [
            ("application/x-ndjson", true),
            ("text/plain, Application/X-NDJSON;q=0.9", true),
            ("application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(wants_lines(accept), expected, "{accept}");
        }
    }
}
