//! Delivery receipts on their way into the log: at once, and then at most once a second for each user,
//! however many messages there are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commands::{Commands, HandedOver as Recorded};
use domain::delivery::{Delivered, PAUSE_MS};
use domain::{BusinessId, ConversationId, UserId};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

/// Interval of the search for receipts to record.
const LOOK: Duration = Duration::from_millis(50);
/// Conversations that one event says something about.
const CONVERSATIONS: usize = 500;
/// Maximum users whose receipts are recorded at the same time.
const AT_ONCE: usize = 32;

/// Receipts that are not recorded yet.
#[derive(Default)]
pub(super) struct HandedOver(Mutex<HashMap<UserId, Waiting>>);

struct Waiting {
    business_id: BusinessId,
    messages: HashMap<ConversationId, Delivered>,
    /// Earliest time of the next record.
    not_before: Instant,
}

impl HandedOver {
    /// A device of a person has been handed a message.
    pub(super) fn note(&self, person: UserId, business_id: BusinessId, message: &Delivered) {
        let mut waiting = self.waiting();
        let waiting = waiting.entry(person).or_insert_with(|| Waiting {
            business_id,
            messages: HashMap::new(),
            not_before: Instant::now(),
        });
        let furthest = waiting.messages.entry(message.conversation_id).or_insert_with(|| message.clone());
        if furthest.message_position < message.message_position {
            *furthest = message.clone();
        }
    }

    /// Writes it down as it comes. Never returns.
    pub(super) async fn write_down(&self, commands: &Commands) {
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let due = self.take_due();
            stream::iter(due).for_each_concurrent(AT_ONCE, |due| self.write(commands, due)).await;
        }
    }

    /// Writes down what waits, before the server stops. What may not be said yet is waited for.
    pub(super) async fn write_all(&self, commands: &Commands) {
        let deadline = Instant::now() + Duration::from_millis(PAUSE_MS.unsigned_abs()) + LOOK * 2;
        while Instant::now() < deadline && self.waiting().values().any(|waiting| !waiting.messages.is_empty()) {
            let due = self.take_due();
            stream::iter(due).for_each_concurrent(AT_ONCE, |due| self.write(commands, due)).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn write(&self, commands: &Commands, (person, business_id, messages): (UserId, BusinessId, Vec<Delivered>)) {
        let again = match commands.hand_over(person, business_id, messages.clone()).await {
            Ok(Recorded::Done) => return,
            Ok(Recorded::TooSoon) => messages,
            Err(error) => {
                tracing::warn!(%error, "recording delivery receipts failed; retrying");
                messages
            }
        };
        for message in &again {
            self.note(person, business_id, message);
        }
    }

    /// Takes the receipts that are due. They count as recorded from now on, for the pause that follows.
    fn take_due(&self) -> Vec<(UserId, BusinessId, Vec<Delivered>)> {
        let now = Instant::now();
        let pause = Duration::from_millis(PAUSE_MS.unsigned_abs());
        let mut due = vec![];
        self.waiting().retain(|person, waiting| {
            if waiting.not_before > now {
                return true;
            }
            if waiting.messages.is_empty() {
                return false;
            }
            let some: Vec<ConversationId> = waiting.messages.keys().take(CONVERSATIONS).copied().collect();
            let messages = some.iter().filter_map(|conversation| waiting.messages.remove(conversation)).collect();
            waiting.not_before = now + pause;
            due.push((*person, waiting.business_id, messages));
            true
        });
        due
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<UserId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::MessageId;
    use uuid::Uuid;

    use super::*;

    const BOB: UserId = UserId(Uuid::from_u128(8));
    const ACME: BusinessId = BusinessId(Uuid::from_u128(1));

    fn message(sender: u128, message_position: u64) -> Delivered {
        let sender_id = UserId(Uuid::from_u128(sender));
        let conversation_id = ConversationId::between(BOB, sender_id);
        Delivered { conversation_id, sender_id, message_id: MessageId(Uuid::nil()), message_position }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_each_conversation_is_noted_at_once_and_then_once_a_second() {
        let handed_over = HandedOver::default();
        for (sender, position) in [(1, 5), (2, 6), (1, 8), (1, 7)] {
            handed_over.note(BOB, ACME, &message(sender, position));
        }
        let due = handed_over.take_due();
        let [(person, business, messages)] = &due[..] else { panic!("{due:?}") };
        assert_eq!((*person, *business), (BOB, ACME));
        let mut positions: Vec<u64> = messages.iter().map(|message| message.message_position).collect();
        positions.sort_unstable();
        assert_eq!(positions, [6, 8]);

        handed_over.note(BOB, ACME, &message(1, 9));
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(handed_over.take_due().is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(handed_over.take_due().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_nothing_more_is_forgotten() {
        let handed_over = HandedOver::default();
        handed_over.note(BOB, ACME, &message(1, 5));
        handed_over.take_due();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(handed_over.take_due().is_empty());
        assert!(handed_over.waiting().is_empty());
    }
}
