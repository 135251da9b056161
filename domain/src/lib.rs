//! The rules of Switchboard, and nothing else.
//!
//! Each aggregate is one module: its commands, its events, its errors, its state, the [`Decider`] that ties them together,
//! and the tests that read like the specification. Everything here is pure and synchronous: the clock, fresh ids and whatever
//! has to be looked up first arrive inside the command.

mod aggregates;
mod credentials;
mod decider;
mod event_audience;
mod ids;
mod permission;
mod personal;
mod refusal;
mod role;
#[cfg(test)]
mod testing;
mod text;
mod timestamp;
mod visibility;

pub mod audit;
pub mod business;
pub mod call;
pub mod delivery;
pub mod file;
pub mod line;
pub mod login;
pub mod message;
pub mod reading;
pub mod session;
pub mod super_admins;
pub mod user;

pub use aggregates::{Visitor, visit, visit_all};
pub use credentials::without_credentials;
pub use decider::{Decider, DomainEvent, EventType};
pub use event_audience::EventAudience;
pub use ids::{BusinessId, CallId, ConversationId, FileId, MessageId, SessionId, UserId};
pub use permission::{AuthenticationError, PermissionError};
pub use personal::{Known, Personal};
pub use refusal::{RefusalKind, RuleError};
pub use role::Role;
pub use text::{
    Avatar, ContentType, DisplayName, EmailAddress, FileName, Invalid, MessageText, Password, Reason, RetryKey, RoomId,
    UserAgent,
};
pub use timestamp::{InvalidTimestamp, Timestamp};
