//! What clients do over Socket.IO: connect, and emit.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use commands::Caller;
use domain::Timestamp;
use domain::session::Audience;
use event_store::Position;
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use socketioxide::SocketIo;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, Extension, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts};
use socketioxide::socket::Socket;
use tokio::time::Instant;

use super::Shared;
use super::connection::{Closing, Connection, Outlet};
use super::emits::{Client, Outcome, Payload};
use super::socket_io_endpoint::ClientAddress;
use crate::Api;
use crate::error::ApiError;

/// How long an answer waits for room, and how long until it is looked again whether there is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_PAUSE: Duration = Duration::from_millis(5);

/// What a client sends to connect.
#[derive(Deserialize)]
struct Credentials {
    token: String,
    /// The place in the feed up to which it has got everything; without one, it gets what happens from now on.
    since: Option<Position>,
}

/// A connection that its client hasn't been told of yet.
#[derive(Clone)]
struct Admitted {
    connection: Weak<Connection>,
    since: Option<Position>,
}

/// Registers everything that clients can do.
///
/// All of it is set up before the client is told that it is connected: the library runs the handler of a connection some time
/// after that, and what the client does or sets off in between would be lost.
pub(super) fn register(io: &SocketIo, shared: &Arc<Shared>) {
    let admit = {
        let shared = shared.clone();
        async move |socket: SocketRef, TryData(credentials): TryData<Value>| {
            let credentials = credentials.ok().and_then(|value| serde_json::from_value::<Credentials>(value).ok());
            let (caller, open_until, since) = authenticate(&shared.api, &socket, credentials).await?;
            let connection = Arc::downgrade(&admit(&shared, &socket, caller, open_until, since));
            socket.extensions.insert(Admitted { connection, since });
            Ok::<(), Refused>(())
        }
    };
    let connected = {
        let shared = shared.clone();
        async move |socket: SocketRef, Extension(admitted): Extension<Admitted>| {
            socket.extensions.remove::<Admitted>();
            if let Some(connection) = admitted.connection.upgrade() {
                shared.welcome(connection, admitted.since).await;
            }
        }
    };
    io.ns("/", connected.with(admit));
}

/// The message of a `connect_error`.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error.body().error.clone())
    }
}

/// Who connects, until when they may stay, and from where on.
async fn authenticate(
    api: &Api,
    socket: &SocketRef,
    credentials: Option<Credentials>,
) -> Result<(Caller, Timestamp, Option<Position>), Refused> {
    let Some(Credentials { token, since }) = credentials else {
        count_stranger(api, socket)?;
        return Err(Refused("auth: must be {token, since}, since may be left out".to_owned()));
    };
    let authenticated = api.authenticate(&token, Audience::Messenger).await;
    if let Err(ApiError::Unauthorized(_)) = &authenticated {
        count_stranger(api, socket)?;
    }
    let (caller, open_until) = authenticated?;
    api.limits.count_request(caller.session_id)?;
    Ok((caller, open_until, since))
}

/// Whoever tries tokens is nobody in particular.
fn count_stranger(api: &Api, socket: &SocketRef) -> Result<(), ApiError> {
    let client = socket.req_parts().extensions.get::<ClientAddress>().copied();
    api.limits.count_address(client.and_then(|client| client.0))
}

/// Sets up what somebody who is about to be connected can do, and lists the connection: what goes out over it is kept until it
/// stands.
fn admit(
    shared: &Arc<Shared>,
    socket: &SocketRef,
    caller: Caller,
    open_until: Timestamp,
    since: Option<Position>,
) -> Arc<Connection> {
    let outlet = Outlet::SocketIo {
        socket: socket.clone(),
        cutter: socket.req_parts().extensions.get().cloned(),
        streams: shared.streams.clone(),
    };
    let connection = shared.admit(caller, open_until, since, outlet);
    let client = Arc::new(Client::new(shared.clone(), caller));
    socket.extensions.insert(Speaker { client, shared: shared.clone(), connection: Arc::downgrade(&connection) });
    socket.on_fallback(async |Heard: Heard| {});
    let (leaving, left) = (shared.clone(), Arc::downgrade(&connection));
    socket.on_disconnect(async move || {
        if let Some(left) = left.upgrade() {
            leaving.connections.remove(&left);
        }
    });
    connection
}

/// Somebody who may say something.
#[derive(Clone)]
struct Speaker {
    client: Arc<Client>,
    shared: Arc<Shared>,
    connection: Weak<Connection>,
}

/// Something has been heard. The library runs handlers as tasks, in whatever order; what it hands to them it makes in the order in which
/// it was said, so it is here that an emit takes its place in the queue.
struct Heard;

impl FromMessageParts<LocalAdapter> for Heard {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket<LocalAdapter>>,
        value: &mut socketioxide_core::Value,
        ack_id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        let Some(Speaker { client, shared, connection }) = socket.extensions.get() else { return Ok(Self) };
        let (event, payload) = said(value);
        let reply = Reply { socket: socket.clone(), ack_id: *ack_id };
        let answer = move |outcome| reply.send(outcome).boxed();
        if client.hear(event, payload, Box::new(answer)).is_err()
            && let Some(connection) = connection.upgrade()
        {
            shared.connections.close(&connection, Closing::Flooding);
        }
        Ok(Self)
    }
}

/// The name of an emit, and its first argument, unless that is, or has within it, something else than JSON.
fn said(value: &socketioxide_core::Value) -> (String, Payload) {
    let socketioxide_core::Value::Str(text, binary) = value else { return Default::default() };
    let arguments: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let event = arguments.first().and_then(|name| serde_json::from_str(name.get()).ok()).unwrap_or_default();
    let payload = arguments.get(1).filter(|_| binary.is_none()).map(|payload| (*payload).to_owned());
    (event, payload)
}

/// Where the outcome of an emit goes: into its acknowledgement, if the client wants one; otherwise an error goes out as an event.
struct Reply {
    socket: Arc<Socket<LocalAdapter>>,
    ack_id: Option<i64>,
}

impl Reply {
    /// Answers as soon as there is room for it. A client that is gone, or makes none, needs no answer.
    async fn send(self, outcome: Outcome) {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        while self.socket.connected() && !self.try_send(&outcome) && Instant::now() < deadline {
            tokio::time::sleep(ANSWER_PAUSE).await;
        }
    }

    /// Whether there was room for it, or no need.
    fn try_send(&self, outcome: &Outcome) -> bool {
        let mut nothing = socketioxide_core::Value::Str(String::new().into(), None);
        let Ok(ack) = AckSender::from_message_parts(&self.socket, &mut nothing, &self.ack_id);
        match outcome {
            Ok(success) => ack.send(success).is_ok(),
            Err(error) if self.ack_id.is_some() => ack.send(error.body()).is_ok(),
            Err(error) => self.socket.emit("error", error.body()).is_ok(),
        }
    }
}
