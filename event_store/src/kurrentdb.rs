//! The log in KurrentDB, over its official client.
//!
//! A position is where an event is committed in `$all`, the log of everything in the server: it increases, with gaps, and other
//! things lie in between. The server filters out what is its own; what isn't ours for another reason is left out
//! [here](record). The [connection](connection) is one client after the other, since a client can come to an end;
//! [followers](follower) take up their subscriptions again where they were.

mod address;
mod clean_end;
mod connection;
mod failure;
mod follower;
mod reader;
mod record;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use self::address::Address;
use self::connection::Connection;
use self::failure::Failure;
use self::reader::Reader;
use crate::{
    Append, AppendError, Appended, EventStore, MAX_EVENT_BYTES, Position, RecordedEvent, StoreError, StreamId,
    Subscription,
};

/// Time to wait for the server at the start.
const START: Duration = Duration::from_secs(30);
/// Appends that may be under way before writers are made to wait.
const APPENDS: u32 = 8192;

/// The log in a KurrentDB server or cluster.
pub struct KurrentStore {
    reader: Arc<Reader>,
    appends: Semaphore,
}

impl KurrentStore {
    /// Opens the log at a connection string: `kurrentdb://` or `esdb://`, with `+discover` or without.
    ///
    /// # Errors
    /// If the connection string can't be understood, if the server doesn't let us read, or if it isn't there for half a
    /// minute.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        const CONNECTING: &str = "connecting to KurrentDB";
        // The client would otherwise have the whole process use a crypto of its own choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = Address::parse(url).map_err(|error| StoreError::new(CONNECTING, Failure::from(error)))?;
        let reader = Arc::new(Reader::new(Connection::new(address)));
        reader.find_head(START, CONNECTING).await?;
        Ok(Self { reader, appends: Semaphore::new(APPENDS as usize) })
    }

    /// Returns when the store can't work any more, which is never: whatever ends is replaced.
    pub async fn broken(&self) {
        std::future::pending::<()>().await;
    }

    /// Waits for the appends that are under way, and ends. Appends after this fail.
    pub async fn shut_down(self: Arc<Self>) {
        let all = self.appends.acquire_many(APPENDS).await;
        self.appends.close();
        drop(all);
    }
}

#[async_trait]
impl EventStore for KurrentStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if append.events.is_empty() || append.events.iter().any(|event| event.data.len() > MAX_EVENT_BYTES) {
            return Err(AppendError::Unacceptable);
        }
        let stopped = |_| StoreError::new("appending", "the store was shut down");
        let _underway = self.appends.acquire().await.map_err(stopped)?;
        self.reader.append(&append).await
    }

    async fn read_stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.reader.read_stream(stream, after, limit).await
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
        follower::follow(self.reader.clone(), after)
    }
}
