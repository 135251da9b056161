//! Conversations.

use std::sync::Arc;

use domain::message::MessageError;
use domain::{ConversationId, MessageId, Timestamp, UserId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use projections::messaging::{ConversationRow, MessageRow, Range};
use serde::{Deserialize, Serialize};

use super::Message;
use super::people::Colleague;
use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;
use crate::paging::{PageSize, cursor, page};

pub(crate) struct ConversationsApi;

/// Message up to which a conversation is read
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadUpTo {
    /// The last message that has been read
    up_to: String,
}

impl Example for ReadUpTo {
    fn example() -> Self {
        Self { up_to: "msg_id".into() }
    }
}

/// New read cursor of a conversation
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct ConversationRead {
    /// Always true
    success: bool,
    conversation_id: String,
    message_id: String,
}

impl Example for ConversationRead {
    fn example() -> Self {
        Self { success: true, conversation_id: "conversation_id".into(), message_id: "msg_id".into() }
    }
}

/// A conversation of two people
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Conversation {
    id: String,
    /// `direct`: there are no others yet
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The other party
    user: Colleague,
    last_message: Message,
    /// Messages that one has got and not read
    unread_count: u64,
    /// Place of the last message that one has read; 0 before the first
    read_position: u64,
}

/// Some conversations, the one with the latest message first
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Conversations {
    /// Always true
    success: bool,
    conversations: Vec<Conversation>,
    /// To be sent as `cursor` to get more; null when there are no more
    next_cursor: Option<String>,
}

impl Example for Conversations {
    fn example() -> Self {
        let conversation = Conversation {
            id: "conversation_id".into(),
            kind: "direct".into(),
            user: Example::example(),
            last_message: Example::example(),
            unread_count: 3,
            read_position: 17,
        };
        Self { success: true, conversations: vec![conversation], next_cursor: Some("42".into()) }
    }
}

/// Some messages of a conversation
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Messages {
    /// Always true
    success: bool,
    messages: Vec<Message>,
    /// To be sent as `before` (or as `after`, if that is how these were got) to get more; null when there are no more
    next_cursor: Option<String>,
}

impl Example for Messages {
    fn example() -> Self {
        Self { success: true, messages: vec![Example::example()], next_cursor: Some("42".into()) }
    }
}

/// A place in a conversation.
fn place(name: &str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    text.map(|text| text.parse().map_err(|_| ApiError::invalid(name, "must be the position of a message"))).transpose()
}

#[OpenApi(prefix_path = "/api/messenger/conversations", tag = "Tag::Messages")]
impl ConversationsApi {
    /// List one's conversations
    ///
    /// The one with the latest message first, each with the other party, its last message and how much of it is unread.
    #[oai(path = "/", method = "get", operation_id = "listConversations")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        /// Conversations on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// From the page before, as `nextCursor`
        cursor: Query<Option<String>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Conversations>, ApiError> {
        let limit = PageSize::LIST.limit(limit.0)?;
        let before = self::cursor(cursor.0.as_deref())?;
        let (messaging, position) = api.messaging_and_people(min_position.0).await?;
        let rows = messaging.conversations(token.caller().user_id, before, limit + 1).await?;
        let (rows, next_cursor) = page(rows, limit, |row: &ConversationRow| row.last.position);
        let last = Message::with_files(messaging, rows.iter().map(|row| row.last.clone()).collect()).await?;
        let conversation = |(row, last_message): (ConversationRow, Message)| {
            let online = api.presence.is_online(UserId(row.other_user_id));
            let last_seen_at = row.other_last_seen_at.filter(|_| !online);
            Conversation {
                id: row.last.conversation_id.to_string(),
                kind: "direct".to_owned(),
                user: Colleague {
                    id: row.other_user_id.to_string(),
                    name: row.other_name.unwrap_or_default(),
                    avatar: row.other_avatar,
                    online,
                    last_seen_at: last_seen_at.map(|at| Timestamp::from(at).to_string()),
                },
                last_message,
                unread_count: row.unread.cast_unsigned(),
                read_position: row.read_position.cast_unsigned(),
            }
        };
        let conversations = rows.into_iter().zip(last).map(conversation).collect();
        Ok(Found::at(position, Conversations { success: true, conversations, next_cursor }))
    }

    /// List the messages of a conversation
    ///
    /// The latest first; those before a place with `before`. With `after` alone, those after a place, the oldest first. A place is
    /// the `position` of a message, and stays what it is whatever comes in between.
    #[oai(path = "/:conversation_id/messages", method = "get", operation_id = "listMessages")]
    #[expect(clippy::too_many_arguments, reason = "these are the parameters of the request")]
    async fn messages(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        conversation_id: Path<String>,
        /// Only messages before this place
        before: Query<Option<String>>,
        /// Only messages after this place
        after: Query<Option<String>>,
        /// Messages on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Messages>, ApiError> {
        let not_found = || ApiError::not_found("Conversation");
        let range = Range { before: place("before", before.0.as_deref())?, after: place("after", after.0.as_deref())? };
        let limit = PageSize::LIST.limit(limit.0)?;
        let id: ConversationId = conversation_id.0.parse().map_err(|_| not_found())?;
        let (messaging, position) = api.messaging(min_position.0).await?;
        let rows = messaging.history(id, token.caller().user_id, range, limit + 1).await?.ok_or_else(not_found)?;
        let (rows, next_cursor) = page(rows, limit, |row: &MessageRow| row.position);
        let messages = Message::with_files(messaging, rows).await?;
        Ok(Found::at(position, Messages { success: true, messages, next_cursor }))
    }

    /// Read a conversation
    ///
    /// Up to a message, and all before it; as `message:read` does. Repeating it changes nothing. Those who wrote what was read get
    /// `message:read`.
    #[oai(path = "/:conversation_id/read", method = "post", operation_id = "readConversation")]
    async fn read(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        conversation_id: Path<String>,
        body: JsonBody<ReadUpTo>,
    ) -> Result<Found<ConversationRead>, ApiError> {
        let not_found = |_| ApiError::rule(&MessageError::NoSuchMessage);
        let conversation: ConversationId = conversation_id.0.parse().map_err(not_found)?;
        let up_to: MessageId = body.0.up_to.parse().map_err(not_found)?;
        let done = api.commands.read_conversation(&token.request(&api), conversation, up_to).await?;
        let read = ConversationRead {
            success: true,
            conversation_id: done.value.conversation_id.to_string(),
            message_id: done.value.message_id.to_string(),
        };
        Ok(Found::at(done.position, read))
    }
}
