//! The log in Postgres.
//!
//! Each node has one [committer](committer): it drains the queue of pending appends and commits them as one batch in one round
//! trip. The row lock on the head orders the batches of all nodes, so positions are gap-free and in commit order, and whoever has
//! read up to a position has seen everything up to it. The [tail](tail) announces what is committed, here and on other nodes.

mod committer;
mod reader;
mod tail;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::committer::{Committer, Pending};
use self::reader::Reader;
use crate::live::{Live, ReadAll};
use crate::{
    Append, AppendError, Appended, Conflict, EventStore, MAX_EVENT_BYTES, Position, RecordedEvent, StoreError,
    StreamId, Subscription,
};

/// Appends that may wait for the committer before writers are made to wait.
const QUEUE: usize = 8192;

/// Batches that may wait to be announced.
const ANNOUNCEMENTS: usize = 64;

/// The log in a Postgres database. Dropping it abandons what is queued; see [`shut_down`](Self::shut_down).
pub struct PostgresStore {
    reader: Arc<Reader>,
    live: Live,
    queue: mpsc::Sender<Pending>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl PostgresStore {
    /// Opens the log in the database of this pool, whose migrations have been applied. Readers and the listener share the pool;
    /// the committer and the notifier each have a connection of their own.
    ///
    /// # Errors
    /// If the database is unavailable.
    pub async fn open(pool: PgPool) -> Result<Self, StoreError> {
        let reader = Arc::new(Reader::new(pool.clone()));
        let live = Live::new();
        let head = reader.head().await?;
        let (queue, pending) = mpsc::channel(QUEUE);
        let (committed, announcements) = mpsc::channel(ANNOUNCEMENTS);
        let mut tasks = JoinSet::new();
        let connect = pool.connect_options();
        tasks.spawn(Committer::new((*connect).clone(), reader.clone(), committed).run(pending));
        tasks.spawn(tail::run(pool, reader.clone(), live.clone(), head, announcements));
        Ok(Self { reader, live, queue, tasks: tasks.into() })
    }

    /// Returns when the store can't work any more, which it should never do by itself.
    pub async fn broken(&self) {
        let _ = self.tasks.lock().await.join_next().await;
    }

    /// Commits what is queued, announces it, and ends. Appends after this fail.
    pub async fn shut_down(self: Arc<Self>) {
        let _ = self.queue.send(Pending::Stop).await;
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if append.events.is_empty() || append.events.iter().any(|event| event.data.len() > MAX_EVENT_BYTES) {
            return Err(AppendError::Unacceptable);
        }
        let stopped = || StoreError::new("appending", "the store was shut down");
        let retry = Retry::of(&append);
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.queue.send(Pending::Append(append, reply)).await.map_err(|_| stopped())?;
        match answer.await.map_err(|_| stopped())? {
            Err(AppendError::Conflict(conflict)) => retry.settle(conflict, &self.reader).await,
            decided => decided,
        }
    }

    async fn read_stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let events = self.reader.read_stream(stream, after, limit).await?;
        if let Some(last) = events.last() {
            self.reader.saw(stream, last.stream_version);
        }
        Ok(events)
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.reader.read_all(after, limit).await
    }

    async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
        self.reader.read_at(positions).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.reader.head().await
    }

    fn subscribe(&self, after: Position) -> Subscription {
        self.live.follow(self.reader.clone(), after)
    }
}

/// What it takes to tell, once an append has met a conflict, whether it had been done before. Looked up here and not in the
/// committer, which has better things to do.
struct Retry {
    stream: StreamId,
    event_ids: Vec<uuid::Uuid>,
}

impl Retry {
    fn of(append: &Append) -> Self {
        Self { stream: append.stream.clone(), event_ids: append.events.iter().map(|event| event.event_id).collect() }
    }

    async fn settle(self, conflict: Conflict, reader: &Reader) -> Result<Appended, AppendError> {
        if conflict.actual < conflict.expected + self.event_ids.len() as u64 {
            return Err(conflict.into());
        }
        match reader.events_are(&self.stream, conflict.expected, &self.event_ids).await? {
            Some(appended) => Ok(appended),
            None => Err(conflict.into()),
        }
    }
}
