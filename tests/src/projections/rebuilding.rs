//! Rebuilds of a log that hands out little at a time, as one does whose events are large.

use std::sync::Arc;

use async_trait::async_trait;
use event_store::memory::MemoryStore;
use event_store::{
    Append, AppendError, Appended, EventStore, Position, RecordedEvent, StoreError, StreamId, Subscription,
};
use projections::{Projector, Sources, rebuild, request_rebuild};
use sqlx::PgPool;

use super::events::{ALICE, BOB, log, message_sent};
use crate::support::Database;

/// More than fits into a few attempts to finish.
const MESSAGES: u64 = 5000;
const AT_A_TIME: usize = 100;

struct Sparing(MemoryStore);

#[async_trait]
impl EventStore for Sparing {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.0.append(append).await
    }

    async fn read_stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.0.read_stream(stream, after, limit.min(AT_A_TIME)).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.0.read_all(after, limit.min(AT_A_TIME)).await
    }

    async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
        self.0.read_at(positions).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.0.head().await
    }

    fn subscribe(&self, after: Position) -> Subscription {
        self.0.subscribe(after)
    }
}

/// All indexes of the tables that serve, as they were made.
async fn indexes(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexdef")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_log_that_hands_out_little_at_a_time_is_rebuilt_from_in_one_go_and_every_index_is_there_again() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let store = Sparing(log((1..=MESSAGES).map(|n| message_sent(n.into(), ALICE, BOB))).await);
    let sources = Sources { store: Arc::new(store), pool: pool.clone() };
    let before = indexes(&pool).await;
    for projector in Projector::ALL {
        request_rebuild(projector, &pool).await.unwrap();
        let progress = rebuild(projector, &sources, |_| {}).await.unwrap().unwrap();
        assert_eq!(progress.events, MESSAGES, "{}", projector.name);
    }
    assert_eq!(indexes(&pool).await, before);
    for table in ["messages", "feed_entries", "audit_events"] {
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&pool).await.unwrap();
        assert_eq!(count.cast_unsigned(), MESSAGES, "{table}");
    }
}
