//! Connections of this node.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::Presence;
use domain::{BusinessId, Timestamp, UserId};
use event_store::Position;

use super::closing::Closing;
use super::connection::Connection;
use super::outgoing::Outgoing;
use crate::error::ApiError;

/// The connections of this node.
pub(super) struct Connections {
    listed: Mutex<Listed>,
    presence: Presence,
    limits: LiveLimits,
}

/// Maximum live connections to a node; 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub struct LiveLimits {
    /// Of a session.
    pub session: usize,
    /// Of a user, in all their sessions.
    pub user: usize,
    /// From an address, or network of version 6.
    pub address: usize,
    /// Those over Socket.IO that have not said yet who they are, from an address.
    pub unknown: usize,
}

struct Listed {
    people: HashMap<UserId, Vec<Arc<Connection>>>,
    addresses: HashMap<IpAddr, usize>,
    businesses: HashMap<BusinessId, HashSet<UserId>>,
    /// Position of the last event of the log whose people have been looked up here. Whoever is listed gets what comes after it.
    position: Position,
}

impl Connections {
    /// Creates an empty set, which delivers events after a position.
    pub(super) fn new(presence: Presence, position: Position, limits: LiveLimits) -> Self {
        let listed = Listed { people: HashMap::new(), addresses: HashMap::new(), businesses: HashMap::new(), position };
        Self { listed: Mutex::new(listed), presence, limits }
    }

    /// Lists a connection.
    ///
    /// # Errors
    /// [`ApiError::RateLimit`] when its session, its user or its address has as many as may be.
    pub(super) fn add(&self, connection: &Arc<Connection>) -> Result<(), ApiError> {
        {
            let mut listed = self.listed();
            listed.must_have_room(connection, self.limits)?;
            if let Some(address) = connection.address {
                *listed.addresses.entry(address).or_default() += 1;
            }
            listed.people.entry(connection.person).or_default().push(connection.clone());
            listed.businesses.entry(connection.business_id).or_default().insert(connection.person);
            // With it, since it may be struck off as soon as it is listed.
            self.presence.connected(connection.person, connection.business_id);
        }
        metrics::gauge!("switchboard_connections").increment(1);
        Ok(())
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
            let is_last = connections.is_empty();
            listed.leave_address(connection);
            if is_last {
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

impl Listed {
    fn must_have_room(&self, connection: &Connection, limits: LiveLimits) -> Result<(), ApiError> {
        let own = self.people.get(&connection.person).map_or(&[][..], Vec::as_slice);
        let of_session = own.iter().filter(|other| other.session_id == connection.session_id).count();
        let of_address = connection.address.and_then(|address| self.addresses.get(&address)).copied().unwrap_or(0);
        for (held, most, whose) in [
            (of_session, limits.session, "this session"),
            (own.len(), limits.user, "this user"),
            (of_address, limits.address, "this address"),
        ] {
            if most > 0 && held >= most {
                let reason = format!("Too many live connections of {whose}: close one of its {most}");
                return Err(ApiError::too_many(&reason));
            }
        }
        Ok(())
    }

    fn leave_address(&mut self, connection: &Connection) {
        let Some(address) = connection.address else { return };
        if let Some(count) = self.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }
}
