//! What events mean to the tables of messages.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::Decider;
use domain::delivery::{DeliveryCursors, DeliveryEvent};
use domain::message::{Message, MessageEvent, MessageSent};
use domain::reading::{Reading, ReadingEvent};
use event_store::RecordedEvent;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::column;
use crate::projection::{Projection, Unreadable, read};

/// Projects messages.
pub struct Messaging;

/// What a batch of events comes to.
#[derive(Default)]
pub struct Changes {
    messages: Vec<(MessageSent, u64)>,
    members: HashMap<Member, Latest>,
    cursors: HashMap<Member, Cursor>,
    delivered: HashMap<Member, u64>,
}

/// Somebody in a conversation.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Member {
    conversation_id: Uuid,
    user_id: Uuid,
}

/// The last message of a conversation.
struct Latest {
    other_user_id: Uuid,
    position: u64,
}

#[derive(Clone, Copy)]
struct Cursor {
    position: u64,
    read_at: OffsetDateTime,
}

#[async_trait]
impl Projection for Messaging {
    const NAME: &'static str = "messaging";
    type Changes = Changes;

    fn collect(changes: &mut Changes, event: &RecordedEvent) -> Result<(), Unreadable> {
        match event.stream.category() {
            Message::CATEGORY => {
                if let Some(MessageEvent::Sent(message)) = read!(event, MessageEvent)? {
                    changes.sent(message, event.position);
                }
            }
            Reading::CATEGORY => {
                if let Some(ReadingEvent::Read(read)) = read!(event, ReadingEvent)? {
                    let reader = Member { conversation_id: read.conversation_id.0, user_id: read.reader_id.0 };
                    let cursor = Cursor { position: read.message_position, read_at: read.read_at.into() };
                    // The furthest counts, in whatever order they come.
                    let known = changes.cursors.entry(reader).or_insert(cursor);
                    if known.position < cursor.position {
                        *known = cursor;
                    }
                }
            }
            DeliveryCursors::CATEGORY => {
                if let Some(DeliveryEvent::Delivered(event)) = read!(event, DeliveryEvent)? {
                    for message in event.up_to {
                        let recipient =
                            Member { conversation_id: message.conversation_id.0, user_id: event.recipient_id.0 };
                        let known = changes.delivered.entry(recipient).or_default();
                        *known = message.message_position.max(*known);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn write(changes: Changes, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        changes.write_messages(connection).await?;
        changes.write_members(connection).await?;
        changes.write_cursors(connection).await?;
        changes.write_delivered(connection).await
    }
}

impl Changes {
    fn sent(&mut self, message: MessageSent, position: u64) {
        let (sender, recipient) = (message.sender_id.0, message.recipient_id.0);
        for (user_id, other_user_id) in [(sender, recipient), (recipient, sender)] {
            let member = Member { conversation_id: message.conversation_id.0, user_id };
            self.members.insert(member, Latest { other_user_id, position });
        }
        self.messages.push((message, position));
    }

    async fn write_messages(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let new = &self.messages;
        sqlx::query!(
            "INSERT INTO messages (id, conversation_id, position, business_id, sender_id, recipient_id, content, kind,
                                   attachments, sent_at)
             SELECT id, conversation_id, position, business_id, sender_id, recipient_id, content, kind,
                    -- Arrays of arrays can't be passed, so each list comes as text.
                    attachments::uuid[], sent_at
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::text[],
                         $9::text[], $10::timestamptz[])
                  AS new(id, conversation_id, position, business_id, sender_id, recipient_id, content, kind, attachments,
                         sent_at)
             ON CONFLICT (id) DO NOTHING",
            &column(new, |(message, _)| message.message_id.0),
            &column(new, |(message, _)| message.conversation_id.0),
            &column(new, |(_, position)| position.cast_signed()),
            &column(new, |(message, _)| message.business_id.0),
            &column(new, |(message, _)| message.sender_id.0),
            &column(new, |(message, _)| message.recipient_id.0),
            &column(new, |(message, _)| message.content.known().map(String::as_str)) as &[Option<&str>],
            &column(new, |(message, _)| message.kind.as_str()) as &[&str],
            &column(new, |(message, _)| array_literal(&message.attachments)),
            &column(new, |(message, _)| OffsetDateTime::from(message.sent_at))
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_members(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.members.is_empty() {
            return Ok(());
        }
        let members: Vec<_> = self.members.iter().collect();
        sqlx::query!(
            "INSERT INTO conversation_members (conversation_id, user_id, other_user_id, last_position)
             SELECT conversation_id, user_id, other_user_id, last_position
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
                  AS new(conversation_id, user_id, other_user_id, last_position)
             ON CONFLICT (conversation_id, user_id) DO UPDATE
             SET last_position = greatest(conversation_members.last_position, excluded.last_position)",
            &column(&members, |(member, _)| member.conversation_id),
            &column(&members, |(member, _)| member.user_id),
            &column(&members, |(_, latest)| latest.other_user_id),
            &column(&members, |(_, latest)| latest.position.cast_signed())
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_cursors(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.cursors.is_empty() {
            return Ok(());
        }
        let cursors: Vec<_> = self.cursors.iter().collect();
        sqlx::query!(
            "UPDATE conversation_members SET read_position = new.read_position, read_at = new.read_at
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[])
                  AS new(conversation_id, user_id, read_position, read_at)
             WHERE conversation_members.conversation_id = new.conversation_id
               AND conversation_members.user_id = new.user_id AND conversation_members.read_position < new.read_position",
            &column(&cursors, |(reader, _)| reader.conversation_id),
            &column(&cursors, |(reader, _)| reader.user_id),
            &column(&cursors, |(_, cursor)| cursor.position.cast_signed()),
            &column(&cursors, |(_, cursor)| cursor.read_at)
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_delivered(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.delivered.is_empty() {
            return Ok(());
        }
        let delivered: Vec<_> = self.delivered.iter().collect();
        sqlx::query!(
            "UPDATE conversation_members SET delivered_position = new.position
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS new(conversation_id, user_id, position)
             WHERE conversation_members.conversation_id = new.conversation_id
               AND conversation_members.user_id = new.user_id AND conversation_members.delivered_position < new.position",
            &column(&delivered, |(recipient, _)| recipient.conversation_id),
            &column(&delivered, |(recipient, _)| recipient.user_id),
            &column(&delivered, |(_, position)| position.cast_signed())
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// A list of ids as Postgres writes an array.
fn array_literal(ids: &[domain::FileId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{{{}}}", ids.join(","))
}
