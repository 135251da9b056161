//! What is remembered of streams, so that most commands read nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Decider;
use event_store::Position;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use uuid::Uuid;

/// Counters that tell whether a stream may have changed while it was being read.
const MARKS: usize = 1024;

/// The state of a stream, as far as it has been seen.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<D> {
    pub(crate) state: D,
    /// Version of the last event taken in; 0 when there is none.
    pub(crate) version: u64,
    /// Position of the first event, with which every aggregate begins alone; 0 when there is none.
    pub(crate) first_position: Position,
    /// Position of the last event taken in; 0 when there is none.
    pub(crate) position: Position,
    /// Id of the last event taken in, for what it causes elsewhere.
    pub(crate) last_event: Option<Uuid>,
}

impl<D: Decider> Default for Loaded<D> {
    fn default() -> Self {
        Self { state: D::default(), version: 0, first_position: 0, position: 0, last_event: None }
    }
}

impl<D: Decider> Loaded<D> {
    /// Takes the next event of the stream in.
    pub(crate) fn evolve(&mut self, event: &D::Event, event_id: Uuid, position: Position) {
        self.state.evolve(event);
        self.version += 1;
        self.position = position;
        self.last_event = Some(event_id);
        if self.version == 1 {
            self.first_position = position;
        }
    }
}

/// States by stream id, bounded in number.
pub(crate) struct StateCache<D> {
    states: Cache<String, Arc<Loaded<D>>>,
    /// Counts the events seen, by hash of the stream id.
    marks: Box<[AtomicU64]>,
}

/// What a stream's counter was before it was read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Mark(u64);

impl<D: Decider> StateCache<D> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { states: Cache::new(capacity), marks: std::iter::repeat_with(AtomicU64::default).take(MARKS).collect() }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Loaded<D>>> {
        self.states.get(id)
    }

    /// To be taken before a stream is read, and given to [`Self::remember_read`] after.
    pub(crate) fn mark(&self, id: &str) -> Mark {
        Mark(self.counter(id).load(Ordering::SeqCst))
    }

    /// Remembers what was read, unless the stream may have gone on meanwhile without being noticed here.
    pub(crate) fn remember_read(&self, id: &str, loaded: &Arc<Loaded<D>>, mark: Mark) {
        self.remember(id, loaded.clone());
        if self.mark(id) != mark {
            self.forget(id);
        }
    }

    /// Goes on from a state that is remembered. One that isn't may have changed since unnoticed, so nothing begins here.
    pub(crate) fn update(&self, id: &str, next: &Arc<Loaded<D>>) {
        // The place of one that isn't remembered is left empty.
        self.states.entry(id, None, |_, known| newer(known, next));
    }

    /// Remembers a state, unless a newer one is known.
    fn remember(&self, id: &str, loaded: Arc<Loaded<D>>) {
        if let EntryResult::Vacant(place) = self.states.entry(id, None, |_, known| newer(known, &loaded)) {
            // Refused when it was forgotten in this moment.
            let _ = place.insert(loaded);
        }
    }

    pub(crate) fn forget(&self, id: &str) {
        self.states.remove(id);
    }

    /// Takes in an event that the log announces. Decodes it only if the stream is remembered.
    pub(crate) fn announce<E>(
        &self,
        id: &str,
        event_id: Uuid,
        version: u64,
        position: Position,
        decode: impl FnOnce() -> Result<Option<D::Event>, E>,
    ) {
        // First the counter, then the state: a reader does it the other way round, so one of the two notices the other.
        self.counter(id).fetch_add(1, Ordering::SeqCst);
        let Some(known) = self.get(id) else { return };
        if known.version >= version {
            return;
        }
        match decode() {
            Ok(Some(event)) if known.version + 1 == version => {
                let mut next = (*known).clone();
                next.evolve(&event, event_id, position);
                self.update(id, &Arc::new(next));
            }
            _ => self.forget(id),
        }
    }

    fn counter(&self, id: &str) -> &AtomicU64 {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        &self.marks[usize::try_from(hash % MARKS as u64).unwrap_or(0)]
    }
}

/// Puts a state in the place of an older one.
fn newer<D>(known: &mut Arc<Loaded<D>>, next: &Arc<Loaded<D>>) -> EntryAction<()> {
    if known.version < next.version {
        known.clone_from(next);
    }
    EntryAction::Retain(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use domain::reading::{MessagesRead, Reading, ReadingEvent};
    use domain::{BusinessId, ConversationId, MessageId, Timestamp, UserId};

    fn read(message_position: u64) -> ReadingEvent {
        ReadingEvent::Read(MessagesRead {
            conversation_id: ConversationId(Uuid::nil()),
            business_id: BusinessId(Uuid::nil()),
            reader_id: UserId(Uuid::nil()),
            sender_id: UserId(Uuid::nil()),
            message_id: MessageId(Uuid::nil()),
            message_position,
            read_at: Timestamp::from_unix_ms(0),
        })
    }

    fn loaded(version: u64) -> Arc<Loaded<Reading>> {
        let mut loaded = Loaded::default();
        for position in 1..=version {
            loaded.evolve(&read(position), Uuid::nil(), position);
        }
        Arc::new(loaded)
    }

    fn announce(cache: &StateCache<Reading>, version: u64) {
        cache.announce::<Infallible>("a", Uuid::nil(), version, version, || Ok(Some(read(version))));
    }

    #[test]
    fn the_log_keeps_what_is_remembered_current() {
        let cache = StateCache::new(10);
        cache.remember_read("a", &loaded(2), cache.mark("a"));
        announce(&cache, 3);
        assert_eq!(cache.get("a").unwrap().state.read_position, 3);
    }

    #[test]
    fn a_stream_that_is_remembered_to_be_empty_begins_when_the_log_says_so() {
        let cache = StateCache::new(10);
        cache.remember_read("a", &loaded(0), cache.mark("a"));
        announce(&cache, 1);
        assert_eq!(cache.get("a").unwrap().version, 1);
        cache.forget("a");
        let mark = cache.mark("a");
        announce(&cache, 1);
        cache.remember_read("a", &loaded(0), mark);
        assert!(cache.get("a").is_none(), "it may have begun while it was read");
    }

    #[test]
    fn an_event_seen_twice_counts_once() {
        let cache = StateCache::new(10);
        cache.remember_read("a", &loaded(3), cache.mark("a"));
        announce(&cache, 3);
        assert_eq!(cache.get("a").unwrap().version, 3);
    }

    #[test]
    fn a_state_with_a_gap_after_it_is_forgotten() {
        let cache = StateCache::new(10);
        cache.remember_read("a", &loaded(1), cache.mark("a"));
        announce(&cache, 3);
        assert!(cache.get("a").is_none());
    }

    #[test]
    fn what_went_on_while_it_was_read_is_not_remembered() {
        let cache = StateCache::new(10);
        let mark = cache.mark("a");
        announce(&cache, 2);
        cache.remember_read("a", &loaded(1), mark);
        assert!(cache.get("a").is_none());
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = StateCache::new(10);
        cache.remember("a", loaded(3));
        cache.remember("a", loaded(2));
        cache.update("a", &loaded(2));
        assert_eq!(cache.get("a").unwrap().version, 3);
    }

    #[test]
    fn what_was_appended_is_not_remembered_when_the_log_may_have_gone_on_unnoticed() {
        let cache = StateCache::new(10);
        // Somebody appends 7, another node 8; both are announced before the one who appended 7 gets here.
        announce(&cache, 7);
        announce(&cache, 8);
        cache.update("a", &loaded(7));
        assert!(cache.get("a").is_none());
    }
}
