//! The event log: a port, its adapters, the envelope that every fact is kept in, and the codec between facts and bytes.
//!
//! - [`EventStore`] is the port. [`postgres::PostgresStore`] is what Switchboard runs on, or
//!   [`kurrentdb::KurrentStore`]; [`memory::MemoryStore`] serves tests.
//! - Every adapter passes one suite, [`conformance`] (behind the feature of that name).
//! - Nothing in here knows the domain: data is bytes, and [`codec`] turns them into today's JSON.

mod envelope;
mod live;
mod subscription;
mod upcasters;

pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod kurrentdb;
pub mod memory;
pub mod postgres;

use async_trait::async_trait;

pub use envelope::{Actor, Metadata, NewEvent, Position, RecordedEvent, StreamId};
pub use subscription::{Batch, Delivery, Subscription};

/// Largest event that is accepted, in bytes of its data.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// Version that a stream must have for an append to succeed. There is no "any": a writer has read the stream first, and a retry
/// can be told from a second write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The stream has no events.
    NoStream,
    /// The last event of the stream has this version. Versions count from 1.
    Version(u64),
}

impl Expected {
    /// The number of events that the stream must have.
    #[must_use]
    pub fn version(self) -> u64 {
        match self {
            Self::NoStream => 0,
            Self::Version(version) => version,
        }
    }

    /// The expectation of somebody who has seen so many events of the stream.
    #[must_use]
    pub fn after(version: u64) -> Self {
        if version == 0 { Self::NoStream } else { Self::Version(version) }
    }
}

/// Events to be added to one stream, all or none.
#[derive(Clone, Debug)]
pub struct Append {
    /// Stream that they belong to.
    pub stream: StreamId,
    /// Version that the writer has seen.
    pub expected: Expected,
    /// Their cause.
    pub metadata: Metadata,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
}

/// An append that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of the last of its events.
    pub position: Position,
    /// Version of the last of its events.
    pub stream_version: u64,
}

/// Why an append didn't happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream has another version than expected, and not because of these same events.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// An event is larger than [`MAX_EVENT_BYTES`], or there is none.
    #[error("an append needs at least one event, none of more than {MAX_EVENT_BYTES} bytes")]
    Unacceptable,
    /// The store failed. Whether the append took place is unknown: to repeat it with the same event ids is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The stream has another version than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected version {expected} of the stream, found {actual}")]
pub struct Conflict {
    /// The version that the writer had seen; 0 for none.
    pub expected: u64,
    /// The version that the stream has.
    pub actual: u64,
}

/// The store can't be used now.
#[derive(Debug, thiserror::Error)]
#[error("the event store failed while {attempted}")]
pub struct StoreError {
    /// Operation that failed, as the end of a sentence.
    pub attempted: &'static str,
    /// Cause of the failure.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// The store failed while doing this, because of that.
    pub fn new(attempted: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { attempted, source: source.into() }
    }
}

/// The log.
///
/// Positions increase over the whole log, in the order in which appends become visible: whoever has read up to a position has
/// seen everything up to it, for ever.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Adds events to a stream. Once this returns, they are on disk and visible to every reader.
    ///
    /// To repeat an append with the same event ids succeeds without adding anything.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// The events of a stream after a version, in order; at most `limit`, fewer when they are large, none only at its end.
    async fn read_stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError>;

    /// The events of the whole log after a position, in order; at most `limit`, fewer when they are large, none only at its end.
    /// The position is 0 or that of an event: what lies between two events is no place in every log.
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError>;

    /// The events at these positions, which are in order; fewer when they are large, but at least the first.
    async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Position of the last event.
    async fn head(&self) -> Result<Position, StoreError>;

    /// Everything after a position, which is 0 or that of an event: what is there already, then a notice that this was all, then what is being appended; with
    /// no gap and no duplicate.
    fn subscribe(&self, after: Position) -> Subscription;
}
