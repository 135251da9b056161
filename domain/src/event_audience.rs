//! Audiences of events. The index of the feed and live delivery both ask here.

use crate::{ConversationId, UserId};

/// Users who receive an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventAudience {
    /// Members of a conversation, those first who have been waiting for the event.
    Conversation {
        /// The conversation.
        id: ConversationId,
        /// Its members.
        members: [UserId; 2],
    },
    /// Named users, each once.
    Users(Vec<UserId>),
}

impl EventAudience {
    /// Returns the users.
    #[must_use]
    pub fn users(&self) -> &[UserId] {
        match self {
            Self::Conversation { members, .. } => members,
            Self::Users(users) => users,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::delivery::{Delivered, DeliveryEvent, MessagesDelivered};
    use crate::{BusinessId, MessageId, Timestamp};

    #[test]
    fn the_senders_of_what_was_delivered_are_told_once_each() {
        let user = |n| UserId(Uuid::from_u128(n));
        let delivered = |sender| Delivered {
            conversation_id: ConversationId(Uuid::nil()),
            sender_id: user(sender),
            message_id: MessageId(Uuid::nil()),
            message_position: 1,
        };
        let event = DeliveryEvent::Delivered(MessagesDelivered {
            recipient_id: user(9),
            business_id: BusinessId(Uuid::nil()),
            up_to: [2, 1, 2].map(delivered).into(),
            delivered_at: Timestamp::from_unix_ms(0),
        });
        assert_eq!(event.audience().users(), [user(1), user(2)]);
    }
}
