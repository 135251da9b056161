//! Opening the streams that are ours: who may, and from where on.

use std::net::IpAddr;
use std::sync::Arc;

use commands::{Caller, Claims};
use domain::Timestamp;
use domain::session::Audience;
use event_store::Position;
use futures_util::FutureExt as _;
use poem::http::{HeaderMap, Uri};
use poem::{Endpoint, Request, Response, Result};
use tokio_util::future::FutureExt as _;

use super::connection::{Connection, Outlet};
use super::frames::Frames;
use super::stream::Cutter;
use super::upgrade::{accept_upgrade, wants_websocket};
use super::{STREAM_FRAMES, Shared, event_stream, websocket};
use crate::auth::bearer;
use crate::error::{ApiError, ErrorBody, ErrorCode, respond};
use crate::identity::no_token_of_ours;

/// Client that opens a stream, and its cursor.
struct Opening {
    caller: Caller,
    /// Until when it may stay open.
    open_until: Timestamp,
    /// The place in the feed up to which the client has got everything; without one, it gets what happens from now on.
    since: Option<Position>,
    /// Address of the client, if it is known.
    address: Option<IpAddr>,
}

/// A stream that is listed, and about to be written.
pub(super) struct Opened {
    pub(super) caller: Caller,
    pub(super) since: Option<Position>,
    pub(super) listed: Listed,
}

impl Opening {
    /// Reads `?since=`, `?ticket=` and the headers that mean the same.
    async fn of(shared: &Shared, request: &Request) -> Result<Self, ApiError> {
        if shared.streams.is_closing() {
            return Err(ApiError::stopping());
        }
        let uri = request.original_uri();
        for (name, _) in parameters(uri) {
            if !matches!(name, "since" | "ticket") {
                return Err(ApiError::invalid("query", "there are since and ticket only"));
            }
        }
        let address = shared.api.trusted_proxies.client_of(request);
        if parameter(uri, "ticket").is_some() {
            // To redeem it is a statement, of whoever says that they have one.
            shared.api.limits.count_handshake(address)?;
        }
        let opening = authenticate(shared, request.headers(), uri).await;
        let (caller, open_until) = shared.api.limits.count_opening(address, opening)?;
        // Whoever reconnects by itself repeats the address, and says in the header how far it has come since.
        let since = match request.headers().get("last-event-id") {
            Some(id) => Some(("Last-Event-ID", id.to_str().unwrap_or("?"))),
            None => parameter(uri, "since").map(|since| ("since", since)),
        };
        let since = since
            .map(|(name, text)| text.parse().map_err(|_| ApiError::invalid(name, "must be a position in the feed")));
        Ok(Self { caller, open_until, since: since.transpose()?, address })
    }

    /// Lists the stream, which `cutter` cuts.
    fn list(self, shared: &Arc<Shared>, cutter: Cutter) -> Result<Opened, ApiError> {
        let Self { caller, open_until, since, address } = self;
        let frames = Frames::new(STREAM_FRAMES);
        let outlet = Outlet::Stream { frames: frames.clone(), cutter };
        let connection = shared.admit(caller, open_until, since, address, outlet)?;
        Ok(Opened { caller, since, listed: Listed { shared: shared.clone(), connection, frames } })
    }
}

/// Strikes a connection off once nobody writes its stream any more.
pub(super) struct Listed {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Arc<Connection>,
    pub(super) frames: Frames,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.frames.end();
        self.shared.connections.remove(&self.connection);
    }
}

async fn authenticate(shared: &Shared, headers: &HeaderMap, uri: &Uri) -> Result<(Caller, Timestamp), ApiError> {
    if let Some(ticket) = parameter(uri, "ticket") {
        let holder = shared.api.tickets.redeem(ticket, shared.api.clock.now()).await?.ok_or_else(no_token_of_ours)?;
        let claims = Claims { user_id: holder.user_id, session_id: holder.session_id, audience: Audience::Messenger };
        return Ok((shared.api.commands.authenticate(claims).await?, holder.open_until));
    }
    shared.api.authenticate(bearer(headers).ok_or_else(no_token_of_ours)?, Audience::Messenger).await
}

fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    parameters(uri).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Serves `/api/messenger/events`.
pub(crate) struct EventStreamEndpoint(pub(super) Arc<Shared>);

impl Endpoint for EventStreamEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let cutter = self.0.streams.cutter();
        let opened = Opening::of(&self.0, &request).await?.list(&self.0, cutter.clone())?;
        Ok(event_stream::open(&self.0, opened, cutter).await)
    }
}

/// Serves `/api/messenger/events/ws`.
pub(crate) struct WebSocketEndpoint(pub(super) Arc<Shared>);

impl Endpoint for WebSocketEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(key) = wants_websocket(request.headers()) else {
            return Ok(respond(ErrorBody::new(ErrorCode::ValidationError, "This is for WebSocket only")));
        };
        let shared = self.0.clone();
        let cutter = shared.streams.cutter();
        // Before the upgrade, so that whoever may not have another one is told why.
        let opened = Opening::of(&shared, &request).await?.list(&shared, cutter.clone())?;
        accept_upgrade(&request, &key, move |stream| {
            let served = websocket::serve(shared, opened, stream);
            served.with_cancellation_token_owned(cutter).map(drop)
        })
    }
}
