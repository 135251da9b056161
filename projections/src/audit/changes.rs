//! Index entries of events.

use async_trait::async_trait;
use event_store::RecordedEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column;
use crate::projection::{Projection, Unreadable};

/// Projects the index of the log.
pub struct Audit;

/// Index entry of an event, without its data.
pub struct Entry {
    position: i64,
    business_id: Uuid,
    event_type: String,
    actor_user: Option<Uuid>,
    correlation_id: Uuid,
}

#[async_trait]
impl Projection for Audit {
    const NAME: &'static str = "audit";
    const VERSION: i32 = 1;
    const TABLES: &'static [&'static str] = &["audit_events"];
    const INDEXED_LAST: &'static [&'static str] = Self::TABLES;
    type Changes = Vec<Entry>;

    /// Takes in all there is, also what this version of the program can't read.
    fn collect(changes: &mut Vec<Entry>, event: &RecordedEvent) -> Result<(), Unreadable> {
        changes.push(Entry {
            position: event.position.cast_signed(),
            business_id: event.metadata.business_id,
            event_type: event.event_type.to_string(),
            actor_user: event.metadata.actor.user,
            correlation_id: event.metadata.correlation_id,
        });
        Ok(())
    }

    async fn write(entries: Vec<Entry>, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if entries.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO audit_events (position, business_id, event_type, actor_user, correlation_id)
             SELECT position, business_id, event_type, actor_user, correlation_id
             FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[])
                  AS new(position, business_id, event_type, actor_user, correlation_id)",
            &column(&entries, |entry| entry.position),
            &column(&entries, |entry| entry.business_id),
            &column(&entries, |entry| entry.event_type.as_str()) as &[&str],
            &column(&entries, |entry| entry.actor_user) as &[Option<Uuid>],
            &column(&entries, |entry| entry.correlation_id)
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}
