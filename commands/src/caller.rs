//! The caller of a command.

use std::borrow::Cow;

use domain::session::Audience;
use domain::{BusinessId, Role, SessionId, UserId};
use event_store::{Actor, Metadata};
use uuid::Uuid;

/// A person who has proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The person.
    pub user_id: UserId,
    /// The business they belong to.
    pub business_id: BusinessId,
    /// Current role.
    pub role: Role,
    /// The session in which they act.
    pub session_id: SessionId,
    /// API of the session.
    pub audience: Audience,
}

/// One request of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller.
    pub caller: Caller,
    /// Names the request in everything that it causes.
    pub correlation_id: Uuid,
}

impl Request {
    /// Metadata of an event that this request causes in `business`.
    pub(crate) fn metadata(&self, business: BusinessId) -> Metadata {
        Metadata {
            business_id: business.0,
            actor: Actor {
                user: Some(self.caller.user_id.0),
                role: Some(Cow::Borrowed(self.caller.role.as_str())),
                session: Some(self.caller.session_id.0),
            },
            correlation_id: self.correlation_id,
            causation_id: None,
        }
    }
}

/// Metadata of an event that the system causes.
pub(crate) fn by_the_system(business: BusinessId, correlation_id: Uuid) -> Metadata {
    Metadata { business_id: business.0, actor: Actor::default(), correlation_id, causation_id: None }
}
