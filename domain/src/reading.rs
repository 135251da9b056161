//! Read cursor of one user in one conversation, which only moves forwards. Reading a message reads all before it.

use std::convert::Infallible;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, ConversationId, Decider, EventAudience, MessageId, Timestamp, UserId};

/// State of one person's cursor in one conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Position in the log of the last message read; 0 before the first.
    pub read_position: u64,
}

/// Commands that a cursor accepts.
#[derive(Clone, Debug)]
pub enum ReadingCommand {
    /// Reads a message and all before it.
    Read(ReadMessage),
}

/// A message about to be read. That the reader is its recipient was looked up before.
#[derive(Clone, Debug)]
pub struct ReadMessage {
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub reader_id: UserId,
    /// Sender of the message, who learns that it was read.
    pub sender_id: UserId,
    pub message_id: MessageId,
    /// Position of the message in the log.
    pub message_position: u64,
    pub at: Timestamp,
}

domain_events! {
    /// Events of a cursor.
    pub enum ReadingEvent {
        "MessagesRead", version 1 => Read(MessagesRead),
    }
}

/// A person read a message and all before it in the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessagesRead {
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub reader_id: UserId,
    pub sender_id: UserId,
    pub message_id: MessageId,
    pub message_position: u64,
    pub read_at: Timestamp,
}

impl Reading {
    /// Id of the stream of this person's cursor in this conversation.
    #[must_use]
    pub fn stream_id(conversation: ConversationId, reader: UserId) -> String {
        format!("{conversation}.{reader}")
    }
}

impl ReadingEvent {
    /// Returns its audience: the sender of the messages that were read.
    #[must_use]
    pub fn audience(&self) -> EventAudience {
        let Self::Read(read) = self;
        EventAudience::Users(vec![read.sender_id])
    }
}

impl Decider for Reading {
    const CATEGORY: &'static str = "reading";
    type Command = ReadingCommand;
    type Event = ReadingEvent;
    type Error = Infallible;

    fn decide(&self, command: ReadingCommand) -> Result<Vec<ReadingEvent>, Infallible> {
        match command {
            ReadingCommand::Read(command) if command.message_position <= self.read_position => Ok(vec![]),
            ReadingCommand::Read(command) => Ok(vec![ReadingEvent::Read(MessagesRead {
                conversation_id: command.conversation_id,
                business_id: command.business_id,
                reader_id: command.reader_id,
                sender_id: command.sender_id,
                message_id: command.message_id,
                message_position: command.message_position,
                read_at: command.at,
            })]),
        }
    }

    fn evolve(&mut self, event: &ReadingEvent) {
        match event {
            ReadingEvent::Read(event) => self.read_position = self.read_position.max(event.message_position),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ALICE: UserId = UserId(Uuid::from_u128(7));
    const BOB: UserId = UserId(Uuid::from_u128(8));

    fn read(message_position: u64) -> ReadingCommand {
        ReadingCommand::Read(ReadMessage {
            conversation_id: ConversationId::between(ALICE, BOB),
            business_id: BusinessId(Uuid::from_u128(1)),
            reader_id: BOB,
            sender_id: ALICE,
            message_id: MessageId(Uuid::from_u128(message_position.into())),
            message_position,
            at: Timestamp::from_unix_ms(0),
        })
    }

    fn was_read(message_position: u64) -> ReadingEvent {
        ReadingEvent::Read(MessagesRead {
            conversation_id: ConversationId::between(ALICE, BOB),
            business_id: BusinessId(Uuid::from_u128(1)),
            reader_id: BOB,
            sender_id: ALICE,
            message_id: MessageId(Uuid::from_u128(message_position.into())),
            message_position,
            read_at: Timestamp::from_unix_ms(0),
        })
    }

    #[test]
    fn reading_moves_the_cursor_forwards() {
        given::<Reading>([]).when(read(5)).then([was_read(5)]);
        given::<Reading>([was_read(5)]).when(read(9)).then([was_read(9)]);
    }

    #[test]
    fn reading_again_or_something_older_changes_nothing() {
        given::<Reading>([was_read(5)]).when(read(5)).then_nothing();
        given::<Reading>([was_read(5)]).when(read(3)).then_nothing();
    }

    proptest! {
        #[test]
        fn whatever_is_read_the_cursor_never_goes_back(positions in prop::collection::vec(1_u64..50, 0..30)) {
            let mut state = Reading::default();
            for position in &positions {
                let before = state.read_position;
                for event in state.decide(read(*position)).unwrap() {
                    state.evolve(&event);
                }
                prop_assert!(state.read_position >= before);
            }
            prop_assert_eq!(state.read_position, positions.into_iter().max().unwrap_or(0));
        }

        #[test]
        fn any_history_replays(positions in prop::collection::vec(any::<u64>(), 0..30)) {
            let history: Vec<_> = positions.into_iter().map(was_read).collect();
            Reading::replay(&history);
        }
    }
}
