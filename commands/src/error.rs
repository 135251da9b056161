//! Why a command was refused, by what it means to whoever gave it. Each has one HTTP status.

use domain::Invalid;
use event_store::{AppendError, StoreError};

use crate::{LookupError, TooManyHashes};

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something about the command can't be accepted, whoever gives it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Who gives the command isn't known, or isn't who they say. Says nothing more: it might help them.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// Who gives the command may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing, or none that whoever gives the command may know of.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// It contradicts what has happened already.
    #[error("{0}")]
    Conflict(&'static str),
    /// Too much is asked for at once, by the caller or by everybody; trying again later helps.
    #[error("{0}")]
    TooMany(&'static str),
    /// The log or the database can't be used now. The command may or may not have taken effect.
    #[error("the service is temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log holds something that this program can't read.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
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
        Self::TooMany("too many logins at once: try again in a moment")
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
            AppendError::Conflict(_) => Self::Conflict("somebody else has changed this at the same time"),
            AppendError::Store(error) => error.into(),
            AppendError::Unacceptable => Self::Internal(error.into()),
        }
    }
}
