//! A message from one person to another. Each is a stream of its own, so that no conversation is ever too hot to write to.

use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{
    BusinessId, ConversationId, Decider, FileId, Invalid, MessageId, MessageText, Personal, Timestamp, UserId,
};

/// State of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Message {
    /// Nobody has sent it.
    #[default]
    Unsent,
    /// It stands as it was sent.
    Sent(MessageSent),
}

/// What the client says a message is, for it to show it accordingly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// Plain text.
    #[default]
    Text,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A recording.
    Audio,
    /// Any other file.
    File,
}

impl MessageKind {
    /// The name in the API and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::File => "file",
        }
    }
}

/// What may be asked of a message.
#[derive(Clone, Debug)]
pub enum MessageCommand {
    /// Sends it.
    Send(SendMessage),
}

/// A message about to be sent. That the recipient exists, is of the same business and may be written to was looked up before.
#[derive(Clone, Debug)]
pub struct SendMessage {
    pub id: MessageId,
    pub business_id: BusinessId,
    pub sender_id: UserId,
    pub recipient_id: UserId,
    pub content: MessageText,
    pub kind: MessageKind,
    pub attachments: Vec<FileId>,
    /// Keyed hash of everything the client sent, when the client named the message: it tells an exact retry from another message.
    pub fingerprint: Option<String>,
    pub at: Timestamp,
}

domain_events! {
    /// What may have happened to a message.
    pub enum MessageEvent {
        "MessageSent", version 2 => Sent(MessageSent),
    }
}

/// A person wrote to another. Version 1 had no `kind`: every message was text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSent {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub sender_id: UserId,
    pub recipient_id: UserId,
    pub content: Personal<String>,
    pub kind: MessageKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<FileId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    pub sent_at: Timestamp,
}

/// The rules of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// People write to others.
    #[error("{0}")]
    ToOneself(Invalid),
    /// There has to be something to read or to open.
    #[error("{0}")]
    Empty(Invalid),
    /// An id names one message for ever.
    #[error("this message has been sent already")]
    AlreadySent,
}

impl Message {
    /// The message, once it is sent.
    #[must_use]
    pub fn sent(&self) -> Option<&MessageSent> {
        match self {
            Self::Unsent => None,
            Self::Sent(message) => Some(message),
        }
    }
}

impl MessageSent {
    /// Whether this person wrote or got it.
    #[must_use]
    pub fn is_visible_to(&self, user: UserId) -> bool {
        self.sender_id == user || self.recipient_id == user
    }
}

impl Decider for Message {
    const CATEGORY: &'static str = "message";
    type Command = MessageCommand;
    type Event = MessageEvent;
    type Error = MessageError;

    fn decide(&self, command: MessageCommand) -> Result<Vec<MessageEvent>, MessageError> {
        match (command, self) {
            (MessageCommand::Send(command), Self::Unsent) => {
                if command.sender_id == command.recipient_id {
                    return Err(MessageError::ToOneself(Invalid::new("recipientId", "must be somebody else")));
                }
                if command.content.is_blank() && command.attachments.is_empty() {
                    return Err(MessageError::Empty(Invalid::new("content", "must not be empty without attachments")));
                }
                Ok(vec![MessageEvent::Sent(MessageSent {
                    message_id: command.id,
                    conversation_id: ConversationId::between(command.sender_id, command.recipient_id),
                    business_id: command.business_id,
                    sender_id: command.sender_id,
                    recipient_id: command.recipient_id,
                    content: Personal::of(command.sender_id, command.content.into_string()),
                    kind: command.kind,
                    attachments: command.attachments,
                    fingerprint: command.fingerprint,
                    sent_at: command.at,
                })])
            }
            (MessageCommand::Send(_), Self::Sent(_)) => Err(MessageError::AlreadySent),
        }
    }

    fn evolve(&mut self, event: &MessageEvent) {
        *self = match (event, std::mem::take(self)) {
            (MessageEvent::Sent(event), Self::Unsent) => Self::Sent(event.clone()),
            (MessageEvent::Sent(_), unchanged) => unchanged,
        };
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

    fn send(recipient_id: UserId, content: &str, attachments: Vec<FileId>) -> MessageCommand {
        MessageCommand::Send(SendMessage {
            id: MessageId(Uuid::from_u128(1)),
            business_id: BusinessId(Uuid::from_u128(2)),
            sender_id: ALICE,
            recipient_id,
            content: MessageText::parse(content).unwrap(),
            kind: MessageKind::Text,
            attachments,
            fingerprint: None,
            at: Timestamp::from_unix_ms(0),
        })
    }

    fn sent(content: &str, attachments: Vec<FileId>) -> MessageEvent {
        MessageEvent::Sent(MessageSent {
            message_id: MessageId(Uuid::from_u128(1)),
            conversation_id: ConversationId::between(ALICE, BOB),
            business_id: BusinessId(Uuid::from_u128(2)),
            sender_id: ALICE,
            recipient_id: BOB,
            content: Personal::of(ALICE, content.to_owned()),
            kind: MessageKind::Text,
            attachments,
            fingerprint: None,
            sent_at: Timestamp::from_unix_ms(0),
        })
    }

    #[test]
    fn a_message_is_sent_once() {
        given::<Message>([]).when(send(BOB, "Hello!", vec![])).then([sent("Hello!", vec![])]);
        given::<Message>([sent("Hello!", vec![])])
            .when(send(BOB, "Hello!", vec![]))
            .then_err(MessageError::AlreadySent);
    }

    #[test]
    fn nobody_writes_to_themselves() {
        let invalid = Invalid::new("recipientId", "must be somebody else");
        given::<Message>([]).when(send(ALICE, "Hello!", vec![])).then_err(MessageError::ToOneself(invalid));
    }

    #[test]
    fn a_message_without_attachments_says_something() {
        let invalid = Invalid::new("content", "must not be empty without attachments");
        for blank in ["", " \n"] {
            given::<Message>([]).when(send(BOB, blank, vec![])).then_err(MessageError::Empty(invalid.clone()));
        }
    }

    #[test]
    fn a_message_may_consist_of_attachments_alone() {
        let file = FileId(Uuid::from_u128(9));
        given::<Message>([]).when(send(BOB, "", vec![file])).then([sent("", vec![file])]);
    }

    #[test]
    fn only_its_two_parties_see_it() {
        let MessageEvent::Sent(message) = sent("Hello!", vec![]);
        assert!(message.is_visible_to(ALICE) && message.is_visible_to(BOB));
        assert!(!message.is_visible_to(UserId(Uuid::from_u128(9))));
    }

    proptest! {
        #[test]
        fn whatever_is_asked_what_was_sent_first_stands(texts in prop::collection::vec("[ a-z]{0,5}", 1..10)) {
            let mut state = Message::default();
            for text in texts {
                let before = state.sent().cloned();
                for event in state.decide(send(BOB, &text, vec![])).unwrap_or_default() {
                    state.evolve(&event);
                }
                prop_assert!(before.is_none() || before.as_ref() == state.sent());
            }
        }

        #[test]
        fn any_history_replays(texts in prop::collection::vec("[ a-z]{0,5}", 0..10)) {
            let history: Vec<_> = texts.iter().map(|text| sent(text, vec![])).collect();
            prop_assert_eq!(Message::replay(&history).sent().is_some(), !history.is_empty());
        }
    }
}
