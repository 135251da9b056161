//! What clients do over Socket.IO: connect, and emit.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use commands::{Caller, Claims};
use domain::Timestamp;
use domain::session::Audience;
use event_store::Position;
use serde::Deserialize;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, Event, Extension, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts};
use socketioxide::socket::Socket;

use super::connection::{Connection, Outlet};
use super::emits::Client;
use super::{Shared, replay};
use crate::error::{ApiError, ErrorBody, ErrorCode};

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
    connection: Arc<Connection>,
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
            let Credentials { token, since } =
                credentials.ok_or_else(|| Refused("auth: must be {token, since}, since may be left out".to_owned()))?;
            let (caller, open_until) = shared
                .api
                .authenticate(&token, Audience::Messenger)
                .await
                .map_err(|error| Refused(error.body().error.clone()))?;
            let connection = admit(&shared, &socket, caller, open_until, since);
            socket.extensions.insert(Admitted { connection, since });
            Ok::<(), Refused>(())
        }
    };
    let connected = {
        let shared = shared.clone();
        async move |socket: SocketRef, Extension(admitted): Extension<Admitted>| {
            // The socket's own extensions hold the socket through it.
            socket.extensions.remove::<Admitted>();
            shared.welcome(admitted.connection, admitted.since).await;
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
    socket.on_fallback(async move |socket: SocketRef, Event(event): Event, payload: TryData<Value>, reply: Reply| {
        let outcome = match payload {
            TryData(Ok(payload)) => client.handle(&event, payload).await,
            TryData(Err(_)) => {
                Err(ErrorBody::new(ErrorCode::ValidationError, "the payload must be one JSON object").into())
            }
        };
        reply.send(&socket, outcome);
    });
    let (leaving, left) = (shared.clone(), connection.clone());
    socket.on_disconnect(async move |socket: SocketRef| {
        socket.extensions.remove::<Admitted>();
        leaving.connections.remove(&left);
    });
    connection
}

impl Shared {
    /// Lists somebody's new connection. Without a place in the feed it gets what happens from now on.
    pub(super) fn admit(
        &self,
        caller: Caller,
        open_until: Timestamp,
        since: Option<Position>,
        outlet: Outlet,
    ) -> Arc<Connection> {
        let Caller { user_id, business_id, session_id, .. } = caller;
        let handed_over = self.handed_over.clone();
        let connection = Connection::new(user_id, business_id, session_id, open_until, outlet, handed_over);
        let connection = Arc::new(connection);
        self.connections.add(&connection);
        if since.is_none() {
            connection.set_cursor(self.connections.keep_for(&connection));
        }
        connection
    }

    /// Begins to send to a connection whose client knows of it.
    pub(super) async fn welcome(self: &Arc<Self>, connection: Arc<Connection>, since: Option<Position>) {
        // The person may have been shut out before the connection was listed.
        let Connection { person, session_id, .. } = *connection;
        let claims = Claims { user_id: person, session_id, audience: Audience::Messenger };
        if matches!(self.api.commands.authenticate(claims).await, Err(commands::Error::Unauthorized(_))) {
            return self.connections.close(&connection, super::connection::Closing::LoggedOut);
        }
        let behind = match since {
            Some(since) => Err(since),
            None => replay::go_live(self, &connection),
        };
        if let Err(since) = behind {
            tokio::spawn(replay::bring_up_to_date(self.clone(), connection, since));
        }
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
