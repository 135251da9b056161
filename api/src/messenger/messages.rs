//! Sending and reading messages.

use std::sync::Arc;

use commands::{NewMessage, SentMessage};
use domain::message::MessageKind;
use domain::{Invalid, MessageId, MessageText, RetryKey, Timestamp};
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use projections::messaging::MessageRow;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::{Created, Found};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct MessagesApi;

/// What a message is
#[derive(Clone, Copy, Enum, Deserialize, JsonSchema)]
#[oai(rename_all = "lowercase")]
#[serde(try_from = "String", rename_all = "lowercase")]
#[schemars(!try_from)]
enum MessageType {
    Text,
    Image,
    Video,
    Audio,
    File,
}

/// Serde's own way would take `{"text": null}` for `"text"`.
impl TryFrom<String> for MessageType {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "text" => Ok(Self::Text),
            "image" => Ok(Self::Image),
            "video" => Ok(Self::Video),
            "audio" => Ok(Self::Audio),
            "file" => Ok(Self::File),
            _ => Err("must be text, image, video, audio or file"),
        }
    }
}

impl From<MessageType> for MessageKind {
    fn from(kind: MessageType) -> Self {
        match kind {
            MessageType::Text => Self::Text,
            MessageType::Image => Self::Image,
            MessageType::Video => Self::Video,
            MessageType::Audio => Self::Audio,
            MessageType::File => Self::File,
        }
    }
}

/// A message to be sent
#[derive(Object, Deserialize, JsonSchema)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SendMessage {
    /// To whom: somebody of one's own business
    recipient_id: String,
    /// What it says: up to 10,000 characters; may only be empty when there are attachments
    content: Option<String>,
    /// What it is; `text` unless it says something else
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: Option<MessageType>,
    /// Ids of uploaded files
    attachments: Option<Vec<String>>,
    /// Names the message, so that sending it again by mistake changes nothing: an exact retry gets the same answer. 1 to 128
    /// characters. The header `Idempotency-Key` does the same.
    client_message_id: Option<String>,
}

impl Example for SendMessage {
    fn example() -> Self {
        Self {
            recipient_id: "user_id".into(),
            content: Some("Hello! How are you?".into()),
            kind: Some(MessageType::Text),
            attachments: Some(vec![]),
            client_message_id: None,
        }
    }
}

/// A message
#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Message {
    id: String,
    sender_id: String,
    recipient_id: String,
    content: String,
    /// What it is: `text`, `image`, `video`, `audio` or `file`
    #[oai(rename = "type")]
    kind: String,
    /// When it was sent
    timestamp: String,
    /// Whether the recipient has read it
    read: bool,
    /// Whether a device of the recipient has it
    delivered: bool,
    /// The conversation of the two people: the same whoever asks
    conversation_id: String,
    /// Ids of files
    attachments: Vec<String>,
    /// Its place in the order of the conversation
    position: u64,
}

impl Example for Message {
    fn example() -> Self {
        Self {
            id: "msg_id".into(),
            sender_id: "your_id".into(),
            recipient_id: "user_id".into(),
            content: "Hello! How are you?".into(),
            kind: "text".into(),
            timestamp: "2025-11-22T10:30:00.000Z".into(),
            read: false,
            delivered: false,
            conversation_id: "conversation_id".into(),
            attachments: vec![],
            position: 42,
        }
    }
}

/// One message
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct OneMessage {
    /// Always true
    success: bool,
    message: Message,
}

impl Example for OneMessage {
    fn example() -> Self {
        Self { success: true, message: Example::example() }
    }
}

impl From<SentMessage> for Message {
    fn from(sent: SentMessage) -> Self {
        let message = sent.message;
        Self {
            id: message.message_id.to_string(),
            sender_id: message.sender_id.to_string(),
            recipient_id: message.recipient_id.to_string(),
            content: message.content.known().cloned().unwrap_or_default(),
            kind: message.kind.as_str().to_owned(),
            timestamp: message.sent_at.to_string(),
            read: false,
            delivered: false,
            conversation_id: message.conversation_id.to_string(),
            attachments: message.attachments.iter().map(ToString::to_string).collect(),
            position: sent.position,
        }
    }
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id.to_string(),
            sender_id: row.sender_id.to_string(),
            recipient_id: row.recipient_id.to_string(),
            content: row.content.unwrap_or_default(),
            kind: row.kind,
            timestamp: Timestamp::from(row.sent_at).to_string(),
            read: row.read,
            delivered: row.delivered,
            conversation_id: row.conversation_id.to_string(),
            attachments: row.attachments.iter().map(ToString::to_string).collect(),
            position: row.position.cast_unsigned(),
        }
    }
}

impl SendMessage {
    /// The message that is meant, with what the header `Idempotency-Key` says.
    pub(crate) fn into_command(self, idempotency_key: Option<&str>) -> Result<NewMessage, ApiError> {
        let attachments = self.attachments.unwrap_or_default();
        Ok(NewMessage {
            content: MessageText::parse(self.content.as_deref().unwrap_or_default())?,
            kind: self.kind.map(MessageKind::from).unwrap_or_default(),
            attachments: attachments
                .iter()
                .map(|id| id.parse().map_err(|_| ApiError::invalid("attachments", "there is no such file")))
                .collect::<Result<_, _>>()?,
            retry_key: retry_key(self.client_message_id.as_deref(), idempotency_key)?,
            recipient_id: self.recipient_id.parse().map_err(|_| ApiError::not_found("Recipient"))?,
        })
    }
}

/// The name that the client has given a message, in one of two places.
fn retry_key(in_body: Option<&str>, in_header: Option<&str>) -> Result<Option<RetryKey>, ApiError> {
    let in_body = in_body.map(|key| RetryKey::parse("clientMessageId", key)).transpose()?;
    let in_header = in_header.map(|key| RetryKey::parse("Idempotency-Key", key)).transpose()?;
    match (in_body, in_header) {
        (Some(body), Some(header)) if body != header => {
            Err(Invalid::new("clientMessageId", "must be the same as Idempotency-Key, if both are given").into())
        }
        (body, header) => Ok(body.or(header)),
    }
}

#[OpenApi(prefix_path = "/api/messenger/messages", tag = "Tag::Messages")]
impl MessagesApi {
    /// Send a message
    ///
    /// The answer comes once the message is on disk. The recipient's connections get `message:received`, the sender's
    /// `message:sent`.
    #[oai(path = "/", method = "post", operation_id = "sendMessage")]
    async fn send(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        body: JsonBody<SendMessage>,
        /// Names the message, as `clientMessageId` does
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
    ) -> Result<Created<OneMessage>, ApiError> {
        let new = body.0.into_command(idempotency_key.0.as_deref())?;
        let done = api.commands.send_message(&token.request(&api), new).await?;
        Ok(Created::at(done.position, OneMessage { success: true, message: done.value.into() }))
    }

    /// Get a message
    ///
    /// For its sender and its recipient.
    #[oai(path = "/:id", method = "get", operation_id = "getMessage")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<OneMessage>, ApiError> {
        let not_found = || ApiError::not_found("Message");
        let id: MessageId = id.0.parse().map_err(|_| not_found())?;
        let (messages, position) = api.messaging(min_position.0).await?;
        let viewer = token.request(&api).caller.user_id;
        let message = messages.message(id, viewer).await?.ok_or_else(not_found)?;
        Ok(Found::at(position, OneMessage { success: true, message: message.into() }))
    }
}
