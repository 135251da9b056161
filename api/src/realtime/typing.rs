//! Typing users, as clients of this node report. Nothing of it is stored.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::UserId;
use tokio::time::Instant;

/// Time for which a user types without repeating it.
const LASTS: Duration = Duration::from_secs(6);

/// Those who type, and to whom, until when.
#[derive(Default)]
pub(super) struct Typists(Mutex<HashMap<(UserId, UserId), Instant>>);

impl Typists {
    /// Notes that a user types. Returns true if that is new.
    pub(super) fn start(&self, from: UserId, to: UserId) -> bool {
        let now = Instant::now();
        let before = self.typists().insert((from, to), now + LASTS);
        before.is_none_or(|until| until <= now)
    }

    /// Notes that a user has stopped. Returns true if they were typing.
    pub(super) fn stop(&self, from: UserId, to: UserId) -> bool {
        self.typists().remove(&(from, to)).is_some()
    }

    /// Forgets those who haven't said again that they type: who, and to whom. To be called often.
    pub(super) fn give_up(&self) -> Vec<(UserId, UserId)> {
        let now = Instant::now();
        let mut given_up = vec![];
        self.typists().retain(|pair, until| {
            let is_typing = *until > now;
            if !is_typing {
                given_up.push(*pair);
            }
            is_typing
        });
        given_up
    }

    fn typists(&self) -> MutexGuard<'_, HashMap<(UserId, UserId), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ALICE: UserId = UserId(Uuid::from_u128(7));
    const BOB: UserId = UserId(Uuid::from_u128(8));

    #[tokio::test(start_paused = true)]
    async fn typing_begins_once_and_ends_by_itself() {
        let typists = Typists::default();
        assert!(typists.start(ALICE, BOB));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!typists.start(ALICE, BOB), "she types still");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(typists.give_up().is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(typists.give_up(), [(ALICE, BOB)]);
        assert!(typists.start(ALICE, BOB), "she begins again");
        assert!(typists.stop(ALICE, BOB));
        assert!(!typists.stop(ALICE, BOB));
    }
}
