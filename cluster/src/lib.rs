//! Transient state that the nodes of an installation share outside of the log: messages ([`bus`]), [`presence`], and single-use
//! [`tickets`]. All of it may be lost at any time, and is restored without help.

pub mod bus;
pub mod presence;
pub mod tickets;

pub use bus::{Bus, BusError, Notice};
pub use presence::{Presence, PresenceChange};
pub use tickets::{TicketHolder, Tickets};

/// Names one run of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub uuid::Uuid);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// The database failed.
#[derive(Debug, thiserror::Error)]
#[error("the database failed while {attempted}")]
pub struct ClusterError {
    /// Operation that failed, as the end of a sentence.
    pub attempted: &'static str,
    /// Cause.
    #[source]
    pub source: sqlx::Error,
}

impl ClusterError {
    /// For `map_err`: the database failed while doing this.
    pub(crate) fn while_(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { attempted, source }
    }
}
