//! Who is connected to this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{BusinessId, SessionId, UserId};
use serde::Serialize;
use serde_json::Value;
use socketioxide::extract::SocketRef;

use super::SEND_BUFFER_PACKETS;
use super::stream::{Cutter, Streams};

/// How long a client that is shut out has to take notice of it before its stream is cut.
const FAREWELL: Duration = Duration::from_secs(1);

/// The connections of this node, by person.
pub(super) struct Connections {
    streams: Streams,
    people: Mutex<HashMap<UserId, Vec<Connection>>>,
}

/// One connection.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) person: UserId,
    pub(super) session_id: SessionId,
    pub(super) business_id: BusinessId,
    pub(super) socket: SocketRef,
    pub(super) outbox: Arc<Outbox>,
    /// Cuts its stream, if it began with one and not with polling.
    pub(super) cutter: Option<Cutter>,
}

/// What goes out over a connection. The library runs the code for a new connection some time after the client has been told that
/// it is connected; what happens in between is kept until then, or a client would miss what it has itself set off.
pub(super) struct Outbox(Mutex<Option<Vec<(String, Value)>>>);

impl Outbox {
    /// Keeps what goes out, until it is opened.
    pub(super) fn closed() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(vec![]))))
    }

    /// Lets out what was kept, and from now on everything at once. Whether there was room for it.
    pub(super) fn open(&self, socket: &SocketRef) -> bool {
        let mut kept = self.kept();
        let events = kept.take().unwrap_or_default();
        events.iter().all(|(event, payload)| socket.emit(event, payload).is_ok())
    }

    /// Sends an event, or keeps it. Whether there was room for it.
    fn emit(&self, socket: &SocketRef, event: &str, payload: &impl Serialize) -> bool {
        if let Some(kept) = &mut *self.kept() {
            let payload = serde_json::to_value(payload).unwrap_or_default();
            kept.push((event.to_owned(), payload));
            return kept.len() < SEND_BUFFER_PACKETS;
        }
        socket.emit(event, payload).is_ok()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Vec<(String, Value)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The client doesn't take its events in fast enough. It sees its connection break, and comes back by itself.
    TooSlow,
    /// The person may not be here any longer. The client is told, and stays away.
    ShutOut,
}

impl Connections {
    pub(super) fn new(streams: Streams) -> Self {
        Self { streams, people: Mutex::default() }
    }

    pub(super) fn add(&self, connection: Connection) {
        self.people().entry(connection.person).or_default().push(connection);
        metrics::gauge!("switchboard_connections", "transport" => "socket.io").increment(1);
    }

    pub(super) fn remove(&self, person: UserId, socket: &SocketRef) {
        let mut people = self.people();
        let Some(connections) = people.get_mut(&person) else { return };
        let before = connections.len();
        connections.retain(|connection| connection.socket.id != socket.id);
        if connections.len() < before {
            metrics::gauge!("switchboard_connections", "transport" => "socket.io").decrement(1);
        }
        if connections.is_empty() {
            people.remove(&person);
        }
    }

    pub(super) fn is_connected(&self, person: UserId) -> bool {
        self.people().contains_key(&person)
    }

    /// Sends an event to every connection of a person. A connection that doesn't take it is cut: its client notices that, and
    /// would never notice an event left out.
    pub(super) fn emit(&self, person: UserId, event: &str, payload: &impl Serialize) {
        let connections = self.people().get(&person).cloned().unwrap_or_default();
        for connection in connections {
            if !connection.outbox.emit(&connection.socket, event, payload) {
                tracing::debug!(%person, "a connection is too slow, or gone: it is cut");
                metrics::counter!("switchboard_connections_cut_total").increment(1);
                self.cut(connection, Cut::TooSlow);
            }
        }
    }

    /// Cuts a connection that there was no room on from the first.
    pub(super) fn too_slow(&self, connection: Connection) {
        self.cut(connection, Cut::TooSlow);
    }

    /// Cuts the connections of people who may not be here any longer.
    pub(super) fn shut_out(&self, is_meant: impl Fn(&Connection) -> bool) {
        let meant: Vec<Connection> =
            self.people().values().flatten().filter(|connection| is_meant(connection)).cloned().collect();
        for connection in meant {
            self.cut(connection, Cut::ShutOut);
        }
    }

    /// Nothing is sent over the connection from now on.
    fn cut(&self, connection: Connection, why: Cut) {
        self.remove(connection.person, &connection.socket);
        let streams = self.streams.clone();
        let end = move |connection: &Connection| match &connection.cutter {
            Some(cutter) => cutter.cancel(),
            None => streams.end(&connection.socket.id.to_string()),
        };
        // There may be no room to tell it anything.
        if why == Cut::ShutOut && connection.socket.clone().disconnect().is_ok() {
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                end(&connection);
            });
        } else {
            end(&connection);
        }
    }

    fn people(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Connection>>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
