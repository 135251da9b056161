//! Following the log.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};

use crate::{Position, RecordedEvent, StoreError};

/// Some events in order, shared between all who follow the log.
#[derive(Clone, Debug)]
pub struct Batch {
    events: Arc<[RecordedEvent]>,
    skip: usize,
}

impl Batch {
    /// The events after a position.
    #[must_use]
    pub(crate) fn after(mut self, position: Position) -> Self {
        self.skip = self.events.partition_point(|event| event.position <= position);
        self
    }
}

impl From<Vec<RecordedEvent>> for Batch {
    fn from(events: Vec<RecordedEvent>) -> Self {
        Self { events: events.into(), skip: 0 }
    }
}

impl Deref for Batch {
    type Target = [RecordedEvent];

    fn deref(&self) -> &[RecordedEvent] {
        &self.events[self.skip..]
    }
}

/// Notifications to a follower of the log.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The next events, at least one.
    Events(Batch),
    /// Everything that was there has been delivered; what comes now is new. Said again whenever a follower that had fallen
    /// behind is there again.
    CaughtUp(Position),
}

/// One follower of the log. To drop it ends it.
pub struct Subscription(Pin<Box<dyn Stream<Item = Result<Delivery, StoreError>> + Send>>);

impl Subscription {
    /// Follows this stream: for adapters, and for whoever puts something between an adapter and its followers.
    pub fn new(stream: impl Stream<Item = Result<Delivery, StoreError>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next thing to know; waits for it, for as long as it takes.
    ///
    /// # Errors
    /// If the store fails. The next call retries from the same position.
    pub async fn next(&mut self) -> Result<Delivery, StoreError> {
        let ended = || Err(StoreError::new("following the log", "the store was shut down"));
        self.0.next().await.unwrap_or_else(ended)
    }
}
