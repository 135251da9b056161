//! What clients do over Socket.IO: connect, and emit.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use commands::{Caller, Request};
use domain::MessageId;
use domain::session::Audience;
use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, Event, Extension, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts};
use socketioxide::socket::Socket;

use super::connections::{Connection, Connections};
use crate::Api;
use crate::error::{ApiError, ErrorBody, ErrorCode};

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
pub(crate) fn register(io: &SocketIo, api: &Arc<Api>, connections: &Arc<Connections>) {
    let authenticate = {
        let api = api.clone();
        async move |socket: SocketRef, TryData(credentials): TryData<Credentials>| {
            let credentials = credentials.map_err(|_| Refused("auth.token: is missing".to_owned()))?;
            let caller = api.authenticate(&credentials.token, Audience::Messenger).await;
            socket.extensions.insert(caller.map_err(|error| Refused(error.body().error.clone()))?);
            Ok::<(), Refused>(())
        }
    };
    let connected = {
        let (api, connections) = (api.clone(), connections.clone());
        async move |socket: SocketRef, Extension(caller): Extension<Caller>| {
            connected(&api, &connections, socket, caller).await;
        }
    };
    io.ns("/", connected.with(authenticate));
}

/// The message of a `connect_error`.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

async fn connected(api: &Arc<Api>, connections: &Arc<Connections>, socket: SocketRef, caller: Caller) {
    let read_message = api.clone();
    socket.on("message:read", async move |socket: SocketRef, TryData(read): TryData<ReadMessage>, reply: Reply| {
        let outcome = match read {
            Ok(read) => on_message_read(&read_message, caller, &read).await,
            Err(error) => Err(ApiError::from(ErrorBody::new(ErrorCode::ValidationError, error.to_string()))),
        };
        reply.send(&socket, outcome);
    });
    socket.on_fallback(async |socket: SocketRef, Event(event): Event, reply: Reply| {
        let unknown = format!("there is no event {event:.100}");
        reply.send(&socket, Err(ErrorBody::new(ErrorCode::ValidationError, unknown).into()));
    });
    let leave = connections.clone();
    socket.on_disconnect(async move |socket: SocketRef| leave.remove(caller.user_id, &socket));

    let connection =
        Connection { socket: socket.clone(), session_id: caller.session_id, business_id: caller.business_id };
    connections.add(caller.user_id, connection);
    // It may have gone, or been shut out, before it was listed.
    if !socket.connected() {
        connections.remove(caller.user_id, &socket);
    } else if api.commands.still_authentic(&caller).await.is_err() {
        let _ = socket.disconnect();
    }
}

async fn on_message_read(api: &Api, caller: Caller, read: &ReadMessage) -> Result<Value, ApiError> {
    let id: MessageId = read.message_id.parse().map_err(|_| ApiError::not_found("Message"))?;
    api.commands.still_authentic(&caller).await?;
    api.limits.count_request(caller.session_id)?;
    let request = Request { caller, correlation_id: api.ids.next() };
    let done = api.commands.read_message(&request, id).await?;
    Ok(json!({"success": true, "messageId": done.value.message_id, "position": done.position}))
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
