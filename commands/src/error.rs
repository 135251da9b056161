//! Why a command was refused, by what it means to whoever gave it. Each has one HTTP status.

use std::borrow::Cow;

use domain::{Invalid, RefusalKind, RuleError};
use event_store::{AppendError, StoreError};

use crate::repository::Refusal;
use crate::{LookupError, TooManyHashes};

/// Why a command was refused. What the client did wrong has the sentence that they read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something about the command can't be accepted, whoever gives it.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The caller is not authenticated. The message does not say why: it might help an attacker.
    #[error("{0}")]
    Unauthorized(Cow<'static, str>),
    /// The caller lacks permission.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// There is no such thing, or none that whoever gives the command may know of.
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    /// It contradicts what has happened already.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// Too much is asked for at once, by the caller or by everybody; trying again later helps.
    #[error("{0}")]
    TooMany(Cow<'static, str>),
    /// The log or the database can't be used now. The command may or may not have taken effect.
    #[error("the service is temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log holds something that this program can't read.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The error of a rule, with its own sentence.
    #[must_use]
    pub fn rule(rule: &impl RuleError) -> Self {
        let reason = rule.to_string().into();
        match rule.kind() {
            RefusalKind::Invalid => Self::Invalid(reason),
            RefusalKind::Unauthorized => Self::Unauthorized(reason),
            RefusalKind::Forbidden => Self::Forbidden(reason),
            RefusalKind::NotFound => Self::NotFound(reason),
            RefusalKind::Conflict => Self::Conflict(reason),
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::rule(&invalid)
    }
}

impl<E: RuleError> From<Refusal<E>> for Error {
    fn from(refusal: Refusal<E>) -> Self {
        match refusal {
            Refusal::Rule(rule) => Self::rule(&rule),
            Refusal::Other(error) => error,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<TooManyHashes> for Error {
    fn from(_: TooManyHashes) -> Self {
        Self::TooMany("too many logins at once: try again in a moment".into())
    }
}

impl From<event_store::codec::DecodeError> for Error {
    fn from(error: event_store::codec::DecodeError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict(_) => Self::Conflict("somebody else has changed this at the same time".into()),
            AppendError::Store(error) => error.into(),
            AppendError::Unacceptable => Self::Internal(error.into()),
        }
    }
}
