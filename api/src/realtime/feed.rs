//! From the log to those who are connected: each event goes to the people it concerns.

use std::convert::Infallible;
use std::time::Duration;

use domain::business::{Business, BusinessEvent};
use domain::message::{Message, MessageEvent, MessageSent};
use domain::reading::{Reading, ReadingEvent};
use domain::session::{Session, SessionEvent};
use domain::user::{Account, User, UserEvent};
use domain::{BusinessId, Decider, DomainEvent, SessionId, UserId};
use event_store::{Delivery, Position, RecordedEvent, codec};

use super::connections::Connections;
use super::payloads::{MessagePayload, MessageRead, MessageReceived};
use crate::Api;

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Delivers what is appended after a position. Never returns.
pub(super) async fn deliver(api: &Api, connections: &Connections, after: Position) -> Infallible {
    let mut subscription = api.store.subscribe(after);
    let feed = Feed { api, connections };
    loop {
        match subscription.next().await {
            Ok(Delivery::Events(batch)) => {
                for event in batch.iter() {
                    if let Err(error) = feed.deliver(event).await {
                        tracing::error!(%error, position = event.position, "an event can't be delivered");
                    }
                }
            }
            Ok(Delivery::CaughtUp(_)) => {}
            Err(error) => {
                tracing::warn!(%error, "the feed waits for the log");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

struct Feed<'a> {
    api: &'a Api,
    connections: &'a Connections,
}

impl Feed<'_> {
    async fn deliver(&self, event: &RecordedEvent) -> Result<(), codec::DecodeError> {
        match event.stream.category() {
            Message::CATEGORY => {
                if let Some(MessageEvent::Sent(message)) = read(event)? {
                    self.message_sent(&message, event.position).await;
                }
            }
            Reading::CATEGORY => {
                if let Some(ReadingEvent::Read(read)) = read(event)? {
                    let payload = MessageRead::of(&read, event.position);
                    self.connections.emit(read.sender_id, "message:read", &payload);
                }
            }
            Session::CATEGORY => {
                if let Some(SessionEvent::Revoked(_)) = read(event)?
                    && let Ok(session) = event.stream.id().parse::<SessionId>()
                {
                    self.connections.shut_out(|connection| connection.session_id == session);
                }
            }
            User::CATEGORY => {
                if let Some(UserEvent::Suspended(_)) = read(event)?
                    && let Ok(user) = event.stream.id().parse::<UserId>()
                {
                    self.connections.shut_out(|connection| connection.person == user);
                }
            }
            Business::CATEGORY => {
                if let Some(BusinessEvent::Suspended(_)) = read(event)?
                    && let Ok(business) = event.stream.id().parse::<BusinessId>()
                {
                    self.connections.shut_out(|connection| connection.business_id == business);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn message_sent(&self, message: &MessageSent, position: Position) {
        if self.connections.is_connected(message.recipient_id) {
            // As it is now, not as it was: names change.
            let sender = self.account(message.sender_id).await;
            let sender_name = sender.as_ref().and_then(|sender| sender.name.known());
            let sender_avatar =
                sender.as_ref().and_then(|sender| sender.avatar.as_ref()).and_then(|avatar| avatar.known());
            let received = MessageReceived {
                sender_name: sender_name.map_or("", String::as_str),
                sender_avatar: sender_avatar.map(String::as_str),
                message: MessagePayload::of(message, position),
            };
            self.connections.emit(message.recipient_id, "message:received", &received);
        }
        if self.connections.is_connected(message.sender_id) {
            self.connections.emit(message.sender_id, "message:sent", &MessagePayload::of(message, position));
        }
    }

    /// What is known of a person now. Waits while the log can't be read: an event without a name would be a wrong one.
    async fn account(&self, id: UserId) -> Option<Account> {
        loop {
            match self.api.commands.account(id).await {
                Ok(account) => return account,
                Err(error) => {
                    tracing::warn!(%error, "the feed waits for the log");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

fn read<E: DomainEvent>(event: &RecordedEvent) -> Result<Option<E>, codec::DecodeError> {
    codec::decode(event, |event_type, json| E::deserialize(event_type, json))
}
