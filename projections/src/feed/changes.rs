//! Effects of events on the feed: their audiences.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use domain::call::{Call, CallEvent};
use domain::delivery::{DeliveryCursors, DeliveryEvent};
use domain::message::{Message, MessageEvent};
use domain::reading::{Reading, ReadingEvent};
use domain::{ConversationId, Decider, EventAudience, UserId};
use event_store::{Position, RecordedEvent};
use sqlx::{AssertSqlSafe, PgConnection};
use time::Date;
use uuid::Uuid;

use crate::column;
use crate::projection::{Projection, Unreadable, read};

/// Projects the feed.
pub struct Feed;

/// Changes of a batch of events.
#[derive(Default)]
pub struct Changes {
    entries: Vec<(Uuid, Position)>,
    conversations: HashMap<Uuid, Conversation>,
    days: BTreeMap<Date, Position>,
}

struct Conversation {
    members: [UserId; 2],
    last_position: Position,
}

#[async_trait]
impl Projection for Feed {
    const NAME: &'static str = "feed";
    const VERSION: i32 = 1;
    const TABLES: &'static [&'static str] =
        &["feed_entries", "feed_conversations", "feed_members", "feed_days", "feed_horizon"];
    const INDEXED_LAST: &'static [&'static str] = &["feed_entries"];
    type Changes = Changes;

    fn collect(changes: &mut Changes, event: &RecordedEvent) -> Result<(), Unreadable> {
        let position = event.position;
        changes.days.entry(event.recorded_at.date()).or_insert(position);
        let audience = match event.stream.category() {
            Message::CATEGORY => read!(event, MessageEvent)?.map(|event| event.audience()),
            Call::CATEGORY => read!(event, CallEvent)?.map(|event| event.audience()),
            Reading::CATEGORY => read!(event, ReadingEvent)?.map(|event| event.audience()),
            DeliveryCursors::CATEGORY => read!(event, DeliveryEvent)?.map(|event| event.audience()),
            _ => None,
        };
        match audience {
            Some(EventAudience::Conversation { id, members }) => changes.in_conversation(id, members, position),
            Some(EventAudience::Users(users)) => users.into_iter().for_each(|user| changes.for_person(user, position)),
            None => {}
        }
        Ok(())
    }

    async fn write(mut changes: Changes, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        // As the index has them: neighbours go to the same page of it.
        changes.entries.sort_unstable();
        changes.write_entries(connection).await?;
        changes.write_conversations(connection).await?;
        changes.write_days(connection).await
    }

    /// Carries the horizon over, so that forgotten events are not added again.
    async fn carry_over(live: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let horizon = format!(
            "INSERT INTO feed_horizon (position) SELECT position FROM {live}.feed_horizon
             ON CONFLICT (only_row) DO UPDATE SET position = excluded.position"
        );
        sqlx::query(AssertSqlSafe(horizon)).execute(&mut *connection).await?;
        sqlx::query!("DELETE FROM feed_entries WHERE position <= (SELECT position FROM feed_horizon)")
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl Changes {
    fn in_conversation(&mut self, id: ConversationId, members: [UserId; 2], position: Position) {
        self.entries.push((id.0, position));
        let conversation = self.conversations.entry(id.0).or_insert(Conversation { members, last_position: position });
        conversation.last_position = position;
    }

    fn for_person(&mut self, user: UserId, position: Position) {
        self.entries.push((user.0, position));
    }

    async fn write_entries(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO feed_entries (audience, position)
             SELECT audience, position FROM unnest($1::uuid[], $2::bigint[]) AS new(audience, position)",
            &column(&self.entries, |(audience, _)| *audience),
            &column(&self.entries, |(_, position)| position.cast_signed())
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_conversations(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.conversations.is_empty() {
            return Ok(());
        }
        let conversations: Vec<_> = self.conversations.iter().collect();
        sqlx::query!(
            // The two of a conversation are in it from its first event on, so only a new one is given its members.
            "WITH touched AS (
                 INSERT INTO feed_conversations (conversation_id, last_position)
                 SELECT id, last_position FROM unnest($1::uuid[], $4::bigint[]) AS new(id, last_position)
                 ON CONFLICT (conversation_id) DO UPDATE
                 SET last_position = greatest(feed_conversations.last_position, excluded.last_position)
                 RETURNING conversation_id, xmax = 0 AS is_new
             )
             INSERT INTO feed_members (user_id, conversation_id, from_position)
             SELECT member.user_id, touched.conversation_id, 0
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS new(id, one, other)
             JOIN touched ON touched.conversation_id = new.id AND touched.is_new
             CROSS JOIN LATERAL (VALUES (new.one), (new.other)) AS member(user_id)
             ON CONFLICT DO NOTHING",
            &column(&conversations, |(id, _)| **id),
            &column(&conversations, |(_, conversation)| conversation.members[0].0),
            &column(&conversations, |(_, conversation)| conversation.members[1].0),
            &column(&conversations, |(_, conversation)| conversation.last_position.cast_signed())
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_days(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (day, first_position) in &self.days {
            sqlx::query!(
                "INSERT INTO feed_days (day, first_position) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                *day,
                first_position.cast_signed()
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}
