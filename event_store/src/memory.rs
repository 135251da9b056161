//! The log in memory: for tests of what stands on the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::live::{Live, ReadAll};
use crate::{
    Append, AppendError, Appended, Conflict, EventStore, MAX_EVENT_BYTES, Position, RecordedEvent, StoreError,
    StreamId, Subscription,
};

/// A log that is gone when it is dropped.
#[derive(Clone)]
pub struct MemoryStore {
    log: Arc<Log>,
    live: Live,
}

struct Log {
    clock: fn() -> OffsetDateTime,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    events: Vec<RecordedEvent>,
    /// Index into `events` of each event of a stream.
    streams: HashMap<StreamId, Vec<usize>>,
}

impl MemoryStore {
    /// An empty log that takes the time from `clock`.
    #[must_use]
    pub fn new(clock: fn() -> OffsetDateTime) -> Self {
        Self { log: Arc::new(Log { clock, contents: Mutex::default() }), live: Live::new() }
    }
}

impl Log {
    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        // A panic can't leave it half-written: events and index are extended by calls that don't panic.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn append(&mut self, append: Append, now: OffsetDateTime) -> Result<(Appended, Vec<RecordedEvent>), Conflict> {
        let expected = append.expected.version();
        let stream = self.streams.entry(append.stream.clone()).or_default();
        let actual = stream.len() as u64;
        if actual != expected {
            let written = stream.get(usize::try_from(expected).unwrap_or(usize::MAX)..).unwrap_or_default();
            let same = written.len() >= append.events.len()
                && written.iter().zip(&append.events).all(|(at, event)| self.events[*at].event_id == event.event_id);
            if !same {
                return Err(Conflict { expected, actual });
            }
            let last = &self.events[written[append.events.len() - 1]];
            return Ok((Appended { position: last.position, stream_version: last.stream_version }, vec![]));
        }
        let recorded_at = self.events.last().map_or(now, |last| last.recorded_at.max(now));
        let first = self.events.len();
        for (event, offset) in append.events.into_iter().zip(1..) {
            stream.push(self.events.len());
            self.events.push(RecordedEvent {
                event_id: event.event_id,
                event_type: event.event_type,
                schema_version: event.schema_version,
                stream: append.stream.clone(),
                stream_version: expected + offset,
                position: self.events.len() as u64 + 1,
                recorded_at,
                metadata: append.metadata.clone(),
                data: event.data,
            });
        }
        let new = self.events[first..].to_vec();
        Ok((Appended { position: self.events.len() as u64, stream_version: stream.len() as u64 }, new))
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if append.events.is_empty() || append.events.iter().any(|event| event.data.len() > MAX_EVENT_BYTES) {
            return Err(AppendError::Unacceptable);
        }
        let now = (self.log.clock)();
        let mut contents = self.log.contents();
        let (appended, new) = contents.append(append, now)?;
        if !new.is_empty() {
            // Under the lock, so that batches are announced in order.
            self.live.announce(new.into());
        }
        Ok(appended)
    }

    async fn read_stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let contents = self.log.contents();
        let events = contents.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(events.iter().skip(after).take(limit).map(|at| contents.events[*at].clone()).collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        self.log.read_all(after, limit).await
    }

    async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
        let contents = self.log.contents();
        let at = |position: &Position| contents.events.get(usize::try_from(position.checked_sub(1)?).ok()?).cloned();
        Ok(positions.iter().filter_map(at).collect())
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.log.contents().events.len() as u64)
    }

    fn subscribe(&self, after: Position) -> Subscription {
        self.live.follow(self.log.clone(), after)
    }
}

#[async_trait]
impl ReadAll for Log {
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(self.contents().events.iter().skip(after).take(limit).cloned().collect())
    }
}
