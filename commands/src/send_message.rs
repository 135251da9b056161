//! Sending a message: the path that everything else makes way for. It appends one event and reads nothing that is remembered.

use domain::file::{Carrier, FileError, FileUploaded, Kept};
use domain::message::{Message, MessageCommand, MessageError, MessageKind, MessageSent, SendMessage};
use domain::{ConversationId, FileId, Invalid, MessageId, MessageText, RetryKey, UserId};

use crate::repository::Created;
use crate::state_cache::Loaded;
use crate::{Commands, Done, Error, Request};

/// Files that go with one message at most.
const MAX_ATTACHMENTS: usize = 10;

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// To whom.
    pub recipient_id: UserId,
    /// Text.
    pub content: MessageText,
    /// Type.
    pub kind: MessageKind,
    /// Files that go with it.
    pub attachments: Vec<FileId>,
    /// The message of the same conversation that it replies to.
    pub reply_to: Option<MessageId>,
    /// Retry key of the client.
    pub retry_key: Option<RetryKey>,
}

/// A message that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct SentMessage {
    /// The message.
    pub message: MessageSent,
    /// The files that go with it.
    pub files: Vec<FileUploaded>,
    /// Its place in the log, by which the messages of a conversation are ordered.
    pub position: event_store::Position,
}

impl Commands {
    /// Sends a message. An exact retry under the same key returns the message that was sent first.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such recipient in the sender's business, no such message in their conversation to
    /// reply to, or no such file of the sender's; [`Error::Invalid`] when the recipient is suspended or the sender, or when there
    /// is nothing in the message; [`Error::Conflict`] when the retry key has been used for another message.
    pub async fn send_message(&self, request: &Request, new: NewMessage) -> Result<Done<SentMessage>, Error> {
        let sender_id = request.caller.user_id;
        let retry = new.retry_key.as_ref().map(|key| Retry {
            id: MessageId::from_retry_key(sender_id, key.as_str()),
            fingerprint: self.fingerprint(&new),
        });
        if let Err(refused) = self.may_be_sent(request, &new).await {
            // A retry gets what the first try got, whatever has happened to the recipient meanwhile.
            let Some(retry) = retry else { return Err(refused) };
            let earlier = self.repository.replay::<Message>(&retry.id.to_string()).await?;
            return if earlier.version == 0 { Err(refused) } else { self.repeat(earlier, &retry).await };
        }
        // A retry gives its files to nobody again.
        if let Some(retry) = retry.as_ref().filter(|_| !new.attachments.is_empty()) {
            let earlier = self.repository.replay::<Message>(&retry.id.to_string()).await?;
            if earlier.version > 0 {
                return self.repeat(earlier, retry).await;
            }
        }
        let id = retry.as_ref().map_or_else(|| MessageId(self.ids.next()), |retry| retry.id);
        // Before the message, or its files might be gone when it comes.
        let carrier = Carrier { message_id: id, sender_id, recipient_id: new.recipient_id };
        self.attach(request, carrier, &new.attachments).await?;
        let send = MessageCommand::Send(SendMessage {
            id,
            business_id: request.caller.business_id,
            sender_id,
            recipient_id: new.recipient_id,
            content: new.content,
            kind: new.kind,
            attachments: new.attachments,
            reply_to: new.reply_to,
            fingerprint: retry.as_ref().map(|retry| retry.fingerprint.clone()),
            at: self.clock.now(),
        });
        let metadata = request.metadata(request.caller.business_id);
        match self.repository.create::<Message>(&id.to_string(), send, &metadata).await? {
            Created::New(loaded) => self.sent(loaded).await,
            Created::Existing(loaded) => match retry {
                Some(retry) => self.repeat(loaded, &retry).await,
                None => Err(Error::rule(&MessageError::AlreadySent)),
            },
        }
    }

    async fn may_be_sent(&self, request: &Request, new: &NewMessage) -> Result<(), Error> {
        // The domain says so too; asked here, one's own id is never answered like a stranger's.
        if new.recipient_id == request.caller.user_id {
            return Err(Invalid::new("recipientId", "must be somebody else").into());
        }
        if new.attachments.len() > MAX_ATTACHMENTS {
            return Err(Invalid::new("attachments", format!("must be at most {MAX_ATTACHMENTS}")).into());
        }
        self.reachable(request, new.recipient_id).await?;
        for file in &new.attachments {
            let file = self.file(*file).await?;
            let is_own = |file: &Kept| file.uploaded.uploader_id == request.caller.user_id;
            file.state.kept().filter(|file| is_own(file)).ok_or_else(|| Error::rule(&FileError::NoSuchFile))?;
        }
        match new.reply_to {
            Some(earlier) => {
                self.must_be_in(earlier, ConversationId::between(request.caller.user_id, new.recipient_id)).await
            }
            None => Ok(()),
        }
    }

    async fn must_be_in(&self, message: MessageId, conversation: ConversationId) -> Result<(), Error> {
        let message = self.repository.replay::<Message>(&message.to_string()).await?;
        let is_in_it = message.state.sent().is_some_and(|sent| sent.conversation_id == conversation);
        if is_in_it { Ok(()) } else { Err(Error::rule(&MessageError::NoSuchMessage)) }
    }

    /// Answers a retry as the first try was answered.
    async fn repeat(&self, earlier: Loaded<Message>, retry: &Retry) -> Result<Done<SentMessage>, Error> {
        let fingerprint = earlier.state.sent().and_then(|message| message.fingerprint.as_ref());
        if fingerprint != Some(&retry.fingerprint) {
            return Err(Error::rule(&MessageError::KeyUsed));
        }
        self.sent(earlier).await
    }

    async fn sent(&self, loaded: Loaded<Message>) -> Result<Done<SentMessage>, Error> {
        let message = loaded.state.sent().cloned().ok_or_else(|| Error::rule(&MessageError::NoSuchMessage))?;
        let files = self.uploaded(&message.attachments).await?;
        Ok(self.done(SentMessage { message, files, position: loaded.first_position }, loaded.position))
    }

    fn fingerprint(&self, new: &NewMessage) -> String {
        let recipient = new.recipient_id.0;
        let mut parts =
            vec![recipient.as_bytes().as_slice(), new.content.as_str().as_bytes(), new.kind.as_str().as_bytes()];
        parts.extend(new.attachments.iter().map(|file| file.0.as_bytes().as_slice()));
        // Told apart from a last attachment by its name; what was sent without one has the hash that it always had.
        if let Some(reply_to) = &new.reply_to {
            parts.extend([b"replyTo".as_slice(), reply_to.0.as_bytes()]);
        }
        self.keyed_hash.fingerprint(&parts)
    }
}

/// A message that its sender has named.
struct Retry {
    id: MessageId,
    fingerprint: String,
}
