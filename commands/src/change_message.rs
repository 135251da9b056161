//! Editing and deleting what was sent.

use domain::message::{Edited, Message, MessageCommand, MessageError, MessageSent};
use domain::session::Audience;
use domain::{Invalid, MessageId, MessageText, PermissionError, Reason, Role};

use crate::state_cache::Loaded;
use crate::{Commands, Done, Error, Request, SentMessage};

/// A message as it is after an edit.
#[derive(Clone, Debug, PartialEq)]
pub struct EditedMessage {
    /// As it was sent.
    pub sent: SentMessage,
    /// Text since the last edit; none if there was no edit.
    pub edited: Option<Edited>,
}

impl Commands {
    /// Gives a message of the caller's another text. The same text again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such message, or none that the caller may see; [`Error::Forbidden`] when somebody else
    /// wrote it; [`Error::Conflict`] when it is deleted, or too old; [`Error::Invalid`] when nothing would be in it.
    pub async fn edit_message(
        &self,
        request: &Request,
        id: MessageId,
        content: MessageText,
    ) -> Result<Done<EditedMessage>, Error> {
        let by = request.caller.user_id;
        let message = self.repository.replay::<Message>(&id.to_string()).await?;
        let sent = message
            .state
            .sent()
            .filter(|sent| sent.is_visible_to(by))
            .ok_or_else(|| Error::rule(&MessageError::NoSuchMessage))?;
        let edit = MessageCommand::Edit { by, content, window_ms: self.edit_window_ms, at: self.clock.now() };
        let edited = self.change_message(request, sent, edit).await?;
        let standing = edited.state.visible().cloned().ok_or_else(|| Error::rule(&MessageError::NoSuchMessage))?;
        let sent = SentMessage {
            files: self.uploaded(&standing.sent.attachments).await?,
            message: standing.sent,
            position: edited.first_position,
        };
        Ok(self.done(EditedMessage { sent, edited: standing.edited }, edited.position))
    }

    /// Takes a message back: one's own, or as an administrator of its business, who gives a reason. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such message, or none that the caller may see; [`Error::Forbidden`] when somebody else
    /// wrote it and the caller is no administrator; [`Error::Invalid`] when an administrator gives no reason.
    pub async fn delete_message(
        &self,
        request: &Request,
        id: MessageId,
        reason: Option<Reason>,
    ) -> Result<Done<()>, Error> {
        let caller = &request.caller;
        let message = self.repository.replay::<Message>(&id.to_string()).await?;
        let sent = message.state.sent().ok_or_else(|| Error::rule(&MessageError::NoSuchMessage))?;
        if sent.sender_id != caller.user_id {
            // At the messenger of a business there is nothing of another one, whoever it is.
            let is_elsewhere = caller.audience == Audience::Messenger && caller.business_id != sent.business_id;
            let may_see = !is_elsewhere && caller.role.may_see(caller.business_id, sent.business_id);
            if !may_see && !sent.is_visible_to(caller.user_id) {
                return Err(Error::rule(&MessageError::NoSuchMessage));
            }
            if !caller.role.may_manage(caller.business_id, Role::BusinessUser, sent.business_id) {
                return Err(Error::rule(&PermissionError::DeleteMessage));
            }
            if reason.is_none() {
                return Err(Invalid::new("reason", "administrators say why they delete a message").into());
            }
        }
        let delete = MessageCommand::Delete { by: caller.user_id, reason, at: self.clock.now() };
        let deleted = self.change_message(request, sent, delete).await?;
        // Whatever is left by a node that dies here is found by the sweep of files.
        self.detach(&request.metadata(sent.business_id), sent.message_id, &sent.attachments).await?;
        Ok(self.done((), deleted.position))
    }

    async fn change_message(
        &self,
        request: &Request,
        sent: &MessageSent,
        command: MessageCommand,
    ) -> Result<Loaded<Message>, Error> {
        let (id, metadata) = (sent.message_id.to_string(), request.metadata(sent.business_id));
        Ok(self.repository.execute_on_log::<Message>(&id, command, &metadata).await?)
    }
}
