//! Delivery receipts of one user: a cursor for each conversation, which only moves forwards.
//!
//! All of them are in one stream, so that however many messages arrive from however many people, one event a second says it.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, ConversationId, Decider, EventAudience, MessageId, RefusalKind, RuleError, Timestamp, UserId};

/// The shortest time between two events of one person, in milliseconds.
pub const PAUSE_MS: i64 = 1000;

/// State of one person's cursors.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCursors {
    /// Position in the log of the last message handed over, by conversation.
    pub positions: HashMap<ConversationId, u64>,
    /// Time of the last receipt.
    pub last_at: Option<Timestamp>,
}

/// Commands that the cursors accept.
#[derive(Clone, Debug)]
pub enum DeliveryCommand {
    /// Notes that a device has been handed messages.
    HandOver(HandOver),
}

/// Messages that a device of their recipient has been handed: the last of each conversation.
#[derive(Clone, Debug)]
pub struct HandOver {
    pub recipient_id: UserId,
    pub business_id: BusinessId,
    pub up_to: Vec<Delivered>,
    pub at: Timestamp,
}

domain_events! {
    /// Events of the cursors.
    pub enum DeliveryEvent {
        "MessagesDelivered", version 1 => Delivered(MessagesDelivered),
    }
}

/// A device of a person has been handed messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessagesDelivered {
    pub recipient_id: UserId,
    pub business_id: BusinessId,
    /// New cursors of the conversations that moved.
    pub up_to: Vec<Delivered>,
    pub delivered_at: Timestamp,
}

/// Cursor of one conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    pub conversation_id: ConversationId,
    /// Sender of the message, who learns that it was delivered.
    pub sender_id: UserId,
    pub message_id: MessageId,
    pub message_position: u64,
}

impl DeliveryEvent {
    /// Returns its audience: the senders of the messages that were delivered.
    #[must_use]
    pub fn audience(&self) -> EventAudience {
        let Self::Delivered(delivered) = self;
        let mut senders: Vec<UserId> = delivered.up_to.iter().map(|message| message.sender_id).collect();
        senders.sort_unstable();
        senders.dedup();
        EventAudience::Users(senders)
    }
}

/// The rules of delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The last event is less than [`PAUSE_MS`] ago.
    #[error("it is too soon to say more")]
    TooSoon,
}

impl RuleError for DeliveryError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::TooSoon => RefusalKind::Conflict,
        }
    }
}

impl DeliveryCursors {
    /// Returns true if this message, or a later one of its conversation, has been delivered.
    #[must_use]
    pub fn is_known(&self, message: &Delivered) -> bool {
        self.positions.get(&message.conversation_id).is_some_and(|position| *position >= message.message_position)
    }
}

impl Decider for DeliveryCursors {
    const CATEGORY: &'static str = "delivery";
    type Command = DeliveryCommand;
    type Event = DeliveryEvent;
    type Error = DeliveryError;

    fn decide(&self, command: DeliveryCommand) -> Result<Vec<DeliveryEvent>, DeliveryError> {
        let DeliveryCommand::HandOver(command) = command;
        let up_to: Vec<Delivered> = command.up_to.into_iter().filter(|message| !self.is_known(message)).collect();
        if up_to.is_empty() {
            return Ok(vec![]);
        }
        if self.last_at.is_some_and(|last_at| command.at < last_at.plus_ms(PAUSE_MS)) {
            return Err(DeliveryError::TooSoon);
        }
        let HandOver { recipient_id, business_id, at: delivered_at, .. } = command;
        Ok(vec![DeliveryEvent::Delivered(MessagesDelivered { recipient_id, business_id, up_to, delivered_at })])
    }

    fn evolve(&mut self, event: &DeliveryEvent) {
        let DeliveryEvent::Delivered(event) = event;
        for message in &event.up_to {
            let position = self.positions.entry(message.conversation_id).or_default();
            *position = message.message_position.max(*position);
        }
        self.last_at = Some(event.delivered_at);
    }

    fn heap_bytes(&self) -> usize {
        self.positions.capacity() * size_of::<(ConversationId, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const BOB: UserId = UserId(Uuid::from_u128(8));

    fn message(sender: u128, message_position: u64) -> Delivered {
        let sender_id = UserId(Uuid::from_u128(sender));
        Delivered {
            conversation_id: ConversationId::between(BOB, sender_id),
            sender_id,
            message_id: MessageId(Uuid::from_u128(message_position.into())),
            message_position,
        }
    }

    fn hand_over(ms: i64, up_to: &[Delivered]) -> DeliveryCommand {
        DeliveryCommand::HandOver(HandOver {
            recipient_id: BOB,
            business_id: BusinessId(Uuid::from_u128(1)),
            up_to: up_to.to_vec(),
            at: Timestamp::from_unix_ms(ms),
        })
    }

    fn delivered(ms: i64, up_to: &[Delivered]) -> DeliveryEvent {
        DeliveryEvent::Delivered(MessagesDelivered {
            recipient_id: BOB,
            business_id: BusinessId(Uuid::from_u128(1)),
            up_to: up_to.to_vec(),
            delivered_at: Timestamp::from_unix_ms(ms),
        })
    }

    #[test]
    fn one_event_says_it_for_all_conversations() {
        let messages = [message(1, 5), message(2, 6)];
        given::<DeliveryCursors>([]).when(hand_over(0, &messages)).then([delivered(0, &messages)]);
    }

    #[test]
    fn what_is_known_is_not_said_again() {
        let history = [delivered(0, &[message(1, 5), message(2, 6)])];
        given::<DeliveryCursors>(history.clone()).when(hand_over(1, &[message(1, 5), message(2, 4)])).then_nothing();
        given::<DeliveryCursors>(history)
            .when(hand_over(1000, &[message(1, 5), message(2, 7)]))
            .then([delivered(1000, &[message(2, 7)])]);
    }

    #[test]
    fn it_is_said_once_a_second_at_most() {
        let history = [delivered(0, &[message(1, 5)])];
        given::<DeliveryCursors>(history.clone())
            .when(hand_over(999, &[message(1, 6)]))
            .then_err(DeliveryError::TooSoon);
        given::<DeliveryCursors>(history)
            .when(hand_over(1000, &[message(1, 6)]))
            .then([delivered(1000, &[message(1, 6)])]);
    }

    proptest! {
        #[test]
        fn whatever_is_handed_over_no_cursor_goes_back(steps in prop::collection::vec((1_u128..4, 1_u64..50), 0..40)) {
            let mut state = DeliveryCursors::default();
            for (step, (sender, position)) in steps.into_iter().enumerate() {
                let before = state.clone();
                let at = i64::try_from(step).unwrap() * PAUSE_MS;
                for event in state.decide(hand_over(at, &[message(sender, position)])).unwrap() {
                    state.evolve(&event);
                }
                for (conversation, position) in before.positions {
                    prop_assert!(state.positions[&conversation] >= position);
                }
            }
        }
    }
}
