//! Changes of presence.

use domain::{BusinessId, UserId};

/// A user came online or went offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// The user.
    pub user_id: UserId,
    /// Their business.
    pub business_id: BusinessId,
    /// True if they are online now.
    pub is_online: bool,
}
