//! Client events of an event of the log: their audience, and their content for each user. The same for live delivery and for
//! replays.

use domain::call::{Call, CallEvent};
use domain::delivery::{Delivered, DeliveryCursors, DeliveryEvent, MessagesDelivered};
use domain::message::{Message, MessageDeleted, MessageEdited, MessageEvent};
use domain::reading::{MessagesRead, Reading, ReadingEvent};
use domain::user::Account;
use domain::{Decider, DomainEvent, EventAudience, MessageId, UserId};
use event_store::{Position, RecordedEvent, codec};

use super::outgoing::Outgoing;
use super::payloads::{
    CallIncoming, CallProgress, MessageDeletedPayload, MessageDelivered, MessageEditedPayload, MessageNow,
    MessagePayload, MessageRead, MessageReceived,
};
use commands::{Commands, Error};

/// An event of the log that has client events.
pub(super) struct FeedEvent {
    /// Users who receive one.
    pub(super) audience: EventAudience,
    pub(super) fact: Fact,
}

/// Events that have client events.
pub(super) enum Fact {
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
            Message::CATEGORY => read(event)?.map(|event: MessageEvent| Self {
                audience: event.audience(),
                fact: match event {
                    MessageEvent::Sent(sent) => {
                        Fact::Message(Box::new(MessageNow { sent, is_edited: false, is_deleted: false }))
                    }
                    MessageEvent::Edited(edited) => Fact::Edited(Box::new(edited)),
                    MessageEvent::Deleted(deleted) => Fact::Deleted(Box::new(deleted)),
                },
            }),
            Reading::CATEGORY => read(event)?.map(|event: ReadingEvent| {
                let audience = event.audience();
                let ReadingEvent::Read(read) = event;
                Self { audience, fact: Fact::Read(read) }
            }),
            DeliveryCursors::CATEGORY => read(event)?.map(|event: DeliveryEvent| {
                let audience = event.audience();
                let DeliveryEvent::Delivered(delivered) = event;
                Self { audience, fact: Fact::Delivered(delivered) }
            }),
            Call::CATEGORY => read(event)?
                .map(|event: CallEvent| Self { audience: event.audience(), fact: Fact::Call(Box::new(event)) }),
            _ => None,
        })
    }

    /// The message that it is about, if it says what that says.
    pub(super) fn message_id(&self) -> Option<MessageId> {
        match &self.fact {
            Fact::Message(message) => Some(message.sent.message_id),
            Fact::Edited(edited) => Some(edited.message_id),
            Fact::Deleted(_) | Fact::Read(_) | Fact::Delivered(_) | Fact::Call(_) => None,
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
        Ok(match &self.fact {
            Fact::Message(message) if message.sent.recipient_id == person => {
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
            Fact::Message(message) => {
                let files = commands.uploaded(&message.sent.attachments).await?;
                let payload = MessagePayload::of(message, &files, position);
                Some(Outgoing::durable("message:sent", position, payload))
            }
            Fact::Edited(edited) => {
                Some(Outgoing::durable("message:edited", position, MessageEditedPayload::of(edited, position)))
            }
            Fact::Deleted(deleted) => {
                Some(Outgoing::durable("message:deleted", position, MessageDeletedPayload::of(deleted, position)))
            }
            Fact::Read(read) => Some(Outgoing::durable("message:read", position, MessageRead::of(read, position))),
            Fact::Delivered(event) => {
                // Two people have one conversation.
                let own = event.up_to.iter().find(|message| message.sender_id == person);
                own.map(|message| {
                    let delivered = MessageDelivered::of(event, message, position);
                    Outgoing::durable("message:delivered", position, delivered)
                })
            }
            Fact::Call(event) => match (&**event, CallProgress::of(event, position)) {
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
