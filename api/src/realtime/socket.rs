//! What clients do over Socket.IO: connect, and emit.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use commands::{Caller, Claims, Request};
use domain::MessageId;
use domain::session::Audience;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, Event, Extension, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts};
use socketioxide::socket::Socket;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::connections::{Connection, Connections, Outbox};
use crate::Api;
use crate::error::{ApiError, ErrorBody, ErrorCode};

/// Emits of one connection that are worked on at the same time.
const EMITS_IN_FLIGHT: usize = 32;

/// What a client sends to connect.
#[derive(Deserialize)]
struct Credentials {
    token: String,
}

/// Payload of `message:read`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadMessage {
    message_id: String,
}

/// Registers everything that clients can do.
///
/// All of it is set up before the client is told that it is connected: the library runs the handler of a connection some time
/// after that, and what the client does or sets off in between would be lost.
pub(super) fn register(io: &SocketIo, api: &Arc<Api>, connections: &Arc<Connections>) {
    let admit = {
        let (api, connections) = (api.clone(), connections.clone());
        async move |socket: SocketRef, TryData(credentials): TryData<Credentials>| {
            let credentials = credentials.map_err(|_| Refused("auth.token: is missing".to_owned()))?;
            let caller = api.authenticate(&credentials.token, Audience::Messenger).await;
            let caller = caller.map_err(|error| Refused(error.body().error.clone()))?;
            let connection = admit(&api, &connections, &socket, caller);
            socket.extensions.insert(connection);
            Ok::<(), Refused>(())
        }
    };
    let connected = {
        let (api, connections) = (api.clone(), connections.clone());
        async move |socket: SocketRef, Extension(connection): Extension<Connection>| {
            connected(&api, &connections, &socket, connection).await;
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

/// Sets up what somebody who is about to be connected can do, and lists the connection: what goes out over it is kept until it
/// stands.
fn admit(api: &Arc<Api>, connections: &Arc<Connections>, socket: &SocketRef, caller: Caller) -> Connection {
    let client = Client { api: api.clone(), caller, in_flight: Semaphore::new(EMITS_IN_FLIGHT) };
    let client = Arc::new(client);
    socket.on("message:read", async move |socket: SocketRef, payload: TryData<Value>, reply: Reply| {
        reply.send(&socket, client.read_message(payload).await);
    });
    socket.on_fallback(async |socket: SocketRef, Event(event): Event, reply: Reply| {
        let unknown = format!("there is no event {event:.100}");
        reply.send(&socket, Err(ErrorBody::new(ErrorCode::ValidationError, unknown).into()));
    });
    let leave = connections.clone();
    socket.on_disconnect(async move |socket: SocketRef| leave.remove(caller.user_id, &socket));
    let connection = Connection {
        person: caller.user_id,
        session_id: caller.session_id,
        business_id: caller.business_id,
        cutter: socket.req_parts().extensions.get().cloned(),
        outbox: Outbox::closed(),
        socket: socket.clone(),
    };
    connections.add(connection.clone());
    connection
}

async fn connected(api: &Arc<Api>, connections: &Arc<Connections>, socket: &SocketRef, connection: Connection) {
    // The socket's own extensions hold the socket through it.
    socket.extensions.remove::<Connection>();
    if !connection.outbox.open(socket) {
        return connections.too_slow(connection);
    }
    // The person may have been shut out before the connection was listed.
    let Connection { person, session_id, .. } = connection;
    let claims = Claims { user_id: person, session_id, audience: Audience::Messenger };
    if matches!(api.commands.authenticate(claims).await, Err(commands::Error::Unauthorized(_))) {
        connections.shut_out(|connection| connection.socket.id == socket.id);
    }
}

/// Somebody who emits.
struct Client {
    api: Arc<Api>,
    caller: Caller,
    in_flight: Semaphore,
}

impl Client {
    async fn read_message(&self, payload: TryData<Value>) -> Result<Value, ApiError> {
        let (request, _in_flight) = self.accept().await?;
        let read: ReadMessage = parse(payload)?;
        let id: MessageId = read.message_id.parse().map_err(|_| ApiError::not_found("Message"))?;
        let done = self.api.commands.read_message(&request, id).await?;
        Ok(json!({"success": true, "messageId": done.value.message_id, "position": done.position}))
    }

    /// Counts an emit, and finds out whether the person may still be here.
    async fn accept(&self) -> Result<(Request, SemaphorePermit<'_>), ApiError> {
        self.api.limits.count_request(self.caller.session_id)?;
        let in_flight = self.in_flight.try_acquire().map_err(|_| {
            ErrorBody::new(ErrorCode::RateLimit, "Too many emits at once: wait for their acknowledgements")
        })?;
        let caller = self.api.commands.still_authentic(&self.caller).await?;
        Ok((Request { caller, correlation_id: self.api.ids.next() }, in_flight))
    }
}

/// The payload of an emit: an object, whose fields are named when they are wrong.
fn parse<T: DeserializeOwned>(TryData(payload): TryData<Value>) -> Result<T, ApiError> {
    let invalid = |reason: String| ApiError::from(ErrorBody::new(ErrorCode::ValidationError, reason));
    match payload {
        Ok(payload) if payload.is_object() => {
            serde_json::from_value(payload).map_err(|error| invalid(error.to_string()))
        }
        _ => Err(invalid("the payload must be an object".to_owned())),
    }
}

/// Where the outcome of an emit goes: into its acknowledgement, if the client wants one; otherwise an error goes out as an event.
struct Reply {
    ack: AckSender,
    is_wanted: bool,
}

impl FromMessageParts<LocalAdapter> for Reply {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket<LocalAdapter>>,
        value: &mut socketioxide_core::Value,
        ack_id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        let Ok(ack) = AckSender::from_message_parts(socket, value, ack_id);
        Ok(Self { ack, is_wanted: ack_id.is_some() })
    }
}

impl Reply {
    fn send(self, socket: &SocketRef, outcome: Result<Value, ApiError>) {
        // A client that is gone needs no answer.
        let _ = match outcome {
            Ok(success) => self.ack.send(&success).is_ok(),
            Err(error) if self.is_wanted => self.ack.send(error.body()).is_ok(),
            Err(error) => socket.emit("error", error.body()).is_ok(),
        };
    }
}
