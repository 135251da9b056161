//! How far a projection has come, for those who want to read what they have just written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_store::Position;
use tokio::sync::watch;
use tokio::time::Instant;

/// How far one projection has come, as this node knows.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    position: watch::Sender<Position>,
    /// How many wait for it to come further.
    waiting: watch::Sender<usize>,
    last_look: Arc<Mutex<Option<Behind>>>,
}

/// Where the projection was when somebody looked and saw that it was behind.
#[derive(Clone, Copy, Debug)]
struct Behind {
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
        Self { position: watch::Sender::new(0), waiting: watch::Sender::new(0), last_look: Arc::default() }
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

    /// Whether the projection has stood still for longer than `patience` although there was something to take in up to `head`, as
    /// far as those who asked have seen. To be asked now and then.
    #[must_use]
    pub fn is_stalled(&self, head: Position, patience: Duration) -> bool {
        let position = self.position();
        let mut last_look = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        match *last_look {
            _ if position >= head => *last_look = None,
            Some(behind) if behind.position == position => return behind.since.elapsed() > patience,
            _ => *last_look = Some(Behind { position, since: Instant::now() }),
        }
        false
    }

    /// Waits until the projection has taken this position in.
    ///
    /// # Errors
    /// If it takes longer than `patience`.
    pub async fn reached(&self, wanted: Position, patience: Duration) -> Result<(), NotThereYet> {
        if self.position() >= wanted {
            return Ok(());
        }
        let _waiting = Waiting::for_it(&self.waiting);
        let mut watching = self.position.subscribe();
        let reached = watching.wait_for(|at| *at >= wanted);
        match tokio::time::timeout(patience, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotThereYet { at: self.position(), wanted }),
        }
    }

    /// Returns as soon as somebody waits for the projection to come further.
    pub(crate) async fn is_waited_for(&self) {
        // It can't be closed: we have a sender.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// Somebody who waits, for as long as this lives.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn for_it(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_projection_is_stalled_when_it_is_behind_and_does_not_move() {
        let checkpoint = Checkpoint::new();
        checkpoint.begin_at(10);
        assert!(!checkpoint.is_stalled(20, PATIENCE), "it was seen to be behind only now");
        tokio::time::advance(PATIENCE * 2).await;
        assert!(checkpoint.is_stalled(20, PATIENCE));
        checkpoint.advance(15);
        assert!(!checkpoint.is_stalled(30, PATIENCE), "it moves");
        checkpoint.advance(30);
        assert!(!checkpoint.is_stalled(30, PATIENCE));
        tokio::time::advance(PATIENCE * 2).await;
        assert!(!checkpoint.is_stalled(31, PATIENCE), "there was nothing to take in meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_known_whether_somebody_waits() {
        let checkpoint = Checkpoint::new();
        checkpoint.begin_at(10);
        let is_waited_for = || checkpoint.is_waited_for().now_or_never().is_some();
        checkpoint.reached(10, PATIENCE).await.unwrap();
        assert!(!is_waited_for(), "it is there already");
        {
            let mut waiting = pin!(checkpoint.reached(11, PATIENCE));
            assert!(waiting.as_mut().now_or_never().is_none());
            assert!(is_waited_for());
        }
        assert!(!is_waited_for(), "they have given up");
    }
}
