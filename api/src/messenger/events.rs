//! The feed for those who poll, and tickets for browsers that open a stream.

use std::sync::Arc;

use cluster::TicketHolder;
use poem::web::Data;
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::openapi::Tag;
use crate::paging::PageSize;
use crate::realtime::Shared;

pub(crate) struct EventsApi;

/// Life of a ticket, in milliseconds.
const TICKET_LIFE_MS: i64 = 30_000;

/// Something that happened to you
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Event {
    /// Position in the log
    position: u64,
    /// Name, as in the live streams
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    event_type: String,
    /// Data, as in the live streams
    data: Any<Value>,
}

/// Events that you have missed
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Events {
    /// Always true
    success: bool,
    events: Vec<Event>,
    /// The place after them: to be sent as `position` the next time
    position: u64,
    /// True if there are no more
    caught_up: bool,
}

impl Example for Events {
    fn example() -> Self {
        let data = json!({
            "messageId": "msg_id", "readerId": "user_id", "readAt": "2025-11-22T10:30:00.000Z",
            "conversationId": "conversation_id", "position": 42,
        });
        let event = Event { position: 42, event_type: "message:read".into(), data: Any(data) };
        Self { success: true, events: vec![event], position: 45, caught_up: true }
    }
}

/// Ticket with which a browser opens a stream
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Ticket {
    /// Always true
    success: bool,
    /// To be sent as `?ticket=`; good once
    ticket: String,
    /// Until when it is good
    expires_at: String,
}

impl Example for Ticket {
    fn example() -> Self {
        Self { success: true, ticket: "…".into(), expires_at: "2025-11-22T10:30:30.000Z".into() }
    }
}

#[derive(ApiResponse)]
enum Issued {
    /// The ticket
    #[oai(status = 201)]
    Created(Json<Ticket>),
}

#[OpenApi(prefix_path = "/api/messenger/events", tag = "Tag::Events")]
impl EventsApi {
    /// Get what has happened
    ///
    /// After a position, in order; the same events as over the live streams, for those who poll. A position that the feed doesn't
    /// reach back to, or has never got to, is answered with one event `feed:reset`: load everything anew, and go on from its
    /// position. Without a position: where the feed is now.
    #[oai(path = "/since", method = "get", operation_id = "eventsSince")]
    async fn since(
        &self,
        api: Data<&Arc<Api>>,
        realtime: Data<&Arc<Shared>>,
        token: MessengerToken,
        /// The place up to which you have everything
        position: Query<Option<u64>>,
        /// Events on a page, 1 to 1000
        limit: Query<Option<u32>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Events>, ApiError> {
        let limit = PageSize::EVENTS.limit(limit.0)?;
        let head = api.fresh(&api.read_models.feed, min_position.0).await?;
        let Some(since) = position.0 else {
            return Ok(Found::at(head, Events { success: true, events: vec![], position: head, caught_up: true }));
        };
        let missed = realtime.poll(token.caller(), since, limit).await?;
        let events = missed.events.into_iter().map(|(position, event_type, data)| {
            let (event_type, data) = (event_type.to_owned(), Any(data));
            Event { position, event_type, data }
        });
        let events =
            Events { success: true, events: events.collect(), position: missed.position, caught_up: missed.is_all };
        Ok(Found::at(missed.position, events))
    }

    /// Get a ticket for a stream
    ///
    /// Browsers can't send headers when they open a WebSocket or an event stream, and a token has no place in a URL. A ticket is good
    /// once, and for 30 seconds: `GET /api/messenger/events?ticket=…` or `/api/messenger/events/ws?ticket=…`.
    #[oai(path = "/ticket", method = "post", operation_id = "issueTicket")]
    async fn ticket(&self, api: Data<&Arc<Api>>, token: MessengerToken) -> Result<Issued, ApiError> {
        let caller = token.caller();
        let expires_at = api.clock.now().plus_ms(TICKET_LIFE_MS);
        let holder =
            TicketHolder { user_id: caller.user_id, session_id: caller.session_id, open_until: token.expires_at() };
        let ticket = api.tickets.issue(holder, expires_at).await?;
        Ok(Issued::Created(Json(Ticket { success: true, ticket, expires_at: expires_at.to_string() })))
    }
}
