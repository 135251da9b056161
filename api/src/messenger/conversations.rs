//! Conversations.

use std::sync::Arc;

use domain::{ConversationId, MessageId};
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct ConversationsApi;

/// How far a conversation has been read
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

/// How far a conversation has been read now
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
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

#[OpenApi(prefix_path = "/api/messenger/conversations", tag = "Tag::Messages")]
impl ConversationsApi {
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
        let not_found = |_| ApiError::not_found("Message");
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
