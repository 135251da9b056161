//! The history as it goes on: from any position to what happens now, over server-sent events and a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commands::{Caller, Error as CommandError};
use domain::audit::AuditedThing;
use domain::session::Audience;
use domain::{Timestamp, UserId};
use event_store::{Delivery, Position, RecordedEvent};
use futures_util::{SinkExt, StreamExt, stream};
use poem::http::header;
use poem::{Body, Endpoint, Request, Response, Result};
use projections::audit::AuditReader;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use super::envelope::write_line;
use super::events::READ_AT_ONCE;
use super::query::{Permitted, Query, Words};
use crate::Api;
use crate::auth::bearer;
use crate::error::{ApiError, ErrorBody, ErrorCode, respond};
use crate::identity::no_token_of_ours;
use crate::realtime::Shared;
use crate::realtime::upgrade::{accept_upgrade, wants_websocket};
use crate::shares::Share;

/// Pages of events that may wait for a client to take them.
const WAITING_PAGES: usize = 2;
/// Interval of checking the reader's permission.
const LOOK: Duration = Duration::from_secs(1);
/// Checks between two heartbeats.
const LOOKS_A_SIGN: u32 = 15;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Nothing that a client says over the WebSocket is of interest.
const MAX_HEARD_BYTES: usize = 1024;
/// Longer than any event, which waits to be written by itself.
const MAX_WRITTEN_BYTES: usize = 16 * 1024 * 1024;

/// Serves `/api/audit/events/stream`.
pub(crate) struct LiveAuditStream(pub(crate) Arc<Shared>);

/// Serves `/api/audit/events/ws`.
pub(crate) struct LiveAuditWebSocket(pub(crate) Arc<Shared>);

/// Parameters of opening a stream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Opening {
    after: Option<u64>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    stream: Option<String>,
    actor: Option<String>,
    business_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// A live reading of the history.
struct Live {
    _share: Share<UserId>,
    pages: mpsc::Receiver<Page>,
    reader: Reader,
    looks: Interval,
    looked: u32,
}

/// Reader of a stream, with the expiry of their permission.
struct Reader {
    api: Arc<Api>,
    caller: Caller,
    open_until: Timestamp,
}

/// Page of events, the note that there are no more for now, or a failure.
enum Page {
    Events(Vec<RecordedEvent>),
    /// Everything up to this position has been told.
    CaughtUp(Position),
    Failed(ApiError),
}

/// Outgoing message.
enum Told {
    Page(Page),
    /// Nothing has happened: this says that the stream is alive.
    Sign,
    /// The reader may not read any more.
    Over(ApiError),
}

impl Live {
    async fn open(shared: &Shared, request: &Request) -> Result<Self, ApiError> {
        if shared.streams.is_closing() {
            return Err(ApiError::stopping());
        }
        let api = &shared.api;
        let reader = Reader::of(api, request).await?;
        let share = api.audit_gate.stream(&reader.caller)?;
        let opening: Opening = request.params().map_err(|error| ApiError::invalid("query", &error.to_string()))?;
        // Whoever reconnects by itself repeats the address, and says in the header how far it has come since.
        let last = request.headers().get("last-event-id").map(|id| id.to_str().unwrap_or("?").parse());
        let last = last.transpose().map_err(|_| ApiError::invalid("Last-Event-ID", "must be a position in the log"))?;
        if opening.to.is_some() {
            return Err(ApiError::invalid("to", "a live stream has no end"));
        }
        let query = Query::of(&Words {
            after: last.or(opening.after),
            event_type: opening.event_type,
            stream: opening.stream,
            actor: opening.actor,
            business: opening.business_id,
            from: opening.from,
            to: None,
        })?;
        let request = commands::Request { caller: reader.caller, correlation_id: api.ids.next() };
        let permitted = query.permit(api, &request, AuditedThing::LiveStream).await?;
        let (tell, pages) = mpsc::channel(WAITING_PAGES);
        // Up to the head of the log: from there on it is live.
        let history = permitted.reader(api, permitted.head.saturating_add(1)).await?;
        tokio::spawn(tell_all(api.clone(), reader.caller, history, permitted, tell));
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { _share: share, pages, reader, looks, looked: 0 })
    }

    /// Returns the next message; none at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            tokio::select! {
                page = self.pages.recv() => return page.map(Told::Page),
                _ = self.looks.tick() => {
                    if let Some(why) = self.reader.is_out().await {
                        return Some(Told::Over(why));
                    }
                    self.looked += 1;
                    // The first comes at once: the client learns that the stream is open.
                    if self.looked % LOOKS_A_SIGN == 1 {
                        return Some(Told::Sign);
                    }
                }
            }
        }
    }
}

impl Reader {
    async fn of(api: &Arc<Api>, request: &Request) -> Result<Self, ApiError> {
        let opening = match bearer(request.headers()) {
            Some(token) => api.authenticate(token, Audience::Admin).await,
            None => Err(no_token_of_ours()),
        };
        let (caller, open_until) = api.limits.count_opening(api.trusted_proxies.client_of(request), opening)?;
        Ok(Self { api: api.clone(), caller, open_until })
    }

    /// Why they may not read any more; none while they may.
    async fn is_out(&self) -> Option<ApiError> {
        if self.api.clock.now() >= self.open_until {
            return Some(ErrorBody::new(ErrorCode::Unauthorized, "The token has run out").into());
        }
        match self.api.commands.still_authentic(&self.caller).await {
            Ok(now)
                if now.business_id == self.caller.business_id
                    && now.role.is_system() == self.caller.role.is_system() =>
            {
                None
            }
            Ok(_) => Some(ApiError::forbidden("Your role has changed")),
            Err(error @ (CommandError::Unauthorized(_) | CommandError::Forbidden(_))) => Some(error.into()),
            // That it can't be found out says nothing.
            Err(_) => None,
        }
    }
}

/// Tells what has happened, and then what happens, at the pace of whoever takes it.
async fn tell_all(
    api: Arc<Api>,
    caller: Caller,
    mut history: AuditReader,
    permitted: Permitted,
    tell: mpsc::Sender<Page>,
) {
    let Permitted { filter, after, from, head, .. } = permitted;
    loop {
        let read = match api.audit_gate.page(&caller).await {
            Ok(_turn) => history.next_page(READ_AT_ONCE).await.map_err(ApiError::from),
            Err(crowded) => Err(crowded),
        };
        match read {
            Ok(events) if events.is_empty() => break,
            Ok(events) => {
                if tell.send(Page::Events(events)).await.is_err() {
                    return;
                }
            }
            Err(error) => return drop(tell.send(Page::Failed(error)).await),
        }
    }
    let is_wanted = |event: &RecordedEvent| {
        event.position > after
            && from.is_none_or(|from| Timestamp::from(event.recorded_at) >= from)
            && filter.matches(event)
    };
    let mut subscription = api.store.subscribe(head);
    loop {
        let page = tokio::select! {
            delivery = subscription.next() => match delivery {
                Ok(Delivery::Events(batch)) => {
                    let events: Vec<_> = batch.iter().filter(|event| is_wanted(event)).cloned().collect();
                    if events.is_empty() {
                        continue;
                    }
                    Page::Events(events)
                }
                Ok(Delivery::CaughtUp(position)) => Page::CaughtUp(position),
                Err(error) => {
                    tracing::warn!(%error, "following the log failed; retrying");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            },
            () = tell.closed() => return,
        };
        if tell.send(page).await.is_err() {
            return;
        }
    }
}

impl Endpoint for LiveAuditStream {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let live = Live::open(&self.0, &request).await?;
        let cutter = self.0.streams.cutter();
        let body = stream::unfold(Some(live), move |live| {
            let cutter = cutter.clone();
            async move {
                let mut live = live?;
                let told = tokio::select! {
                    told = live.next() => told?,
                    () = cutter.cancelled() => return None,
                };
                let is_over = matches!(told, Told::Over(_) | Told::Page(Page::Failed(_)));
                Some((Ok::<_, std::io::Error>(Bytes::from(server_sent(told))), (!is_over).then_some(live)))
            }
        });
        Ok(Response::builder()
            .content_type("text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            // Proxies that collect what they pass on would keep events back.
            .header("x-accel-buffering", "no")
            .body(Body::from_bytes_stream(body)))
    }
}

fn server_sent(told: Told) -> Vec<u8> {
    let mut text = vec![];
    match told {
        Told::Page(Page::Events(events)) => {
            for event in &events {
                text.extend_from_slice(
                    format!("id: {}\nevent: {}\ndata: ", event.position, event.event_type).as_bytes(),
                );
                write_line(&mut text, event);
                text.extend_from_slice(b"\n\n");
            }
        }
        Told::Page(Page::CaughtUp(position)) => {
            // With the position as its id: whoever comes back later needn't look at what was not for them again.
            let notice = format!("id: {position}\nevent: audit:caught-up\ndata: {{\"position\":{position}}}\n\n");
            text.extend_from_slice(notice.as_bytes());
        }
        Told::Page(Page::Failed(why)) | Told::Over(why) => {
            let body = serde_json::to_string(why.body()).unwrap_or_default();
            text.extend_from_slice(format!("event: error\ndata: {body}\n\n").as_bytes());
        }
        Told::Sign => text.extend_from_slice(b":\n\n"),
    }
    text
}

impl Endpoint for LiveAuditWebSocket {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(key) = wants_websocket(request.headers()) else {
            return Ok(respond(ErrorBody::new(ErrorCode::ValidationError, "This is for WebSocket only")));
        };
        let live = Live::open(&self.0, &request).await?;
        let streams = self.0.streams.clone();
        accept_upgrade(&request, &key, move |stream| async move {
            let cutter = streams.cutter();
            serve(live, streams.cuttable(stream, cutter.clone(), None), cutter).await;
        })
    }
}

/// Serves one WebSocket until it ends: an event a frame, as in the lines of the history.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(mut live: Live, stream: S, cutter: CancellationToken) {
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITTEN_BYTES)
        .max_message_size(Some(MAX_HEARD_BYTES))
        .max_frame_size(Some(MAX_HEARD_BYTES));
    let (mut sink, mut heard) = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await.split();
    loop {
        let told = tokio::select! {
            told = live.next() => told,
            message = heard.next() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
            () = cutter.cancelled() => break,
        };
        let written = match told {
            None => break,
            Some(Told::Sign) => sink.send(Message::Ping(vec![].into())).await,
            Some(Told::Page(Page::Events(events))) => {
                let mut frames = stream::iter(events.iter().map(frame).map(Ok).collect::<Vec<_>>());
                sink.send_all(&mut frames).await
            }
            Some(Told::Page(Page::CaughtUp(position))) => {
                sink.send(Message::text(format!(r#"{{"type":"audit:caught-up","position":{position}}}"#))).await
            }
            Some(Told::Page(Page::Failed(why)) | Told::Over(why)) => {
                // The codes of applications begin at 4000; these end like the HTTP statuses.
                let body = why.body();
                let code = CloseCode::from(4000 + body.status_code);
                let frame = CloseFrame { code, reason: body.error.clone().into() };
                let _ = sink.send(Message::Close(Some(frame))).await;
                break;
            }
        };
        if written.is_err() {
            break;
        }
    }
}

fn frame(event: &RecordedEvent) -> Message {
    let mut line = vec![];
    write_line(&mut line, event);
    Message::text(String::from_utf8(line).unwrap_or_default())
}
