//! How far a projection has come, for those who want to read what they have just written.

use std::time::Duration;

use event_store::Position;
use tokio::sync::watch;
use tokio::time::Instant;

/// How far one projection has come, as this node knows.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    at: watch::Sender<At>,
}

#[derive(Clone, Copy, Debug)]
struct At {
    position: Position,
    since: Instant,
}

/// The projection didn't get there in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the projection is at position {at}, not at {wanted} yet")]
pub struct NotThereYet {
    /// Where it is.
    pub at: Position,
    /// Where it should have been.
    pub wanted: Position,
}

impl Checkpoint {
    pub(crate) fn new() -> Self {
        Self { at: watch::Sender::new(At { position: 0, since: Instant::now() }) }
    }

    /// Says where the projection is, even if that is further back: what was committed last may be lost in a crash of the database.
    pub(crate) fn begin_at(&self, position: Position) {
        self.at.send_modify(|at| at.position = position);
    }

    pub(crate) fn advance(&self, position: Position) {
        self.at.send_if_modified(|at| {
            let further = at.position < position;
            if further {
                *at = At { position, since: Instant::now() };
            }
            further
        });
    }

    /// Position of the last event taken in.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at.borrow().position
    }

    /// Whether the projection has not moved for so long although there is something to take in up to `head`. Waits a moment for it
    /// to get there.
    pub async fn is_stalled(&self, head: Position, patience: Duration) -> bool {
        self.at.borrow().since.elapsed() > patience && self.reached(head, patience / 10).await.is_err()
    }

    /// Waits until the projection has taken this position in.
    ///
    /// # Errors
    /// When it takes longer than `patience`.
    pub async fn reached(&self, wanted: Position, patience: Duration) -> Result<(), NotThereYet> {
        if self.position() >= wanted {
            return Ok(());
        }
        let mut watching = self.at.subscribe();
        let reached = watching.wait_for(|at| at.position >= wanted);
        match tokio::time::timeout(patience, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotThereYet { at: self.position(), wanted }),
        }
    }
}
