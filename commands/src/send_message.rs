//! Sending a message: the path that everything else makes way for. It appends one event and reads nothing that is remembered.

use domain::message::{Message, MessageCommand, MessageError, MessageKind, MessageSent, SendMessage};
use domain::{FileId, Invalid, MessageId, MessageText, RetryKey, UserId};

use crate::aggregates::{Created, Refusal};
use crate::state_cache::Loaded;
use crate::{Commands, Done, Error, Request};

/// What somebody wants to send.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// To whom.
    pub recipient_id: UserId,
    /// What it says.
    pub content: MessageText,
    /// What it is.
    pub kind: MessageKind,
    /// Files that go with it.
    pub attachments: Vec<FileId>,
    /// What the client names it by, to be able to send it again safely.
    pub retry_key: Option<RetryKey>,
}

/// A message that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct SentMessage {
    /// The message.
    pub message: MessageSent,
    /// Its place in the log, by which the messages of a conversation are ordered.
    pub position: event_store::Position,
}

impl Commands {
    /// Sends a message. An exact retry under the same key returns the message that was sent first.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such recipient in the sender's business; [`Error::Invalid`] when the recipient is
    /// suspended or the sender, or when there is nothing in the message; [`Error::Conflict`] when the retry key has been used for
    /// another message.
    pub async fn send_message(&self, request: &Request, new: NewMessage) -> Result<Done<SentMessage>, Error> {
        let sender_id = request.caller.user_id;
        let retry = new.retry_key.as_ref().map(|key| Retry {
            id: MessageId::from_retry_key(sender_id, key.as_str()),
            fingerprint: self.fingerprint(&new),
        });
        if let Err(refused) = self.may_be_sent(request, &new).await {
            // A retry gets what the first try got, whatever has happened to the recipient meanwhile.
            let Some(retry) = retry else { return Err(refused) };
            let earlier = self.aggregates.replay::<Message>(&retry.id.to_string()).await?;
            return if earlier.version == 0 { Err(refused) } else { self.repeat(earlier, &retry) };
        }
        let id = retry.as_ref().map_or_else(|| MessageId(self.ids.next()), |retry| retry.id);
        let send = MessageCommand::Send(SendMessage {
            id,
            business_id: request.caller.business_id,
            sender_id,
            recipient_id: new.recipient_id,
            content: new.content,
            kind: new.kind,
            attachments: new.attachments,
            fingerprint: retry.as_ref().map(|retry| retry.fingerprint.clone()),
            at: self.clock.now(),
        });
        let metadata = request.metadata(request.caller.business_id);
        match self.aggregates.create::<Message>(&id.to_string(), send, &metadata).await.map_err(explain_message)? {
            Created::New(loaded) => self.sent(loaded),
            Created::Existing(loaded) => match retry {
                Some(retry) => self.repeat(loaded, &retry),
                None => Err(Error::Conflict("this message has been sent already")),
            },
        }
    }

    async fn may_be_sent(&self, request: &Request, new: &NewMessage) -> Result<(), Error> {
        // The domain says so too; asked here, one's own id is never answered like a stranger's.
        if new.recipient_id == request.caller.user_id {
            return Err(Invalid::new("recipientId", "must be somebody else").into());
        }
        if !new.attachments.is_empty() {
            return Err(Invalid::new("attachments", "there is no such file").into());
        }
        self.reachable(request, new.recipient_id).await
    }

    /// Answers a retry as the first try was answered.
    fn repeat(&self, earlier: Loaded<Message>, retry: &Retry) -> Result<Done<SentMessage>, Error> {
        let fingerprint = earlier.state.sent().and_then(|message| message.fingerprint.as_ref());
        if fingerprint != Some(&retry.fingerprint) {
            return Err(Error::Conflict("this key has been used for another message"));
        }
        self.sent(earlier)
    }

    fn sent(&self, loaded: Loaded<Message>) -> Result<Done<SentMessage>, Error> {
        match loaded.state {
            Message::Sent(message) => {
                Ok(self.done(SentMessage { message, position: loaded.first_position }, loaded.position))
            }
            Message::Unsent => Err(Error::NotFound("message")),
        }
    }

    fn fingerprint(&self, new: &NewMessage) -> String {
        let recipient = new.recipient_id.0;
        let mut parts =
            vec![recipient.as_bytes().as_slice(), new.content.as_str().as_bytes(), new.kind.as_str().as_bytes()];
        parts.extend(new.attachments.iter().map(|file| file.0.as_bytes().as_slice()));
        self.keyed_hash.fingerprint(&parts)
    }
}

/// A message that its sender has named.
struct Retry {
    id: MessageId,
    fingerprint: String,
}

fn explain_message(refusal: Refusal<MessageError>) -> Error {
    refusal.explain(|rule| match rule {
        MessageError::ToOneself(invalid) | MessageError::Empty(invalid) => invalid.into(),
        MessageError::AlreadySent => Error::Conflict("this message has been sent already"),
    })
}
