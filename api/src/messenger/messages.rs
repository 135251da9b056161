//! Sending and reading messages.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use commands::{EditedMessage, NewMessage, SentMessage};
use domain::file::FileError;
use domain::message::{MessageError, MessageKind};
use domain::user::UserError;
use domain::{FileId, Invalid, MessageId, MessageText, Reason, RetryKey, Timestamp, UserId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use projections::messaging::{MessageRow, MessagingQueries};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::{Created, Found, Success};
use crate::error::ApiError;
use crate::files::FileInfo;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct MessagesApi;

/// Type of a message
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
    /// Text: up to 10,000 characters; may be empty only with attachments
    content: Option<String>,
    /// Type; `text` by default
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: Option<MessageType>,
    /// Ids of files that one has uploaded; 10 at most
    attachments: Option<Vec<String>>,
    /// The message of this conversation that it replies to
    reply_to: Option<String>,
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
            reply_to: None,
            client_message_id: None,
        }
    }
}

/// A message
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the contract names them")]
pub(crate) struct Message {
    id: String,
    sender_id: String,
    recipient_id: String,
    /// Text; empty once the message is deleted
    content: String,
    /// Type: `text`, `image`, `video`, `audio` or `file`
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// Time of sending
    timestamp: String,
    /// True if the recipient has read it
    read: bool,
    /// True if it was delivered to a client of the recipient
    delivered: bool,
    /// The conversation of the two people: the same whoever asks
    conversation_id: String,
    /// Ids of files
    attachments: Vec<String>,
    /// The files themselves
    files: Vec<FileInfo>,
    /// The message that it replies to
    reply_to: Option<String>,
    /// True if it was edited
    edited: bool,
    /// Time of the last edit
    edited_at: Option<String>,
    /// True if it was deleted: only its place is left
    deleted: bool,
    /// Time of the deletion
    deleted_at: Option<String>,
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
            files: vec![],
            reply_to: None,
            edited: false,
            edited_at: None,
            deleted: false,
            deleted_at: None,
            position: 42,
        }
    }
}

/// One message
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
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
            files: sent.files.iter().map(FileInfo::from).collect(),
            reply_to: message.reply_to.map(|id| id.to_string()),
            edited: false,
            edited_at: None,
            deleted: false,
            deleted_at: None,
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
            files: vec![],
            reply_to: row.reply_to.map(|id| id.to_string()),
            edited: row.edited_at.is_some() && row.deleted_at.is_none(),
            edited_at: row.edited_at.filter(|_| row.deleted_at.is_none()).map(|at| Timestamp::from(at).to_string()),
            deleted: row.deleted_at.is_some(),
            deleted_at: row.deleted_at.map(|at| Timestamp::from(at).to_string()),
            position: row.position.cast_unsigned(),
        }
    }
}

impl Message {
    /// A message, and the position that it is true from.
    async fn read(
        api: &Api,
        id: MessageId,
        viewer: UserId,
        min_position: Option<u64>,
    ) -> Result<(Self, u64), ApiError> {
        let (messaging, position) = api.messaging(min_position).await?;
        let rows = messaging.message(id, viewer).await?.into_iter().collect();
        let message = Self::with_files(messaging, rows)
            .await?
            .pop()
            .ok_or_else(|| ApiError::rule(&MessageError::NoSuchMessage))?;
        Ok((message, position))
    }

    /// Messages with their files, which are looked up for all of them at once.
    pub(crate) async fn with_files(messaging: &MessagingQueries, rows: Vec<MessageRow>) -> Result<Vec<Self>, ApiError> {
        let ids: Vec<Uuid> = rows.iter().flat_map(|row| &row.attachments).copied().collect();
        let files: HashMap<Uuid, FileInfo> =
            messaging.files(&ids).await?.into_iter().map(|row| (row.id, row.into())).collect();
        let message = |row: MessageRow| {
            let files = row.attachments.iter().filter_map(|id| files.get(id).cloned()).collect();
            Self { files, ..row.into() }
        };
        Ok(rows.into_iter().map(message).collect())
    }
}

/// Edit of a message
#[derive(Object, Deserialize, JsonSchema)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EditMessage {
    /// Up to 10,000 characters; may only be empty when there are attachments
    content: String,
}

impl Example for EditMessage {
    fn example() -> Self {
        Self { content: "Hello! How have you been?".into() }
    }
}

impl SendMessage {
    /// The message that is meant, with what the header `Idempotency-Key` says.
    pub(crate) fn into_command(self, idempotency_key: Option<&str>) -> Result<NewMessage, ApiError> {
        let attachments = self.attachments.unwrap_or_default();
        let attachments = attachments.iter().map(|id| id.parse().map_err(|_| ApiError::rule(&FileError::NoSuchFile)));
        let mut attachments = attachments.collect::<Result<Vec<FileId>, ApiError>>()?;
        // However it is spelt, a file goes with a message once.
        let mut seen = HashSet::new();
        attachments.retain(|id| seen.insert(*id));
        Ok(NewMessage {
            content: MessageText::parse(self.content.as_deref().unwrap_or_default())?,
            kind: self.kind.map(MessageKind::from).unwrap_or_default(),
            attachments,
            reply_to: self
                .reply_to
                .map(|id| id.parse().map_err(|_| ApiError::rule(&MessageError::NoSuchMessage)))
                .transpose()?,
            retry_key: retry_key(self.client_message_id.as_deref(), idempotency_key)?,
            recipient_id: self.recipient_id.parse().map_err(|_| ApiError::rule(&UserError::NoSuchRecipient))?,
        })
    }
}

pub(crate) fn message_id(text: &str) -> Result<MessageId, ApiError> {
    text.parse().map_err(|_| ApiError::rule(&MessageError::NoSuchMessage))
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
        let (message, position) =
            Message::read(&api, message_id(&id.0)?, token.caller().user_id, min_position.0).await?;
        Ok(Found::at(position, OneMessage { success: true, message }))
    }

    /// Edit a message
    ///
    /// One's own, for a day after it was sent unless the operator has said something else. What it said before stays in the
    /// history alone. Both parties get `message:edited`.
    #[oai(path = "/:id", method = "patch", operation_id = "editMessage")]
    async fn edit(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
        body: JsonBody<EditMessage>,
    ) -> Result<Found<OneMessage>, ApiError> {
        let id = message_id(&id.0)?;
        let content = MessageText::parse(&body.0.content)?;
        let done = api.commands.edit_message(&token.request(&api), id, content).await?;
        let EditedMessage { sent, edited } = done.value;
        let mut message = Message::from(sent);
        // It is done, and answered whatever the read model knows by now.
        if let Ok((row, _)) = Message::read(&api, id, token.caller().user_id, None).await {
            (message.read, message.delivered) = (row.read, row.delivered);
        }
        if let Some(edited) = edited {
            message.content = edited.content.known().cloned().unwrap_or_default();
            message.edited = true;
            message.edited_at = Some(edited.edited_at.to_string());
        }
        Ok(Found::at(done.position, OneMessage { success: true, message }))
    }

    /// Delete a message
    ///
    /// One's own; administrators delete those of others too, and say why. Its place stays, and nothing of what it said. Both
    /// parties get `message:deleted`. Repeating it changes nothing.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteMessage")]
    async fn delete(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
        /// Why an administrator deletes it: 1 to 500 characters
        reason: Query<Option<String>>,
    ) -> Result<Found<Success>, ApiError> {
        let reason = reason.0.as_deref().map(Reason::parse).transpose()?;
        let done = api.commands.delete_message(&token.request(&api), message_id(&id.0)?, reason).await?;
        Ok(Found::at(done.position, Success::yes()))
    }
}
