//! Who is connected to this node.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::Presence;
use domain::{BusinessId, Timestamp, UserId};
use event_store::Position;

use super::connection::{Closing, Connection};
use super::outgoing::Outgoing;

/// The connections of this node.
pub(super) struct Connections {
    listed: Mutex<Listed>,
    presence: Presence,
}

struct Listed {
    people: HashMap<UserId, Vec<Arc<Connection>>>,
    businesses: HashMap<BusinessId, HashSet<UserId>>,
    /// Position of the last event of the log whose people have been looked up here. Whoever is listed gets what comes after it.
    position: Position,
}

impl Connections {
    /// Nobody yet; they will be told what comes after a position.
    pub(super) fn new(presence: Presence, position: Position) -> Self {
        let listed = Listed { people: HashMap::new(), businesses: HashMap::new(), position };
        Self { listed: Mutex::new(listed), presence }
    }

    /// Lists a connection.
    pub(super) fn add(&self, connection: &Arc<Connection>) {
        // First, since it may be struck off as soon as it is listed.
        self.presence.connected(connection.person, connection.business_id);
        {
            let mut listed = self.listed();
            listed.people.entry(connection.person).or_default().push(connection.clone());
            listed.businesses.entry(connection.business_id).or_default().insert(connection.person);
        }
        metrics::gauge!("switchboard_connections").increment(1);
    }

    /// Strikes a connection off, if it is listed.
    pub(super) fn remove(&self, connection: &Arc<Connection>) {
        connection.fall_silent();
        {
            let mut listed = self.listed();
            let Some(connections) = listed.people.get_mut(&connection.person) else { return };
            let before = connections.len();
            connections.retain(|other| !Arc::ptr_eq(other, connection));
            if connections.len() == before {
                return;
            }
            if connections.is_empty() {
                listed.people.remove(&connection.person);
                if let Some(people) = listed.businesses.get_mut(&connection.business_id) {
                    people.remove(&connection.person);
                    if people.is_empty() {
                        listed.businesses.remove(&connection.business_id);
                    }
                }
            }
        }
        metrics::gauge!("switchboard_connections").decrement(1);
        self.presence.disconnected(connection.person);
    }

    /// Keeps what is live for a connection from now on. Position of the last event that it will not get this way.
    pub(super) fn keep_for(&self, connection: &Connection) -> Position {
        let listed = self.listed();
        connection.keep();
        listed.position
    }

    /// The connections of people whom the event at a position concerns.
    pub(super) fn reached_by(&self, people: &[UserId], position: Position) -> Vec<(UserId, Vec<Arc<Connection>>)> {
        let mut listed = self.listed();
        listed.position = position;
        people.iter().filter_map(|person| Some((*person, listed.people.get(person)?.clone()))).collect()
    }

    /// The event at a position concerns nobody.
    pub(super) fn pass(&self, position: Position) {
        self.listed().position = position;
    }

    /// Tells somebody's connections something of the moment.
    pub(super) fn mention(&self, person: UserId, event: &Outgoing) {
        let connections = self.listed().people.get(&person).cloned().unwrap_or_default();
        for connection in &connections {
            connection.mention(event);
        }
    }

    /// Tells everybody of a business something of the moment, except the one whom it is about.
    pub(super) fn mention_to_colleagues(&self, business: BusinessId, about: UserId, event: &Outgoing) {
        let connections: Vec<Arc<Connection>> = {
            let listed = self.listed();
            let colleagues = listed.businesses.get(&business).into_iter().flatten().filter(|person| **person != about);
            colleagues.filter_map(|person| listed.people.get(person)).flatten().cloned().collect()
        };
        for connection in &connections {
            connection.mention(event);
        }
    }

    /// Closes the connections of people who may not be here any longer.
    pub(super) fn shut_out(&self, why: Closing, is_meant: impl Fn(&Connection) -> bool) {
        for connection in self.all() {
            if is_meant(&connection) {
                self.close(&connection, why);
            }
        }
    }

    /// Closes the connections whose tokens have run out.
    pub(super) fn close_expired(&self, now: Timestamp) {
        self.shut_out(Closing::TokenExpired, |connection| connection.open_until <= now);
    }

    /// Closes one connection.
    pub(super) fn close(&self, connection: &Arc<Connection>, why: Closing) {
        self.remove(connection);
        connection.close(why);
    }

    /// All connections.
    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.listed().people.values().flatten().cloned().collect()
    }

    /// Position of the last event whose people have been looked up.
    pub(super) fn position(&self) -> Position {
        self.listed().position
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
