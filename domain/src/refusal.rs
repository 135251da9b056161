//! Why a rule refuses a command: the sentence for the client, and the kind of error that it is.

use std::convert::Infallible;

use crate::Invalid;

/// Kinds of refusals. Each has one HTTP status and one error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A field can't be accepted; the sentence begins with its name.
    Invalid,
    /// The caller isn't known, or isn't who they say.
    Unauthorized,
    /// The caller is known and may not.
    Forbidden,
    /// There is no such thing, or none that the caller may know of.
    NotFound,
    /// The command contradicts what has happened already.
    Conflict,
}

/// The error of an aggregate's rules. Its `Display` is the sentence that the client reads; it stands nowhere else.
pub trait RuleError: std::error::Error + Send + Sync + 'static {
    /// The kind of this refusal.
    fn kind(&self) -> RefusalKind;
}

impl RuleError for Invalid {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }
}

/// An aggregate that refuses nothing.
impl RuleError for Infallible {
    fn kind(&self) -> RefusalKind {
        match *self {}
    }
}
