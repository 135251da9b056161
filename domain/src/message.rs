//! A message from one person to another. Each is a stream of its own, so that no conversation is ever too hot to write to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{
    BusinessId, ConversationId, Decider, EventAudience, FileId, Invalid, MessageId, MessageText, Personal, Reason,
    RefusalKind, RuleError, Timestamp, UserId,
};

#[cfg(test)]
mod tests;

/// State of one message.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Message {
    /// Not sent yet.
    #[default]
    Unsent,
    /// It can be read.
    Visible(VisibleMessage),
    /// It can't be read any more. What it said stays in the history alone.
    Deleted(MessageSent),
}

/// A message that can be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VisibleMessage {
    /// As it was sent.
    pub sent: MessageSent,
    /// Text since the last edit, if there was one.
    pub edited: Option<Edited>,
}

/// Text of an edited message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edited {
    pub content: Personal<String>,
    pub edited_at: Timestamp,
}

/// Type of a message, as its client states it, for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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

/// Commands that a message accepts.
#[derive(Clone, Debug)]
pub enum MessageCommand {
    /// Sends it.
    Send(SendMessage),
    /// Gives it another text. Its sender may, until so many milliseconds after it was sent.
    Edit { by: UserId, content: MessageText, window_ms: i64, at: Timestamp },
    /// Takes it back. Who may was decided before: its sender, or an administrator, who has a reason.
    Delete { by: UserId, reason: Option<Reason>, at: Timestamp },
}

/// A message about to be sent. That the recipient exists, is of the same business and may be written to was looked up before; so
/// was that what it replies to is of the same conversation.
#[derive(Clone, Debug)]
pub struct SendMessage {
    pub id: MessageId,
    pub business_id: BusinessId,
    pub sender_id: UserId,
    pub recipient_id: UserId,
    pub content: MessageText,
    pub kind: MessageKind,
    pub attachments: Vec<FileId>,
    pub reply_to: Option<MessageId>,
    /// Keyed hash of everything the client sent, when the client named the message: it tells an exact retry from another message.
    pub fingerprint: Option<String>,
    pub at: Timestamp,
}

domain_events! {
    /// Events of a message.
    pub enum MessageEvent {
        "MessageSent", version 2 => Sent(MessageSent),
        "MessageEdited", version 1 => Edited(MessageEdited),
        "MessageDeleted", version 1 => Deleted(MessageDeleted),
    }
}

/// A person wrote to another. Version 1 had no `kind`: every message was text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub reply_to: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    pub sent_at: Timestamp,
}

/// The sender gave it another text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageEdited {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub sender_id: UserId,
    pub recipient_id: UserId,
    pub content: Personal<String>,
    pub edited_at: Timestamp,
}

/// The message was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageDeleted {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub sender_id: UserId,
    pub recipient_id: UserId,
    pub deleted_by: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<String>>,
    pub deleted_at: Timestamp,
}

/// The rules of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A user cannot write to themselves.
    #[error("{0}")]
    ToOneself(Invalid),
    /// There has to be something to read or to open.
    #[error("{0}")]
    Empty(Invalid),
    /// An id names one message for ever.
    #[error("this message has been sent already")]
    AlreadySent,
    /// A retry key names one message for ever.
    #[error("this key has been used for another message")]
    KeyUsed,
    /// There is no such message.
    #[error("message not found")]
    NoSuchMessage,
    /// Only the sender can edit a message.
    #[error("only its sender can edit a message")]
    NotTheSender,
    /// The edit window is over.
    #[error("this message is too old to be edited")]
    TooLateToEdit,
    /// A deletion cannot be undone.
    #[error("this message is deleted")]
    AlreadyDeleted,
}

impl RuleError for MessageError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::ToOneself(invalid) | Self::Empty(invalid) => invalid.kind(),
            Self::NoSuchMessage => RefusalKind::NotFound,
            Self::NotTheSender => RefusalKind::Forbidden,
            Self::AlreadySent | Self::KeyUsed | Self::TooLateToEdit | Self::AlreadyDeleted => RefusalKind::Conflict,
        }
    }
}

impl Message {
    /// The message as it was sent, even if it can't be read any more; none when nobody has sent it.
    #[must_use]
    pub fn sent(&self) -> Option<&MessageSent> {
        match self {
            Self::Unsent => None,
            Self::Visible(message) => Some(&message.sent),
            Self::Deleted(sent) => Some(sent),
        }
    }

    /// The message, if it can be read.
    #[must_use]
    pub fn visible(&self) -> Option<&VisibleMessage> {
        match self {
            Self::Visible(message) => Some(message),
            Self::Unsent | Self::Deleted(_) => None,
        }
    }
}

impl VisibleMessage {
    /// Returns its current text.
    #[must_use]
    pub fn content(&self) -> &Personal<String> {
        self.edited.as_ref().map_or(&self.sent.content, |edited| &edited.content)
    }
}

impl MessageEvent {
    /// Returns its audience: the members of its conversation.
    #[must_use]
    pub fn audience(&self) -> EventAudience {
        let (id, members) = match self {
            Self::Sent(event) => (event.conversation_id, [event.recipient_id, event.sender_id]),
            Self::Edited(event) => (event.conversation_id, [event.recipient_id, event.sender_id]),
            Self::Deleted(event) => (event.conversation_id, [event.recipient_id, event.sender_id]),
        };
        EventAudience::Conversation { id, members }
    }
}

impl MessageSent {
    /// Returns true if this user is the sender or the recipient.
    #[must_use]
    pub fn is_visible_to(&self, user: UserId) -> bool {
        self.sender_id == user || self.recipient_id == user
    }
}

fn must_say_something(content: &MessageText, attachments: &[FileId]) -> Result<(), MessageError> {
    if content.is_blank() && attachments.is_empty() {
        return Err(MessageError::Empty(Invalid::new("content", "must not be empty without attachments")));
    }
    Ok(())
}

impl Decider for Message {
    const CATEGORY: &'static str = "message";
    type Command = MessageCommand;
    type Event = MessageEvent;
    type Error = MessageError;

    fn decide(&self, command: MessageCommand) -> Result<Vec<MessageEvent>, MessageError> {
        use MessageCommand::{Delete, Edit, Send};
        match (command, self) {
            (Send(command), Self::Unsent) => {
                if command.sender_id == command.recipient_id {
                    return Err(MessageError::ToOneself(Invalid::new("recipientId", "must be somebody else")));
                }
                must_say_something(&command.content, &command.attachments)?;
                Ok(vec![MessageEvent::Sent(MessageSent {
                    message_id: command.id,
                    conversation_id: ConversationId::between(command.sender_id, command.recipient_id),
                    business_id: command.business_id,
                    sender_id: command.sender_id,
                    recipient_id: command.recipient_id,
                    content: Personal::of(command.sender_id, command.content.into_string()),
                    kind: command.kind,
                    attachments: command.attachments,
                    reply_to: command.reply_to,
                    fingerprint: command.fingerprint,
                    sent_at: command.at,
                })])
            }
            (Send(_), Self::Visible(_) | Self::Deleted(_)) => Err(MessageError::AlreadySent),
            (Edit { .. } | Delete { .. }, Self::Unsent) => Err(MessageError::NoSuchMessage),

            (Edit { by, .. }, Self::Visible(VisibleMessage { sent, .. }) | Self::Deleted(sent))
                if by != sent.sender_id =>
            {
                Err(MessageError::NotTheSender)
            }
            (Edit { .. }, Self::Deleted(_)) => Err(MessageError::AlreadyDeleted),
            (Edit { window_ms, at, .. }, Self::Visible(now)) if at > now.sent.sent_at.plus_ms(window_ms) => {
                Err(MessageError::TooLateToEdit)
            }
            (Edit { content, .. }, Self::Visible(now))
                if now.content().known().is_some_and(|known| known == content.as_str()) =>
            {
                Ok(vec![])
            }
            (Edit { by, content, at, .. }, Self::Visible(VisibleMessage { sent, .. })) => {
                must_say_something(&content, &sent.attachments)?;
                Ok(vec![MessageEvent::Edited(MessageEdited {
                    message_id: sent.message_id,
                    conversation_id: sent.conversation_id,
                    business_id: sent.business_id,
                    sender_id: sent.sender_id,
                    recipient_id: sent.recipient_id,
                    content: Personal::of(by, content.into_string()),
                    edited_at: at,
                })])
            }

            (Delete { .. }, Self::Deleted(_)) => Ok(vec![]),
            (Delete { by, reason, at }, Self::Visible(VisibleMessage { sent, .. })) => {
                Ok(vec![MessageEvent::Deleted(MessageDeleted {
                    message_id: sent.message_id,
                    conversation_id: sent.conversation_id,
                    business_id: sent.business_id,
                    sender_id: sent.sender_id,
                    recipient_id: sent.recipient_id,
                    deleted_by: by,
                    reason: reason.map(|reason| Personal::of(by, reason.into_string())),
                    deleted_at: at,
                })])
            }
        }
    }

    fn evolve(&mut self, event: &MessageEvent) {
        *self = match (event, std::mem::take(self)) {
            (MessageEvent::Sent(event), Self::Unsent) => {
                Self::Visible(VisibleMessage { sent: event.clone(), edited: None })
            }
            (MessageEvent::Edited(event), Self::Visible(now)) => {
                let edited = Edited { content: event.content.clone(), edited_at: event.edited_at };
                Self::Visible(VisibleMessage { edited: Some(edited), ..now })
            }
            (MessageEvent::Deleted(_), Self::Visible(now)) => Self::Deleted(now.sent),
            (MessageEvent::Sent(_) | MessageEvent::Edited(_) | MessageEvent::Deleted(_), unchanged) => unchanged,
        };
    }
}
