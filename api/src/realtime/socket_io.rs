//! Socket.IO: who connects, and what they emit.
//!
//! The library brings Engine.IO, that is transports, upgrades and heartbeats. What its packets mean is here: one namespace, text only,
//! and a server that asks for no acknowledgements are few lines, which count what they keep in bytes.

mod endpoint;
mod outbox;
mod packet;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use commands::Caller;
use domain::Timestamp;
use domain::session::Audience;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::EngineIoService;
use engineioxide::socket::Sid;
use engineioxide::{DisconnectReason, Socket, Str};
use event_store::Position;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::outbox::CHANNEL_PACKETS;
use self::packet::{Packet, ROOT};
use super::closing::Closing;
use super::connection::{Connection, Outlet};
use super::emits::{Client, Outcome, Payload};
use super::{MAX_MESSAGE_BYTES, Shared};
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::shares::{Share, Shares};

pub(crate) use self::endpoint::SocketIoEndpoint;
pub(super) use self::outbox::Outbox;

/// Time that an answer waits for room, and pause between two looks for it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_PAUSE: Duration = Duration::from_millis(5);
/// Time that a client may take from opening a connection to authenticating.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Maximum bodies of an address, which may be an office, that are read at the same time.
const READ_AT_ONCE: usize = 256;
/// Size of a connection's read buffer, in bytes: most packets are shorter.
const READ_BUFFER_BYTES: usize = 512;

/// A connection as the library knows it.
type EngineSocket = Socket<SocketData>;

/// Payload of the connect packet.
#[derive(Deserialize)]
struct Credentials {
    token: String,
    /// The place in the feed up to which it has got everything; without one, it gets what happens from now on.
    since: Option<Position>,
}

/// Address of a client, if it is known.
#[derive(Clone, Copy)]
struct ClientAddress(Option<IpAddr>);

/// The share of connections that have not said yet who they are, on its way from the handshake to its connection.
#[derive(Clone)]
struct Unknown(Arc<Mutex<Option<Share<IpAddr>>>>);

/// State of a connection.
#[derive(Default)]
pub(crate) struct SocketData(Mutex<ConnectionState>);

#[derive(Default)]
struct ConnectionState {
    phase: Phase,
    /// Counts the times that the client has tried to connect.
    tries: u32,
    /// Held until the client has said who it is.
    unknown: Option<Share<IpAddr>>,
    /// Closes it unless the client says who it is in time.
    deadline: Option<AbortHandle>,
}

#[derive(Default)]
enum Phase {
    /// The client has not said yet who it is.
    #[default]
    Unknown,
    /// It is being found out whether the client may connect.
    Connecting,
    Connected(Arc<Talk>),
    Over,
}

/// A client that is connected.
struct Talk {
    client: Arc<Client>,
    connection: Arc<Connection>,
    outbox: Arc<Outbox>,
}

/// All connections over Socket.IO, and what becomes of what they say.
pub(super) struct SocketIo {
    shared: Arc<Shared>,
    sockets: Mutex<HashMap<Sid, Arc<EngineSocket>>>,
    /// Connections that have not said yet who they are, by where they come from.
    unknown: Shares<IpAddr>,
    /// Bodies of polling clients that are being read, by address.
    read: Shares<IpAddr>,
}

impl SocketIo {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let unknown = Shares::new(shared.api.live_limits.unknown);
        Arc::new(Self { shared, sockets: Mutex::default(), unknown, read: Shares::new(READ_AT_ONCE) })
    }

    fn service(self: &Arc<Self>) -> EngineIoService<Self> {
        let config = EngineIoConfig::builder()
            .req_path("/socket.io")
            .max_payload(MAX_MESSAGE_BYTES as u64)
            .ws_max_message_size(MAX_MESSAGE_BYTES)
            .ws_max_frame_size(MAX_MESSAGE_BYTES)
            .ws_read_buffer_size(READ_BUFFER_BYTES)
            .max_buffer_size(CHANNEL_PACKETS);
        EngineIoService::with_config(self.clone(), config.build())
    }

    /// Ends all connections, so that their clients come back to another server.
    pub(super) async fn close(&self) {
        let sockets: Vec<_> = self.sockets().values().cloned().collect();
        join_all(sockets.iter().map(async |socket| {
            socket.close(DisconnectReason::ClosingServer);
            socket.closed().await;
        }))
        .await;
    }

    /// Finds out whether a client may connect, and tells it.
    fn connect(self: &Arc<Self>, socket: Arc<EngineSocket>, auth: &str) {
        let this_try = {
            let mut state = socket.data.state();
            // Who is connected already, or about to be, need not connect.
            let Phase::Unknown = state.phase else { return };
            state.phase = Phase::Connecting;
            state.tries = state.tries.wrapping_add(1);
            state.tries
        };
        let (this, auth) = (self.clone(), auth.to_owned());
        tokio::spawn(async move {
            match this.admit(&socket, &auth).await {
                Ok((talk, since)) => this.begin(&socket, talk, since, this_try).await,
                Err(error) => {
                    let body = error.body();
                    let refusal = json!({"message": body.error, "data": body});
                    // A client that makes no room for it finds out by itself.
                    let _ = socket.emit(format!("4{refusal}"));
                    socket.data.state().back_to_unknown(this_try);
                }
            }
        });
    }

    /// Lists the connection of a client that may connect. What goes out over it is kept until it stands.
    async fn admit(&self, socket: &Arc<EngineSocket>, auth: &str) -> Result<(Arc<Talk>, Option<Position>), ApiError> {
        let shared = &self.shared;
        let address = socket.req_parts.extensions.get::<ClientAddress>().and_then(|client| client.0);
        let (caller, open_until, since) = self.authenticate(address, auth).await?;
        let outbox = Outbox::of(socket.clone());
        let outlet = Outlet::SocketIo {
            outbox: outbox.clone(),
            cutter: socket.req_parts.extensions.get().cloned(),
            streams: shared.streams.clone(),
        };
        let connection = shared.admit(caller, open_until, since, address, outlet)?;
        let client = Arc::new(Client::new(shared.clone(), caller));
        Ok((Arc::new(Talk { client, connection, outbox }), since))
    }

    /// Authenticates a client; returns the caller, the expiry and the cursor.
    async fn authenticate(
        &self,
        address: Option<IpAddr>,
        auth: &str,
    ) -> Result<(Caller, Timestamp, Option<Position>), ApiError> {
        let api = &self.shared.api;
        let Ok(Credentials { token, since }) = serde_json::from_str(auth) else {
            api.limits.count_address(address)?;
            return Err(ApiError::invalid("auth", "must be {token, since}, since may be left out"));
        };
        let opening = api.authenticate(&token, Audience::Messenger).await;
        let (caller, open_until) = api.limits.count_opening(address, opening)?;
        Ok((caller, open_until, since))
    }

    /// Begins to talk with a client, unless it has left meanwhile.
    async fn begin(&self, socket: &EngineSocket, talk: Arc<Talk>, since: Option<Position>, this_try: u32) {
        if !socket.data.state().connected(&talk, this_try) {
            return self.shared.connections.remove(&talk.connection);
        }
        if talk.outbox.push(format!("0{}", json!({"sid": talk.outbox.id()}))).is_ok() {
            self.shared.welcome(talk.connection.clone(), since).await;
        }
    }

    /// Strikes a client off that leaves. It may connect again, if it does so in time; unless it is gone.
    fn leave(&self, socket: &Arc<EngineSocket>, is_gone: bool) {
        let left = {
            let mut state = socket.data.state();
            let phase = if is_gone { Phase::Over } else { Phase::Unknown };
            let left = std::mem::replace(&mut state.phase, phase);
            if is_gone {
                state.settle();
            } else if state.deadline.is_none() {
                state.deadline = Some(close_unless_connected(socket.clone()));
            }
            left
        };
        if let Phase::Connected(talk) = left {
            self.shared.connections.remove(&talk.connection);
        }
    }

    /// Does what a client asks for.
    fn hear(&self, socket: &Arc<EngineSocket>, ack: Option<&str>, said: Result<(String, Payload), ErrorBody>) {
        let talk = match &socket.data.state().phase {
            Phase::Connected(talk) => talk.clone(),
            Phase::Unknown | Phase::Connecting | Phase::Over => {
                // Who hasn't connected isn't listened to.
                return socket.close(DisconnectReason::PacketParsingError);
            }
        };
        let reply = Reply { outbox: talk.outbox.clone(), ack: ack.map(str::to_owned) };
        let answer = move |outcome| reply.send(outcome).boxed();
        let heard = match said {
            Ok((event, payload)) => talk.client.hear(event, payload, Box::new(answer)),
            Err(refusal) => talk.client.refuse(refusal.into(), Box::new(answer)),
        };
        if heard.is_err() {
            self.shared.connections.close(&talk.connection, Closing::Flooding);
        }
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<Sid, Arc<EngineSocket>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketIo").finish_non_exhaustive()
    }
}

impl EngineIoHandler for SocketIo {
    type Data = SocketData;

    fn on_connect(self: Arc<Self>, socket: Arc<EngineSocket>) {
        self.sockets().insert(socket.id, socket.clone());
        let mut state = socket.data.state();
        let unknown = socket.req_parts.extensions.get::<Unknown>();
        state.unknown = unknown.and_then(|unknown| unknown.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        state.deadline = Some(close_unless_connected(socket.clone()));
    }

    fn on_disconnect(&self, socket: Arc<EngineSocket>, _: DisconnectReason) {
        self.sockets().remove(&socket.id);
        self.leave(&socket, true);
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<EngineSocket>) {
        match Packet::parse(&message) {
            Some(Packet::Connect { namespace: ROOT, auth }) => self.connect(socket, auth),
            Some(Packet::Connect { namespace, .. }) => {
                let _ = socket.emit(format!("4{namespace},{}", json!({"message": "Invalid namespace"})));
            }
            Some(Packet::Disconnect) => self.leave(&socket, false),
            Some(Packet::Event { ack, data }) => self.hear(&socket, ack, Ok(said(data))),
            Some(Packet::BinaryEvent { ack }) => {
                let refusal = ErrorBody::new(ErrorCode::ValidationError, "payload: must be JSON, without binary data");
                self.hear(&socket, ack, Err(refusal));
            }
            Some(Packet::Ignored) => {}
            None => socket.close(DisconnectReason::PacketParsingError),
        }
    }

    /// Nothing here is binary: an event that announced it has been refused already, and nothing is kept of it.
    fn on_binary(self: &Arc<Self>, _: Bytes, socket: Arc<EngineSocket>) {
        if !matches!(socket.data.state().phase, Phase::Connected(_)) {
            socket.close(DisconnectReason::PacketParsingError);
        }
    }
}

impl SocketData {
    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionState {
    /// Returns true if the client is connected now: it may have left since this attempt began.
    fn connected(&mut self, talk: &Arc<Talk>, this_try: u32) -> bool {
        let is_awaited = matches!(self.phase, Phase::Connecting) && self.tries == this_try;
        if is_awaited {
            self.phase = Phase::Connected(talk.clone());
            self.settle();
        }
        is_awaited
    }

    /// The client has not been let in, and may try again.
    fn back_to_unknown(&mut self, this_try: u32) {
        if matches!(self.phase, Phase::Connecting) && self.tries == this_try {
            self.phase = Phase::Unknown;
        }
    }

    /// Nothing is waited for any more.
    fn settle(&mut self) {
        self.unknown = None;
        if let Some(deadline) = self.deadline.take() {
            deadline.abort();
        }
    }
}

/// Closes a connection, unless its client says in time who it is.
fn close_unless_connected(socket: Arc<EngineSocket>) -> AbortHandle {
    let closing = tokio::spawn(async move {
        tokio::time::sleep(CONNECT_PATIENCE).await;
        socket.close(DisconnectReason::TransportClose);
    });
    closing.abort_handle()
}

/// The name of an emit, and its first argument.
fn said(data: &str) -> (String, Payload) {
    let arguments: Vec<&RawValue> = serde_json::from_str(data).unwrap_or_default();
    let event = arguments.first().and_then(|name| serde_json::from_str(name.get()).ok()).unwrap_or_default();
    (event, arguments.get(1).map(|payload| (*payload).to_owned()))
}

/// Destination of an emit's outcome: its acknowledgement, if the client wants one; otherwise an error is sent as an event.
struct Reply {
    outbox: Arc<Outbox>,
    ack: Option<String>,
}

impl Reply {
    /// Answers as soon as there is room for it. A client that is gone, or makes none, needs no answer.
    async fn send(self, outcome: Outcome) {
        let Some(packet) = self.packet(&outcome) else { return };
        let deadline = Instant::now() + ANSWER_PATIENCE;
        while !self.outbox.is_closed() && self.outbox.push(packet.clone()).is_err() && Instant::now() < deadline {
            tokio::time::sleep(ANSWER_PAUSE).await;
        }
    }

    fn packet(&self, outcome: &Outcome) -> Option<String> {
        match (outcome, &self.ack) {
            (Ok(success), Some(id)) => Some(format!("3{id}[{success}]")),
            (Ok(_), None) => None,
            (Err(error), ack) => {
                let body = serde_json::to_string(error.body()).unwrap_or_default();
                Some(ack.as_ref().map_or_else(|| format!("2[\"error\",{body}]"), |id| format!("3{id}[{body}]")))
            }
        }
    }
}
