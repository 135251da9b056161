//! How far a projection has come, for those who want to read what they have just written.

use std::time::Duration;

use event_store::Position;
use tokio::sync::watch;

/// How far one projection has come, as this node knows.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    position: watch::Sender<Position>,
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
        Self { position: watch::Sender::new(0) }
    }

    /// Says where the projection is, even if that is further back: what was committed last may be lost in a crash of the database.
    pub(crate) fn begin_at(&self, position: Position) {
        self.position.send_replace(position);
    }

    pub(crate) fn advance(&self, position: Position) {
        self.position.send_if_modified(|at| {
            let further = *at < position;
            *at = position.max(*at);
            further
        });
    }

    /// Position of the last event taken in.
    #[must_use]
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// Waits until the projection has taken this position in.
    ///
    /// # Errors
    /// When it takes longer than `patience`.
    pub async fn reached(&self, wanted: Position, patience: Duration) -> Result<(), NotThereYet> {
        if self.position() >= wanted {
            return Ok(());
        }
        let mut watching = self.position.subscribe();
        let reached = watching.wait_for(|at| *at >= wanted);
        match tokio::time::timeout(patience, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotThereYet { at: self.position(), wanted }),
        }
    }
}
