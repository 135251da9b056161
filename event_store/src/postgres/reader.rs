//! Reading the log.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::live::ReadAll;
use crate::{Actor, Appended, Metadata, Position, RecordedEvent, StoreError, StreamId};

/// A page ends when its data has reached this size, in bytes, however few events it has then.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Streams whose version is remembered.
const REMEMBERED_STREAMS: usize = 100_000;

/// Reads the log over a pool, and remembers how far streams have been seen to go.
pub(super) struct Reader {
    pool: PgPool,
    /// A version that each stream is known to have reached. Streams never get shorter, so it may be old but not wrong.
    versions: quick_cache::sync::Cache<StreamId, u64>,
}

/// A row of the log.
struct Row {
    position: i64,
    stream: String,
    stream_version: i64,
    event_id: Uuid,
    event_type: String,
    schema_version: i16,
    recorded_at: OffsetDateTime,
    business_id: Uuid,
    actor_user: Option<Uuid>,
    actor_role: Option<String>,
    actor_session: Option<Uuid>,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    data: Vec<u8>,
}

impl From<Row> for RecordedEvent {
    fn from(row: Row) -> Self {
        Self {
            event_id: row.event_id,
            event_type: row.event_type.into(),
            schema_version: row.schema_version.cast_unsigned(),
            stream: StreamId::from(row.stream),
            stream_version: row.stream_version.cast_unsigned(),
            position: row.position.cast_unsigned(),
            recorded_at: row.recorded_at,
            metadata: Metadata {
                business_id: row.business_id,
                actor: Actor { user: row.actor_user, role: row.actor_role.map(Into::into), session: row.actor_session },
                correlation_id: row.correlation_id,
                causation_id: row.causation_id,
            },
            data: row.data.into(),
        }
    }
}

impl Reader {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, versions: quick_cache::sync::Cache::new(REMEMBERED_STREAMS) }
    }

    pub(super) async fn head(&self) -> Result<Position, StoreError> {
        let head = sqlx::query_scalar!("SELECT position FROM log_head").fetch_one(&self.pool).await;
        head.map(i64::cast_unsigned).map_err(|error| StoreError::new("reading the head", error))
    }

    pub(super) async fn read_stream(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT * FROM log WHERE stream = $1 AND stream_version > $2 ORDER BY stream_version LIMIT $3",
            stream.as_str(),
            bigint(after),
            bigint(limit as u64)
        );
        page(rows.fetch(&self.pool)).await.map_err(|error| StoreError::new("reading a stream", error))
    }

    pub(super) async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
        let positions: Vec<i64> = positions.iter().map(|position| bigint(*position)).collect();
        let rows = sqlx::query_as!(Row, "SELECT * FROM log WHERE position = ANY($1) ORDER BY position", &positions);
        page(rows.fetch(&self.pool)).await.map_err(|error| StoreError::new("reading some events", error))
    }

    /// Remembers that the stream has reached this version.
    pub(super) fn saw(&self, stream: &StreamId, version: u64) {
        if self.versions.get(stream).is_none_or(|known| known < version) {
            self.versions.insert(stream.clone(), version);
        }
    }

    /// A version that the stream is known to have reached; none when nothing is known.
    pub(super) fn seen(&self, stream: &StreamId) -> Option<u64> {
        self.versions.get(stream)
    }

    /// Returns what an append of these events has answered, if they are the events of the stream after a version; none if they are
    /// not.
    pub(super) async fn events_are(
        &self,
        stream: &StreamId,
        after: u64,
        event_ids: &[Uuid],
    ) -> Result<Option<Appended>, StoreError> {
        let found = sqlx::query!(
            "SELECT event_id, stream_version, position FROM log
             WHERE stream = $1 AND stream_version > $2 ORDER BY stream_version LIMIT $3",
            stream.as_str(),
            bigint(after),
            bigint(event_ids.len() as u64)
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| StoreError::new("looking for an earlier append", error))?;
        let same = found.iter().map(|row| row.event_id).eq(event_ids.iter().copied());
        Ok(found.last().filter(|_| same).map(|last| Appended {
            position: last.position.cast_unsigned(),
            stream_version: last.stream_version.cast_unsigned(),
        }))
    }
}

#[async_trait]
impl ReadAll for Reader {
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT * FROM log WHERE position > $1 ORDER BY position LIMIT $2",
            bigint(after),
            bigint(limit as u64)
        );
        page(rows.fetch(&self.pool)).await.map_err(|error| StoreError::new("reading the log", error))
    }
}

/// Takes rows until there are no more or the page is large enough.
async fn page(mut rows: BoxStream<'_, Result<Row, sqlx::Error>>) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    let mut events = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        bytes += row.data.len();
        events.push(row.into());
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(events)
}

/// Positions and versions from outside may be larger than the log can ever be.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
