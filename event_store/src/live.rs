//! From what is in the log already to what is being appended, for adapters whose positions are contiguous.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use tokio::sync::broadcast;

use crate::subscription::{Batch, Delivery, Subscription};
use crate::{Position, RecordedEvent, StoreError};

/// Batches that a slow follower may lag behind before it has to read the log again.
const LIVE_BATCHES: usize = 512;
/// Events read at once by those who catch up.
const CATCH_UP_EVENTS: usize = 1000;

/// Reads the log on behalf of followers.
#[async_trait]
pub(crate) trait ReadAll: Send + Sync + 'static {
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError>;
}

/// Announces committed batches, in order.
#[derive(Clone)]
pub(crate) struct Live {
    batches: broadcast::Sender<Batch>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { batches: broadcast::channel(LIVE_BATCHES).0 }
    }

    /// Announces events whose positions follow on those announced last.
    pub(crate) fn announce(&self, batch: Batch) {
        // Nobody following is fine.
        let _ = self.batches.send(batch);
    }

    /// Follows the log from a position on.
    pub(crate) fn follow(&self, log: Arc<dyn ReadAll>, after: Position) -> Subscription {
        let follower = Follower { log, live: self.clone(), cursor: after, phase: Phase::Behind };
        Subscription::new(stream::unfold(follower, |mut follower| async move {
            let delivery = follower.next().await;
            Some((delivery, follower))
        }))
    }
}

struct Follower {
    log: Arc<dyn ReadAll>,
    live: Live,
    /// Position of the last event delivered.
    cursor: Position,
    phase: Phase,
}

enum Phase {
    /// Not listening yet, or no longer: too slow, or events of another node are missing in between.
    Behind,
    /// Reads the log, and listens meanwhile so that nothing falls in between.
    CatchingUp(broadcast::Receiver<Batch>),
    /// Has read all there was.
    Current(broadcast::Receiver<Batch>),
}

impl Follower {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            match &mut self.phase {
                Phase::Behind => self.phase = Phase::CatchingUp(self.live.batches.subscribe()),
                Phase::CatchingUp(_) => {
                    let events = match self.log.read_all(self.cursor, CATCH_UP_EVENTS).await {
                        Ok(events) => events,
                        Err(error) => return Err(error),
                    };
                    if let Some(last) = events.last() {
                        self.cursor = last.position;
                        return Ok(Delivery::Events(events.into()));
                    }
                    if let Phase::CatchingUp(live) = std::mem::replace(&mut self.phase, Phase::Behind) {
                        self.phase = Phase::Current(live);
                    }
                    return Ok(Delivery::CaughtUp(self.cursor));
                }
                Phase::Current(live) => match live.recv().await {
                    Ok(batch) => {
                        let batch = batch.after(self.cursor);
                        match (batch.first(), batch.last()) {
                            (Some(first), Some(last)) if first.position == self.cursor + 1 => {
                                self.cursor = last.position;
                                return Ok(Delivery::Events(batch));
                            }
                            (Some(_), Some(_)) => self.phase = Phase::Behind,
                            _ => {}
                        }
                    }
                    // It can't be closed: the follower has a sender too.
                    Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                        self.phase = Phase::Behind;
                    }
                },
            }
        }
    }
}
