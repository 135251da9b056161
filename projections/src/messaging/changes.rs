//! Effects of events on the tables of messages.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::Decider;
use domain::delivery::{DeliveryCursors, DeliveryEvent};
use domain::file::{File, FileEvent};
use domain::message::{Message, MessageDeleted, MessageEdited, MessageEvent, MessageSent};
use domain::reading::{Reading, ReadingEvent};
use event_store::RecordedEvent;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::files::FileChanges;
use crate::column;
use crate::projection::{Projection, Unreadable, read};

/// Projects messages.
pub struct Messaging;

/// Changes of a batch of events.
#[derive(Default)]
pub struct Changes {
    sent: Vec<(MessageSent, u64)>,
    edited: HashMap<Uuid, MessageEdited>,
    deleted: Vec<MessageDeleted>,
    cursors: HashMap<Member, Cursor>,
    delivered: HashMap<Member, u64>,
    files: FileChanges,
}

/// Member of a conversation.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Member {
    conversation_id: Uuid,
    user_id: Uuid,
}

#[derive(Clone, Copy)]
struct Cursor {
    position: u64,
    read_at: OffsetDateTime,
}

#[async_trait]
impl Projection for Messaging {
    const NAME: &'static str = "messaging";
    /// Version 1 could forget of a file whether the message that carries it had been sent; version 2 didn't know how much is kept.
    const VERSION: i32 = 3;
    const TABLES: &'static [&'static str] =
        &["messages", "conversation_members", "files", "file_carriers", "kept_bytes"];
    type Changes = Changes;

    fn collect(changes: &mut Changes, event: &RecordedEvent) -> Result<(), Unreadable> {
        match event.stream.category() {
            Message::CATEGORY => {
                if let Some(fact) = read!(event, MessageEvent)? {
                    changes.files.message(&fact);
                    changes.message(fact, event.position);
                }
            }
            File::CATEGORY => {
                if let Some(fact) = read!(event, FileEvent)? {
                    changes.files.file(fact);
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

    async fn write(mut changes: Changes, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        // By conversation, as they are read: neighbours go to the same page of the table and of its index.
        changes.sent.sort_unstable_by_key(|(message, position)| (message.conversation_id, *position));
        // In this order, whatever the order of the events was: what is deleted counts as unread only after what was read.
        changes.write_sent(connection).await?;
        changes.write_cursors(connection).await?;
        changes.write_edited(connection).await?;
        changes.write_deleted(connection).await?;
        changes.write_delivered(connection).await?;
        changes.files.write(connection).await
    }
}

impl Changes {
    fn message(&mut self, fact: MessageEvent, position: u64) {
        match fact {
            MessageEvent::Sent(message) => {
                self.sent.push((message, position));
            }
            MessageEvent::Edited(edited) => {
                self.edited.insert(edited.message_id.0, edited);
            }
            MessageEvent::Deleted(deleted) => self.deleted.push(deleted),
        }
    }

    /// Writes messages, and in the same go what they mean to the two who are in their conversation.
    async fn write_sent(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let new = &self.sent;
        sqlx::query!(
            "WITH new AS (
                 INSERT INTO messages (id, conversation_id, position, business_id, sender_id, recipient_id, content, kind,
                                       attachments, reply_to, sent_at)
                 SELECT id, conversation_id, position, business_id, sender_id, recipient_id, content, kind,
                        -- Arrays of arrays can't be passed, so each list comes as text.
                        attachments::uuid[], reply_to, sent_at
                 FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
                             $8::text[], $9::text[], $10::uuid[], $11::timestamptz[])
                      AS new(id, conversation_id, position, business_id, sender_id, recipient_id, content, kind,
                             attachments, reply_to, sent_at)
                 RETURNING conversation_id, sender_id, recipient_id, position
             )
             INSERT INTO conversation_members (conversation_id, user_id, other_user_id, last_position, unread)
             SELECT conversation_id, user_id, other_user_id, max(position), sum(got)
             FROM (
                 SELECT conversation_id, recipient_id AS user_id, sender_id AS other_user_id, position, 1 AS got FROM new
                 UNION ALL
                 SELECT conversation_id, sender_id, recipient_id, position, 0 FROM new
             ) member
             GROUP BY conversation_id, user_id, other_user_id
             ON CONFLICT (conversation_id, user_id) DO UPDATE
             SET last_position = greatest(conversation_members.last_position, excluded.last_position),
                 unread = conversation_members.unread + excluded.unread",
            &column(new, |(message, _)| message.message_id.0),
            &column(new, |(message, _)| message.conversation_id.0),
            &column(new, |(_, position)| position.cast_signed()),
            &column(new, |(message, _)| message.business_id.0),
            &column(new, |(message, _)| message.sender_id.0),
            &column(new, |(message, _)| message.recipient_id.0),
            &column(new, |(message, _)| message.content.known().map(String::as_str)) as &[Option<&str>],
            &column(new, |(message, _)| message.kind.as_str()) as &[&str],
            &column(new, |(message, _)| array_literal(&message.attachments)),
            &column(new, |(message, _)| message.reply_to.map(|id| id.0)) as &[Option<Uuid>],
            &column(new, |(message, _)| OffsetDateTime::from(message.sent_at))
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_edited(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.edited.is_empty() {
            return Ok(());
        }
        let edited: Vec<_> = self.edited.iter().collect();
        sqlx::query!(
            "UPDATE messages SET content = new.content, edited_at = new.edited_at
             FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS new(id, content, edited_at)
             WHERE messages.id = new.id AND messages.deleted_at IS NULL",
            &column(&edited, |(id, _)| **id),
            &column(&edited, |(_, edited)| edited.content.known().map(String::as_str)) as &[Option<&str>],
            &column(&edited, |(_, edited)| OffsetDateTime::from(edited.edited_at))
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Leaves a tombstone of each. Those that had not been read don't count any more.
    async fn write_deleted(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        let deleted = &self.deleted;
        sqlx::query!(
            "WITH gone AS (
                 UPDATE messages
                 SET content = NULL, attachments = '{}', deleted_at = new.deleted_at, deleted_by = new.deleted_by
                 FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS new(id, deleted_by, deleted_at)
                 WHERE messages.id = new.id AND messages.deleted_at IS NULL
                 RETURNING messages.conversation_id, messages.recipient_id, messages.position
             ), unread AS (
                 SELECT gone.conversation_id, gone.recipient_id, count(*) AS count
                 FROM gone JOIN conversation_members m
                   ON m.conversation_id = gone.conversation_id AND m.user_id = gone.recipient_id
                 WHERE gone.position > m.read_position
                 GROUP BY gone.conversation_id, gone.recipient_id
             )
             UPDATE conversation_members m SET unread = m.unread - unread.count
             FROM unread WHERE m.conversation_id = unread.conversation_id AND m.user_id = unread.recipient_id",
            &column(deleted, |deleted| deleted.message_id.0),
            &column(deleted, |deleted| deleted.deleted_by.0),
            &column(deleted, |deleted| OffsetDateTime::from(deleted.deleted_at))
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
            "UPDATE conversation_members
             SET read_position = new.read_position, read_at = new.read_at, unread = unread - (
                 SELECT count(*) FROM messages
                 WHERE messages.conversation_id = new.conversation_id
                   AND messages.position > conversation_members.read_position AND messages.position <= new.read_position
                   AND messages.recipient_id = new.user_id AND messages.deleted_at IS NULL
             )
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
