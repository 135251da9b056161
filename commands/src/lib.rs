//! The use cases of Switchboard, one function each: look up, authorise, execute.
//!
//! To execute is to load a stream, let the domain decide, and append what it decided, again if somebody else was faster. What a
//! command has to know of other aggregates it takes from their streams, which are cached and kept current by the log itself, and
//! never from a read model, which may lag. The few things that no stream can answer are asked through [`Lookups`].

mod audit;
mod authenticate;
mod businesses;
mod call_endings;
mod caller;
mod calls;
mod change_message;
mod create_user;
mod demo;
mod error;
mod files;
mod first_super_admin;
mod fixed_accounts;
mod hand_over;
mod keyed_hash;
mod log_in;
mod passwords;
mod ports;
mod read_message;
mod readings;
mod repository;
mod send_message;
mod sessions;
mod state_cache;
mod super_admins;
mod unfinished_logins;
mod users;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use event_store::{EventStore, Position};

use crate::readings::RecentReadings;
use crate::repository::Repository;

pub use audit::{HistoryRead, PastState, Until, read_history_as_operator};
pub use authenticate::{Claims, Identified};
pub use call_endings::LostCalls;
pub use caller::{Caller, Request};
pub use calls::NewCall;
pub use change_message::EditedMessage;
pub use create_user::NewUser;
pub use demo::{DEMO_PASSWORD, Demo, DemoPerson};
pub use error::Error;
pub use files::NewFile;
pub use first_super_admin::FirstSuperAdmin;
pub use hand_over::HandedOver;
pub use keyed_hash::KeyedHash;
pub use log_in::{Credentials, LoggedIn};
pub use ports::{ActiveCall, Clock, HashedFor, Ids, LookupError, Lookups, Passwords, TooManyHashes, UnfinishedLogin};
pub use read_message::MessageRead;
pub use send_message::{NewMessage, SentMessage};
pub use users::UserChanges;

/// A result, and the position in the log that it is true from: a reader that waits for that position sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Done<T> {
    /// The result.
    pub value: T,
    /// Position in the log.
    pub position: Position,
}

/// Everything that can be done.
pub struct Commands {
    repository: Repository,
    lookups: Arc<dyn Lookups>,
    passwords: Arc<dyn Passwords>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    keyed_hash: KeyedHash,
    ring_timeout_ms: i64,
    edit_window_ms: i64,
    temporary_passwords_must_change: bool,
    acknowledged: AtomicU64,
    readings: RecentReadings,
}

/// Dependencies of commands.
pub struct Dependencies {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Lookups that span streams.
    pub lookups: Arc<dyn Lookups>,
    /// Slow hashes.
    pub passwords: Arc<dyn Passwords>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fresh ids.
    pub ids: Arc<dyn Ids>,
    /// Hashes that only this installation can compute.
    pub keyed_hash: KeyedHash,
    /// Maximum time for which a call rings, in milliseconds.
    pub ring_timeout_ms: i64,
    /// Time after sending in which a message may be edited, in milliseconds.
    pub edit_window_ms: i64,
    /// True if users change a password set by an administrator before they use the messenger.
    pub temporary_passwords_must_change: bool,
    /// Maximum different queries of the history by a reader within a minute; 0 is no limit.
    pub audit_queries_per_minute: u32,
}

impl Commands {
    /// Commands over these dependencies.
    #[must_use]
    pub fn new(dependencies: Dependencies) -> Self {
        Self {
            repository: Repository::new(dependencies.store, dependencies.ids.clone()),
            lookups: dependencies.lookups,
            passwords: dependencies.passwords,
            clock: dependencies.clock,
            ids: dependencies.ids,
            keyed_hash: dependencies.keyed_hash,
            ring_timeout_ms: dependencies.ring_timeout_ms,
            edit_window_ms: dependencies.edit_window_ms,
            temporary_passwords_must_change: dependencies.temporary_passwords_must_change,
            acknowledged: AtomicU64::new(0),
            readings: RecentReadings::new(dependencies.audit_queries_per_minute as usize),
        }
    }

    /// Keeps what is remembered of streams current, by following the log from a position that was its head before any command
    /// was given. Never returns.
    pub async fn follow_log(&self, after: Position) -> Infallible {
        self.repository.follow_log(after).await
    }

    /// Waits until this node's decisions take into account every event up to `position`: roles, suspensions, sessions. May wait for
    /// ever: the caller sets the deadline.
    pub async fn followed(&self, position: Position) {
        self.repository.followed(position).await;
    }

    /// The last position that this node has acknowledged to anybody.
    #[must_use]
    pub fn acknowledged(&self) -> Position {
        self.acknowledged.load(Ordering::Acquire)
    }

    fn done<T>(&self, value: T, position: Position) -> Done<T> {
        self.acknowledged.fetch_max(position, Ordering::AcqRel);
        Done { value, position }
    }
}
