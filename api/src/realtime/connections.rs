//! Who is connected to this node.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{BusinessId, SessionId, UserId};
use serde::Serialize;
use socketioxide::extract::SocketRef;

/// The connections of this node, by person.
#[derive(Default)]
pub(crate) struct Connections {
    people: Mutex<HashMap<UserId, Vec<Connection>>>,
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) socket: SocketRef,
    pub(crate) session_id: SessionId,
    pub(crate) business_id: BusinessId,
}

impl Connections {
    pub(crate) fn add(&self, person: UserId, connection: Connection) {
        self.people().entry(person).or_default().push(connection);
        metrics::gauge!("switchboard_connections", "transport" => "socket.io").increment(1);
    }

    pub(crate) fn remove(&self, person: UserId, socket: &SocketRef) {
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

    pub(crate) fn is_connected(&self, person: UserId) -> bool {
        self.people().contains_key(&person)
    }

    /// Sends an event to every connection of a person. A client that doesn't take its events in fast enough is cut off: it
    /// notices, and can ask for what it missed; an event left out it would never notice.
    pub(crate) fn emit(&self, person: UserId, event: &str, payload: &impl Serialize) {
        for connection in self.of(person) {
            if let Err(error) = connection.socket.emit(event, payload) {
                tracing::debug!(%error, %person, "a connection is too slow, or gone: it is cut off");
                cut(connection);
            }
        }
    }

    /// Cuts the connections of a person.
    pub(crate) fn cut_of(&self, person: UserId) {
        self.of(person).into_iter().for_each(cut);
    }

    /// Cuts all connections that this is true of.
    pub(crate) fn cut_all(&self, is_meant: impl Fn(&Connection) -> bool) {
        let meant: Vec<Connection> =
            self.people().values().flatten().filter(|connection| is_meant(connection)).cloned().collect();
        meant.into_iter().for_each(cut);
    }

    /// A copy, so that nothing is sent under the lock.
    fn of(&self, person: UserId) -> Vec<Connection> {
        self.people().get(&person).cloned().unwrap_or_default()
    }

    fn people(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Connection>>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its disconnect handler removes it from the others.
fn cut(connection: Connection) {
    let _ = connection.socket.disconnect();
}
