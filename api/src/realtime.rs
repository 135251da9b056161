//! The live streams: what clients say over them, and what the log has for them.
//!
//! Every transport is the same [connection](connection) underneath: [deliver] sends it what happens, [replay] what it has missed,
//! [emits] does what its client asks for.

mod closing;
mod connection;
mod connections;
mod deliver;
pub(crate) mod emits;
mod event_stream;
mod feed_event;
mod frames;
mod handed_over;
mod opening;
mod outgoing;
mod passing;
pub(crate) mod payloads;
mod replay;
mod socket_io;
pub(crate) mod stream;
mod typing;
pub(crate) mod upgrade;
mod websocket;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Bus, Presence, PresenceChange};
use commands::{Caller, Claims};
use domain::Timestamp;
use domain::session::Audience;
use event_store::Position;
use serde_json::Value;

use self::closing::Closing;
use self::connection::{Connection, Outlet};
use self::connections::Connections;
use self::handed_over::HandedOver;
use self::opening::{EventStreamEndpoint, WebSocketEndpoint};
use self::outgoing::Outgoing;
use self::passing::Passing;
use self::replay::Replays;
use self::socket_io::{SocketIo, SocketIoEndpoint};
use self::stream::Streams;
use self::typing::Typists;
use crate::Api;
use crate::error::ApiError;
use crate::limits::network_of;

pub use self::connections::LiveLimits;

/// Largest message that a client may send over a live stream, in bytes: room for the longest text, escaped.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// Events that may wait for a stream of ours to be written, and answers.
const STREAM_FRAMES: usize = 64;
/// Time that clients get to notice that the server closes their connections.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Interval of the search for expired connections.
const EXPIRY_LOOK: Duration = Duration::from_secs(1);
/// Interval of the search for users who have stopped typing without saying so.
const TYPING_LOOK: Duration = Duration::from_millis(250);

/// The live streams of this node, and what feeds them.
pub struct Realtime {
    socket_io: Arc<SocketIo>,
    shared: Arc<Shared>,
}

/// State shared by all connections.
pub(crate) struct Shared {
    pub(crate) api: Arc<Api>,
    connections: Connections,
    pub(crate) streams: Streams,
    presence: Presence,
    bus: Bus,
    replays: Replays,
    handed_over: Arc<HandedOver>,
    typists: Typists,
}

impl Realtime {
    /// Live streams over this API, which tell what is appended after a position.
    #[must_use]
    pub fn new(api: Arc<Api>, bus: Bus, after: Position) -> Self {
        let streams = Streams::default();
        let presence = api.presence.clone();
        let shared = Arc::new(Shared {
            connections: Connections::new(presence.clone(), after, api.live_limits),
            streams,
            presence,
            bus,
            replays: Replays::new(),
            handed_over: Arc::default(),
            typists: Typists::default(),
            api,
        });
        Self { socket_io: SocketIo::new(shared.clone()), shared }
    }

    /// Returns the shared state, for request handlers.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Serves the handshakes and the polling of Socket.IO.
    pub(crate) fn socket_io(&self) -> SocketIoEndpoint {
        SocketIoEndpoint::new(self.socket_io.clone())
    }

    /// Serves server-sent events.
    pub(crate) fn event_stream(&self) -> EventStreamEndpoint {
        EventStreamEndpoint(self.shared.clone())
    }

    /// Serves the plain WebSocket.
    pub(crate) fn websocket(&self) -> WebSocketEndpoint {
        WebSocketEndpoint(self.shared.clone())
    }

    /// Tells people what is appended to the log after a position. Never returns.
    pub async fn deliver(&self, after: Position) -> Infallible {
        deliver::deliver(&self.shared, after).await
    }

    /// Keeps who is online current, and tells people who comes and goes. Never returns.
    pub async fn keep_presence(&self) {
        let shared = &self.shared;
        let tell = |change: PresenceChange| {
            let event = if change.is_online { "user:online" } else { "user:offline" };
            let outgoing = Outgoing::passing(event, change.user_id.to_string());
            shared.connections.mention_to_colleagues(change.business_id, change.user_id, &outgoing);
        };
        shared.presence.run(shared.bus.clone(), tell).await;
    }

    /// Sees to everything else that goes on by itself. Never returns.
    pub async fn attend(&self) {
        let shared = &self.shared;
        tokio::join!(
            shared.listen_to_others(),
            shared.handed_over.write_down(&shared.api.commands),
            shared.end_typing(),
            shared.close_expired()
        );
    }

    /// Closes all connections. The HTTP server doesn't wait for those that were upgraded.
    pub async fn close(&self) {
        // Whoever is closed comes back at once, and is to find another node or this one's successor.
        self.shared.streams.close();
        self.shared.handed_over.write_all(&self.shared.api.commands).await;
        if tokio::time::timeout(CLOSE_PATIENCE, self.socket_io.close()).await.is_err() {
            tracing::debug!("clients that read nothing are disconnected");
        }
        self.shared.streams.cut_all();
    }
}

/// Missed events of a client that polls.
pub(crate) struct Polled {
    /// Position, type and data of each event.
    pub(crate) events: Vec<(Position, &'static str, Value)>,
    /// The place after them.
    pub(crate) position: Position,
    /// True if there are no more.
    pub(crate) is_all: bool,
}

impl Shared {
    /// Lists a user's new connection. Without a place in the feed it gets what happens from now on.
    ///
    /// # Errors
    /// [`ApiError::RateLimit`] when there are as many as may be.
    fn admit(
        &self,
        caller: Caller,
        open_until: Timestamp,
        since: Option<Position>,
        address: Option<IpAddr>,
        outlet: Outlet,
    ) -> Result<Arc<Connection>, ApiError> {
        let address = address.map(network_of);
        let connection = Connection::new(caller, open_until, address, outlet, self.handed_over.clone());
        let connection = Arc::new(connection);
        self.connections.add(&connection)?;
        if since.is_none() {
            connection.set_cursor(self.connections.keep_for(&connection));
        }
        Ok(connection)
    }

    /// Begins to send to a connection whose client knows of it.
    async fn welcome(self: &Arc<Self>, connection: Arc<Connection>, since: Option<Position>) {
        // The person may have been shut out before the connection was listed.
        let Connection { person, session_id, .. } = *connection;
        let claims = Claims { user_id: person, session_id, audience: Audience::Messenger };
        if matches!(self.api.commands.authenticate(claims).await, Err(commands::Error::Unauthorized(_))) {
            return self.connections.close(&connection, Closing::LoggedOut);
        }
        let behind = match since {
            Some(since) => Err(since),
            None => replay::go_live(self, &connection).await,
        };
        if let Err(since) = behind {
            tokio::spawn(replay::bring_up_to_date(self.clone(), connection, since));
        }
    }

    /// Returns missed events since a position, at most `limit` events of the log.
    pub(crate) async fn poll(&self, caller: Caller, since: Position, limit: u32) -> Result<Polled, ApiError> {
        let _turn = self.replays.poll_turn(caller.business_id, caller.user_id).await?;
        let missed = self.replays.missed(self, caller.business_id, caller.user_id, since, limit).await?;
        let mut events = Vec::with_capacity(missed.events.len());
        for event in &missed.events {
            if let Some(message) = event.hands_over() {
                self.handed_over.note(caller.user_id, caller.business_id, message);
            }
            events.push((event.position().unwrap_or(missed.position), event.event(), event.value()));
        }
        if missed.is_reset {
            let data = serde_json::json!({"position": missed.position});
            events.push((missed.position, "feed:reset", data));
        }
        Ok(Polled { events, position: missed.position, is_all: missed.is_all })
    }

    /// Closes connections when the tokens run out that they were opened with.
    async fn close_expired(&self) {
        let mut interval = tokio::time::interval(EXPIRY_LOOK);
        loop {
            interval.tick().await;
            self.connections.close_expired(self.api.clock.now());
        }
    }

    async fn end_typing(&self) {
        let mut interval = tokio::time::interval(TYPING_LOOK);
        loop {
            interval.tick().await;
            for (from, to) in self.typists.give_up() {
                self.pass_on(&Passing::TypingStopped { to, from });
            }
        }
    }
}
