//! Ports: what commands need from outside. Implemented in `app`.

use std::net::IpAddr;

use async_trait::async_trait;
use domain::{BusinessId, CallId, EmailAddress, FileId, MessageId, Password, Timestamp, UserId};
use event_store::Position;
use uuid::Uuid;

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Fresh ids.
pub trait Ids: Send + Sync + 'static {
    /// An id that nobody has had before, greater than those before it.
    fn next(&self) -> Uuid;
}

/// Beneficiary of a password hash. Hashing takes a processor for a while, so processors are shared among these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashedFor {
    /// A login, before its user is known.
    Login {
        /// Address, or network, that the request comes from, if that is known.
        address: Option<IpAddr>,
        /// Business that is named.
        business: Option<BusinessId>,
        /// Id of the login's stream, whether there is such an account or not.
        account: String,
    },
    /// A user who has logged in, for their own or for others' passwords.
    User(BusinessId, UserId),
    /// The server itself, when it starts.
    System,
}

/// Too many hashes wait to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at once")]
pub struct TooManyHashes;

/// Slow hashes of passwords. Implementations bound how many are computed at once, and how many wait, and give everybody their turn.
#[async_trait]
pub trait Passwords: Send + Sync + 'static {
    /// The hash to store, as a PHC string.
    async fn hash(&self, whom: HashedFor, password: Password) -> Result<String, TooManyHashes>;

    /// Returns true if this is the password of that hash. Without a hash it takes as long, and returns false.
    async fn verify(&self, whom: HashedFor, password: String, hash: Option<String>) -> Result<bool, TooManyHashes>;
}

/// The lookup failed.
#[derive(Debug, thiserror::Error)]
#[error("looking something up failed")]
pub struct LookupError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A login that was reserved for somebody who has not been created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedLogin {
    /// Id of the login's stream.
    pub login_id: String,
    /// For whom.
    pub user_id: UserId,
}

/// A call in which people talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveCall {
    /// Which.
    pub id: CallId,
    /// The caller.
    pub caller_id: UserId,
    /// The callee.
    pub receiver_id: UserId,
}

/// Lookups that span streams. Answers may be late, so they only find the streams that decide.
#[async_trait]
pub trait Lookups: Send + Sync + 'static {
    /// Accounts of all businesses that have this email and may administer; at most `limit`. What this node has acknowledged, up to
    /// `acknowledged`, is waited for a little.
    async fn admin_accounts(
        &self,
        email: &EmailAddress,
        limit: u32,
        acknowledged: Position,
    ) -> Result<Vec<UserId>, LookupError>;

    /// Logins that were reserved before this time, for nobody so far; at most `limit`.
    async fn unfinished_logins(&self, before: Timestamp, limit: u32) -> Result<Vec<UnfinishedLogin>, LookupError>;

    /// Calls that have not been answered, and may ring until this time or less; at most `limit`.
    async fn calls_rung_out(&self, by: Timestamp, limit: u32) -> Result<Vec<CallId>, LookupError>;

    /// Accounts that are super admins; at most `limit`. What this node has acknowledged is waited for as for
    /// [`Self::admin_accounts`].
    async fn super_admins(&self, limit: u32, acknowledged: Position) -> Result<Vec<UserId>, LookupError>;

    /// Files that no message has carried since before this time, with those that were removed not long ago; at most `limit`.
    async fn idle_files(&self, before: Timestamp, limit: u32) -> Result<Vec<FileId>, LookupError>;

    /// Files with messages that carry them and shouldn't: the message is deleted, or hasn't been sent although it was about to be
    /// before this time; at most `limit`.
    async fn stale_carriers(&self, before: Timestamp, limit: u32) -> Result<Vec<(FileId, MessageId)>, LookupError>;

    /// Calls in which people talk.
    async fn active_calls(&self) -> Result<Vec<ActiveCall>, LookupError>;
}
