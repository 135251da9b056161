//! What the events of the live streams carry, to the field name of the contract.

use domain::message::MessageSent;
use domain::reading::MessagesRead;
use event_store::Position;
use serde::Serialize;

/// `message:received`: somebody wrote to you.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageReceived<'a> {
    pub(crate) sender_name: &'a str,
    pub(crate) sender_avatar: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) message: MessagePayload<'a>,
}

/// `message:sent`: you wrote to somebody, perhaps on another device.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessagePayload<'a> {
    pub(crate) id: String,
    pub(crate) sender_id: String,
    pub(crate) recipient_id: String,
    pub(crate) content: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) timestamp: String,
    pub(crate) read: bool,
    pub(crate) attachments: Vec<String>,
    pub(crate) conversation_id: String,
    pub(crate) position: Position,
}

/// `message:read`: somebody has read what you wrote, up to this message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageRead {
    pub(crate) message_id: String,
    pub(crate) reader_id: String,
    pub(crate) read_at: String,
    pub(crate) conversation_id: String,
    pub(crate) position: Position,
}

impl<'a> MessagePayload<'a> {
    pub(crate) fn of(message: &'a MessageSent, position: Position) -> Self {
        Self {
            id: message.message_id.to_string(),
            sender_id: message.sender_id.to_string(),
            recipient_id: message.recipient_id.to_string(),
            content: message.content.known().map_or("", String::as_str),
            kind: message.kind.as_str(),
            timestamp: message.sent_at.to_string(),
            read: false,
            attachments: message.attachments.iter().map(ToString::to_string).collect(),
            conversation_id: message.conversation_id.to_string(),
            position,
        }
    }
}

impl MessageRead {
    pub(crate) fn of(read: &MessagesRead, position: Position) -> Self {
        Self {
            message_id: read.message_id.to_string(),
            reader_id: read.reader_id.to_string(),
            read_at: read.read_at.to_string(),
            conversation_id: read.conversation_id.to_string(),
            position,
        }
    }
}
