//! Client events of an event of the log: their audience, and their content for each user. The same for live delivery and for
//! replays.

use domain::call::{Call, CallEvent, CallParties};
use domain::delivery::{Delivered, DeliveryCursors, DeliveryEvent, MessagesDelivered};
use domain::message::{Message, MessageDeleted, MessageEdited, MessageEvent};
use domain::reading::{MessagesRead, Reading, ReadingEvent};
use domain::user::Account;
use domain::{Decider, DomainEvent, MessageId, UserId};
use event_store::{Position, RecordedEvent, codec};

use super::outgoing::Outgoing;
use super::payloads::{
    CallIncoming, CallProgress, MessageDeletedPayload, MessageDelivered, MessageEditedPayload, MessageNow,
    MessagePayload, MessageRead, MessageReceived,
};
use commands::{Commands, Error};

/// A fact that people are told of. Which people, the projection `feed` has to know too.
pub(super) enum FeedEvent {
    Message(Box<MessageNow>),
    Edited(Box<MessageEdited>),
    Deleted(Box<MessageDeleted>),
    Read(MessagesRead),
    Delivered(MessagesDelivered),
    Call(Box<CallEvent>),
}

/// Live delivery, or replay after a reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Live,
    Later,
}

impl FeedEvent {
    /// Returns the client event of an event of the log; none if there is none.
    pub(super) fn of(event: &RecordedEvent) -> Result<Option<Self>, codec::DecodeError> {
        Ok(match event.stream.category() {
            Message::CATEGORY => read(event)?.map(|event: MessageEvent| match event {
                MessageEvent::Sent(sent) => {
                    Self::Message(Box::new(MessageNow { sent, is_edited: false, is_deleted: false }))
                }
                MessageEvent::Edited(edited) => Self::Edited(Box::new(edited)),
                MessageEvent::Deleted(deleted) => Self::Deleted(Box::new(deleted)),
            }),
            Reading::CATEGORY => read(event)?.map(|ReadingEvent::Read(read)| Self::Read(read)),
            DeliveryCursors::CATEGORY => read(event)?.map(|DeliveryEvent::Delivered(event)| Self::Delivered(event)),
            Call::CATEGORY => read(event)?.map(|event: CallEvent| Self::Call(Box::new(event))),
            _ => None,
        })
    }

    /// The message that it is about, if it says what that says.
    pub(super) fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Message(message) => Some(message.sent.message_id),
            Self::Edited(edited) => Some(edited.message_id),
            Self::Deleted(_) | Self::Read(_) | Self::Delivered(_) | Self::Call(_) => None,
        }
    }

    /// Returns the users who receive it.
    pub(super) fn people(&self) -> Vec<UserId> {
        match self {
            // The recipient first: they have been waiting.
            Self::Message(message) => vec![message.sent.recipient_id, message.sent.sender_id],
            Self::Edited(edited) => vec![edited.recipient_id, edited.sender_id],
            Self::Deleted(deleted) => vec![deleted.recipient_id, deleted.sender_id],
            Self::Read(read) => vec![read.sender_id],
            Self::Delivered(delivered) => {
                let mut senders: Vec<UserId> = delivered.up_to.iter().map(|message| message.sender_id).collect();
                senders.sort_unstable();
                senders.dedup();
                senders
            }
            Self::Call(event) => {
                let CallParties { caller_id, receiver_id, .. } = *event.parties();
                vec![receiver_id, caller_id]
            }
        }
    }

    /// Returns a user's event: at most one for a position, or a connection that breaks between two would lose one.
    pub(super) async fn for_person(
        &self,
        person: UserId,
        position: Position,
        told: Told,
        commands: &Commands,
    ) -> Result<Option<Outgoing>, Error> {
        Ok(match self {
            Self::Message(message) if message.sent.recipient_id == person => {
                let sent = &message.sent;
                // As it is now, not as it was: names change.
                let sender = account(commands, sent.sender_id).await?;
                let delivered = Delivered {
                    conversation_id: sent.conversation_id,
                    sender_id: sent.sender_id,
                    message_id: sent.message_id,
                    message_position: position,
                };
                let files = commands.uploaded(&sent.attachments).await?;
                let received = MessageReceived::of(message, &files, sender.as_ref(), position);
                Some(Outgoing::message("message:received", delivered, received))
            }
            Self::Message(message) => {
                let files = commands.uploaded(&message.sent.attachments).await?;
                let payload = MessagePayload::of(message, &files, position);
                Some(Outgoing::durable("message:sent", position, payload))
            }
            Self::Edited(edited) => {
                Some(Outgoing::durable("message:edited", position, MessageEditedPayload::of(edited, position)))
            }
            Self::Deleted(deleted) => {
                Some(Outgoing::durable("message:deleted", position, MessageDeletedPayload::of(deleted, position)))
            }
            Self::Read(read) => Some(Outgoing::durable("message:read", position, MessageRead::of(read, position))),
            Self::Delivered(event) => {
                // Two people have one conversation.
                let own = event.up_to.iter().find(|message| message.sender_id == person);
                own.map(|message| {
                    let delivered = MessageDelivered::of(event, message, position);
                    Outgoing::durable("message:delivered", position, delivered)
                })
            }
            Self::Call(event) => match (&**event, CallProgress::of(event, position)) {
                (_, Some((name, progress))) => Some(Outgoing::durable(name, position, progress)),
                // Somebody who comes back later is called only if it still rings.
                (CallEvent::Started(call), None)
                    if call.parties.receiver_id == person
                        && (told == Told::Live || commands.is_ringing(call).await?) =>
                {
                    let caller = account(commands, call.parties.caller_id).await?;
                    let incoming = CallIncoming::of(call, caller.as_ref(), position);
                    Some(Outgoing::durable("call:incoming", position, incoming))
                }
                (_, None) => None,
            },
        })
    }
}

/// Returns the user's current profile; none if their stream cannot be read, so that delivery goes on.
async fn account(commands: &Commands, id: UserId) -> Result<Option<Account>, Error> {
    match commands.account(id).await {
        Err(Error::Internal(error)) => {
            tracing::error!(%error, "reading a user's profile failed; the event goes out without a name");
            Ok(None)
        }
        known => known,
    }
}

pub(super) fn read<E: DomainEvent>(event: &RecordedEvent) -> Result<Option<E>, codec::DecodeError> {
    codec::decode(event, |event_type, json| E::deserialize(event_type, json))
}
