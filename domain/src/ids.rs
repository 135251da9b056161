//! Identifiers. Opaque strings to clients, UUIDs here, and a type of its own for each so that they can't be mixed up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

id! {
    /// A business: the tenant. Nothing of one is ever visible to another.
    BusinessId
}
id! {
    /// A person's account in one business.
    UserId
}
id! {
    /// One login on one device, until it is revoked or runs out.
    SessionId
}
id! {
    /// One message.
    MessageId
}
id! {
    /// A conversation. See [`ConversationId::between`].
    ConversationId
}
id! {
    /// One call.
    CallId
}
id! {
    /// An uploaded file.
    FileId
}

impl BusinessId {
    /// The built-in business of those who run the installation. Only its members can have system roles.
    pub const SYSTEM: Self = Self(Uuid::from_u128(0x5357_4954_4348_7000_8000_0000_0000_0001));
}

impl ConversationId {
    const NAMESPACE: Uuid = Uuid::from_u128(0xc0f4_3b52_7a0e_4d6b_9a0b_2f6e_64a5_1d27);

    /// The conversation of two people: the same whoever begins it, so that both name it without asking anyone.
    #[must_use]
    pub fn between(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let mut pair = [0_u8; 32];
        pair[..16].copy_from_slice(low.0.as_bytes());
        pair[16..].copy_from_slice(high.0.as_bytes());
        Self(Uuid::new_v5(&Self::NAMESPACE, &pair))
    }
}

impl MessageId {
    /// The id of the message that `sender` names `key`: a retry computes the same id, meets its own stream and changes nothing.
    #[must_use]
    pub fn from_retry_key(sender: UserId, key: &str) -> Self {
        Self(Uuid::new_v5(&sender.0, key.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }

    #[test]
    fn a_conversation_is_the_same_from_both_sides() {
        assert_eq!(ConversationId::between(user(1), user(2)), ConversationId::between(user(2), user(1)));
        assert_ne!(ConversationId::between(user(1), user(2)), ConversationId::between(user(1), user(3)));
    }

    #[test]
    fn a_retry_key_means_something_else_for_each_sender() {
        assert_eq!(MessageId::from_retry_key(user(1), "a"), MessageId::from_retry_key(user(1), "a"));
        assert_ne!(MessageId::from_retry_key(user(1), "a"), MessageId::from_retry_key(user(2), "a"));
    }
}
