//! Reading a message, and all before it in its conversation.

use domain::message::{Message, MessageError};
use domain::reading::{ReadMessage, Reading, ReadingCommand};
use domain::{ConversationId, MessageId};

use crate::{Commands, Done, Error, Request};

/// Result of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRead {
    /// The message.
    pub message_id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
}

impl Commands {
    /// Moves the caller's cursor to a message that they got. Repeating it, and reading something older, changes nothing; nor
    /// does reading one's own message.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such message, or none that the caller may see.
    pub async fn read_message(&self, request: &Request, id: MessageId) -> Result<Done<MessageRead>, Error> {
        self.read_up_to(request, id, None).await
    }

    /// Reads a conversation up to a message of it; as [`Self::read_message`].
    ///
    /// # Errors
    /// [`Error::NotFound`] when the caller isn't in such a conversation, or there is no such message in it.
    pub async fn read_conversation(
        &self,
        request: &Request,
        conversation: ConversationId,
        up_to: MessageId,
    ) -> Result<Done<MessageRead>, Error> {
        self.read_up_to(request, up_to, Some(conversation)).await
    }

    async fn read_up_to(
        &self,
        request: &Request,
        id: MessageId,
        conversation: Option<ConversationId>,
    ) -> Result<Done<MessageRead>, Error> {
        let not_found = Error::rule(&MessageError::NoSuchMessage);
        let loaded = self.repository.replay::<Message>(&id.to_string()).await?;
        let reader_id = request.caller.user_id;
        let message = loaded.state.sent().filter(|message| message.is_visible_to(reader_id)).ok_or(not_found)?;
        if conversation.is_some_and(|conversation| conversation != message.conversation_id) {
            return Err(Error::rule(&MessageError::NoSuchMessage));
        }
        let read = MessageRead { message_id: id, conversation_id: message.conversation_id };
        if message.sender_id == reader_id {
            return Ok(self.done(read, loaded.position));
        }
        let command = ReadingCommand::Read(ReadMessage {
            conversation_id: message.conversation_id,
            business_id: message.business_id,
            reader_id,
            sender_id: message.sender_id,
            message_id: id,
            message_position: loaded.first_position,
            at: self.clock.now(),
        });
        let stream = Reading::stream_id(message.conversation_id, reader_id);
        let metadata = request.metadata(message.business_id);
        let cursor = self.repository.execute::<Reading>(&stream, command, &metadata).await?;
        Ok(self.done(read, cursor.position))
    }
}
