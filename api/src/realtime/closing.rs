//! Reasons for which the server closes a connection.

use crate::error::{ErrorBody, ErrorCode};

/// Reasons for which the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// The client takes nothing in. It sees its connection break, and comes back by itself.
    TooSlow,
    /// The client says more than anybody could keep.
    Flooding,
    /// The token that it was opened with has run out.
    TokenExpired,
    /// The session is over.
    LoggedOut,
    /// The person, or their business, is suspended.
    Suspended,
}

impl Closing {
    /// Returns the error for the client.
    pub(super) fn body(self) -> ErrorBody {
        let reason = match self {
            Self::TooSlow => return ErrorBody::new(ErrorCode::Unavailable, "The connection is too slow"),
            Self::Flooding => return ErrorBody::new(ErrorCode::RateLimit, "Too many emits at once"),
            Self::TokenExpired => "The token has expired",
            Self::LoggedOut => "The session is over",
            Self::Suspended => "The account or its business is suspended",
        };
        ErrorBody::new(ErrorCode::Unauthorized, reason)
    }

    /// Returns the name in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TooSlow => "too_slow",
            Self::Flooding => "flooding",
            Self::TokenExpired => "token_expired",
            Self::LoggedOut => "logged_out",
            Self::Suspended => "suspended",
        }
    }
}
