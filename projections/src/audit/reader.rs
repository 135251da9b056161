//! Reads what an auditor looks for, page by page, from wherever it is found soonest: one stream, the index, or the log as it stands.

use std::sync::Arc;

use event_store::{EventStore, Position, RecordedEvent, StoreError};

use super::{AuditFilter, AuditQueries};
use crate::QueryError;

/// The history can't be read now.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The index can't.
    #[error(transparent)]
    Index(#[from] QueryError),
    /// The log can't.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// The log hasn't got what the index knows of.
    #[error("there is no event at position {0} of the log")]
    Missing(Position),
}

/// Reads events in order, each once.
pub struct AuditReader {
    index: AuditQueries,
    log: Arc<dyn EventStore>,
    filter: AuditFilter,
    /// Only events after this position are wanted; it may be any number.
    after: Position,
    /// The last place in the log that was looked at.
    reached: Position,
    /// Position of the first event that isn't read.
    before: Position,
    /// Version up to which the stream has been read, if it is one.
    stream_version: u64,
    /// Positions of events that the index has found and that have not been read.
    found: Vec<Position>,
}

impl AuditReader {
    /// Reads the events after one position and before another, which may be any numbers.
    ///
    /// # Errors
    /// If the index can't be read.
    pub async fn new(
        index: AuditQueries,
        log: Arc<dyn EventStore>,
        filter: AuditFilter,
        after: Position,
        before: Position,
    ) -> Result<Self, ReadError> {
        let reached = index.place_at(after).await?;
        Ok(Self { index, log, filter, after, reached, before, stream_version: 0, found: vec![] })
    }

    /// The next events, at most `limit`, which is at least 1; none when there are no more.
    ///
    /// # Errors
    /// If the index or the log can't be read. To go on afterwards is safe.
    pub async fn next_page(&mut self, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        if self.filter.stream.is_some() {
            self.of_stream(limit).await
        } else if self.filter.needs_index() {
            self.of_index(limit).await
        } else {
            self.of_log(limit).await
        }
    }

    async fn of_stream(&mut self, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        let Some(stream) = self.filter.stream.clone() else { return Ok(vec![]) };
        loop {
            let page = self.log.read_stream(&stream, self.stream_version, limit as usize).await?;
            let Some(last) = page.last() else { return Ok(vec![]) };
            let (version, is_over) = (last.stream_version, last.position >= self.before);
            let events: Vec<_> =
                page.into_iter().filter(|event| self.wants(event) && self.filter.matches(event)).collect();
            self.stream_version = version;
            if !events.is_empty() || is_over {
                return Ok(events);
            }
        }
    }

    async fn of_log(&mut self, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        loop {
            let mut page = self.log.read_all(self.reached, limit as usize).await?;
            let Some(last) = page.last() else { return Ok(vec![]) };
            let is_over = last.position >= self.before;
            self.reached = last.position;
            page.retain(|event| self.wants(event));
            if !page.is_empty() || is_over {
                return Ok(page);
            }
        }
    }

    async fn of_index(&mut self, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        if self.found.is_empty() {
            let after = self.after.max(self.reached);
            self.found = self.index.find(&self.filter, after, self.before, limit).await?;
            if self.found.is_empty() {
                return Ok(vec![]);
            }
        }
        let events = self.log.read_at(&self.found).await?;
        // In order, and none left out: what was restored from a backup, or is of another log, is no history.
        if let Some((place, _)) = self.found.iter().zip(&events).find(|(place, event)| **place != event.position) {
            return Err(ReadError::Missing(*place));
        }
        let Some(last) = events.last() else { return Err(ReadError::Missing(self.found[0])) };
        self.reached = last.position;
        self.found.drain(..events.len());
        Ok(events)
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.position > self.after && event.position < self.before
    }
}
