//! Errors of authentication and of permissions: who a caller is, and what their role does not allow.

use crate::{RefusalKind, RuleError};

/// An action that the caller may not take. They may know that its object exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// The caller manages no users at all.
    #[error("only administrators create users")]
    CreateUsers,
    /// The caller manages users, but none with this role.
    #[error("you can't create users with this role")]
    CreateUsersWithRole,
    /// The caller manages the user, but can't create users with the new role.
    #[error("you can't give anybody this role")]
    GiveRole,
    /// The caller sees the user and doesn't manage them.
    #[error("you can't manage this user")]
    ManageUser,
    /// The caller sees the message, has not sent it, and manages no users of its business.
    #[error("only its sender or an administrator can delete a message")]
    DeleteMessage,
    /// The caller's role is that of a user of a business.
    #[error("only administrators and auditors read the history")]
    ReadHistory,
    /// The caller's role was changed after they had logged in.
    #[error("you are no administrator any more")]
    Administer,
    /// An administrator has set the caller's password.
    #[error("change your password first: somebody else has set it")]
    UseTemporaryPassword,
}

/// A login or a token that is not accepted. The sentence does not say why: it might help an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The email, the password or the business is wrong, the user or the business is suspended, or the role may not use the admin API.
    #[error("invalid email or password")]
    Login,
    /// The token, its session, its user or their business is no longer valid.
    #[error("invalid or expired token")]
    Token,
    /// The refresh token is unknown or has been used before, its session is over, or its user or their business is suspended.
    #[error("invalid or expired refresh token")]
    RefreshToken,
}

impl RuleError for AuthenticationError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Unauthorized
    }
}

impl RuleError for PermissionError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Forbidden
    }
}
