//! Cache of stream states. Most commands read nothing because of it.

use std::any::Any;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Decider;
use event_store::Position;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use quick_cache::{Equivalent, Weighter};
use uuid::Uuid;

/// Counters that tell whether a stream may have changed while it was being read.
const MARKS: usize = 65_536;

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

/// Memory that the cache itself takes for a stream, in bytes, about: its key, its place and its counters.
const OVERHEAD_BYTES: usize = 160;

/// States by stream, of all aggregates, bounded by their memory.
pub(crate) struct StateCache {
    states: Cache<StreamKey, Cached, Bytes>,
    /// Counts the events seen, by hash of the stream.
    marks: Box<[AtomicU64]>,
}

/// The name of a stream.
#[derive(Clone, PartialEq, Eq, Hash)]
struct StreamKey {
    category: &'static str,
    id: Box<str>,
}

/// The name of a stream that is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct StreamName<'a> {
    category: &'static str,
    id: &'a str,
}

impl Equivalent<StreamKey> for StreamName<'_> {
    fn equivalent(&self, key: &StreamKey) -> bool {
        self.category == key.category && *self.id == *key.id
    }
}

impl<'a> StreamName<'a> {
    fn of<D: Decider>(id: &'a str) -> Self {
        Self { category: D::CATEGORY, id }
    }
}

impl From<StreamName<'_>> for StreamKey {
    fn from(name: StreamName<'_>) -> Self {
        Self { category: name.category, id: name.id.into() }
    }
}

/// The state of a stream: an `Arc<Loaded<D>>` of the aggregate that its category names.
#[derive(Clone)]
struct Cached {
    state: Arc<dyn Any + Send + Sync>,
    version: u64,
    /// Memory of the state, in bytes.
    bytes: usize,
}

impl Cached {
    fn of<D: Decider>(loaded: &Arc<Loaded<D>>) -> Self {
        let bytes = size_of::<Loaded<D>>() + loaded.state.heap_bytes() + OVERHEAD_BYTES;
        Self { state: loaded.clone(), version: loaded.version, bytes }
    }
}

/// Weighs states by their memory.
#[derive(Clone)]
struct Bytes;

impl Weighter<StreamKey, Cached> for Bytes {
    fn weight(&self, _: &StreamKey, cached: &Cached) -> u64 {
        cached.bytes as u64
    }
}

/// Counter of a stream before it was read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Mark(u64);

impl StateCache {
    /// A cache of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let states = usize::try_from(bytes).unwrap_or(usize::MAX) / (4 * OVERHEAD_BYTES);
        let marks = std::iter::repeat_with(AtomicU64::default).take(MARKS).collect();
        Self { states: Cache::with_weighter(states, bytes, Bytes), marks }
    }

    pub(crate) fn get<D: Decider>(&self, id: &str) -> Option<Arc<Loaded<D>>> {
        self.states.get(&StreamName::of::<D>(id))?.state.downcast().ok()
    }

    /// To be taken before a stream is read, and given to [`Self::remember_read`] after.
    pub(crate) fn mark<D: Decider>(&self, id: &str) -> Mark {
        Mark(self.counter(StreamName::of::<D>(id)).load(Ordering::SeqCst))
    }

    /// Remembers what was read, unless the stream may have gone on meanwhile without being noticed here.
    pub(crate) fn remember_read<D: Decider>(&self, id: &str, loaded: &Arc<Loaded<D>>, mark: Mark) {
        self.remember(id, loaded);
        if self.mark::<D>(id) != mark {
            self.forget::<D>(id);
        }
    }

    /// Goes on from a state that is remembered. One that isn't may have changed since unnoticed, so nothing begins here.
    pub(crate) fn update<D: Decider>(&self, id: &str, next: &Arc<Loaded<D>>) {
        let next = Cached::of(next);
        // The place of one that isn't remembered is left empty.
        self.states.entry(&StreamKey::from(StreamName::of::<D>(id)), None, |_, known| newer(known, &next));
    }

    /// Remembers a state, unless a newer one is known.
    fn remember<D: Decider>(&self, id: &str, loaded: &Arc<Loaded<D>>) {
        let (key, loaded) = (StreamKey::from(StreamName::of::<D>(id)), Cached::of(loaded));
        if let EntryResult::Vacant(place) = self.states.entry(&key, None, |_, known| newer(known, &loaded)) {
            // Refused when it was forgotten in this moment.
            let _ = place.insert(loaded);
        }
    }

    pub(crate) fn forget<D: Decider>(&self, id: &str) {
        self.states.remove(&StreamName::of::<D>(id));
    }

    /// Takes in an event that the log announces. Decodes it only if the stream is remembered.
    pub(crate) fn announce<D: Decider, E>(
        &self,
        id: &str,
        event_id: Uuid,
        version: u64,
        position: Position,
        decode: impl FnOnce() -> Result<D::Event, E>,
    ) {
        // First the counter, then the state: a reader does it the other way round, so one of the two notices the other.
        self.counter(StreamName::of::<D>(id)).fetch_add(1, Ordering::SeqCst);
        let Some(known) = self.get::<D>(id) else { return };
        if known.version >= version {
            return;
        }
        match decode() {
            Ok(event) if known.version + 1 == version => {
                let mut next = (*known).clone();
                next.evolve(&event, event_id, position);
                self.update(id, &Arc::new(next));
            }
            _ => self.forget::<D>(id),
        }
    }

    fn counter(&self, stream: StreamName<'_>) -> &AtomicU64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream);
        &self.marks[usize::try_from(hash % MARKS as u64).unwrap_or(0)]
    }
}

/// Puts a state in the place of an older one. The cache weighs it again afterwards.
fn newer(known: &mut Cached, next: &Cached) -> EntryAction<()> {
    if known.version < next.version {
        known.clone_from(next);
    }
    EntryAction::Retain(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use domain::business::Business;
    use domain::delivery::DeliveryCursors;
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

    fn announce(cache: &StateCache, version: u64) {
        cache.announce::<Reading, Infallible>("a", Uuid::nil(), version, version, || Ok(read(version)));
    }

    #[test]
    fn the_log_keeps_what_is_remembered_current() {
        let cache = StateCache::new(1_000_000);
        cache.remember_read("a", &loaded(2), cache.mark::<Reading>("a"));
        announce(&cache, 3);
        assert_eq!(cache.get::<Reading>("a").unwrap().state.read_position, 3);
    }

    #[test]
    fn a_stream_that_is_remembered_to_be_empty_begins_when_the_log_says_so() {
        let cache = StateCache::new(1_000_000);
        cache.remember_read("a", &loaded(0), cache.mark::<Reading>("a"));
        announce(&cache, 1);
        assert_eq!(cache.get::<Reading>("a").unwrap().version, 1);
        cache.forget::<Reading>("a");
        let mark = cache.mark::<Reading>("a");
        announce(&cache, 1);
        cache.remember_read("a", &loaded(0), mark);
        assert!(cache.get::<Reading>("a").is_none(), "it may have begun while it was read");
    }

    #[test]
    fn an_event_seen_twice_counts_once() {
        let cache = StateCache::new(1_000_000);
        cache.remember_read("a", &loaded(3), cache.mark::<Reading>("a"));
        announce(&cache, 3);
        assert_eq!(cache.get::<Reading>("a").unwrap().version, 3);
    }

    #[test]
    fn a_state_with_a_gap_after_it_is_forgotten() {
        let cache = StateCache::new(1_000_000);
        cache.remember_read("a", &loaded(1), cache.mark::<Reading>("a"));
        announce(&cache, 3);
        assert!(cache.get::<Reading>("a").is_none());
    }

    #[test]
    fn what_went_on_while_it_was_read_is_not_remembered() {
        let cache = StateCache::new(1_000_000);
        let mark = cache.mark::<Reading>("a");
        announce(&cache, 2);
        cache.remember_read("a", &loaded(1), mark);
        assert!(cache.get::<Reading>("a").is_none());
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = StateCache::new(1_000_000);
        cache.remember("a", &loaded(3));
        cache.remember("a", &loaded(2));
        cache.update("a", &loaded(2));
        assert_eq!(cache.get::<Reading>("a").unwrap().version, 3);
    }

    #[test]
    fn what_was_appended_is_not_remembered_when_the_log_may_have_gone_on_unnoticed() {
        let cache = StateCache::new(1_000_000);
        // Somebody appends 7, another node 8; both are announced before the one who appended 7 gets here.
        announce(&cache, 7);
        announce(&cache, 8);
        cache.update("a", &loaded(7));
        assert!(cache.get::<Reading>("a").is_none());
    }

    #[test]
    fn a_cache_holds_so_many_bytes_and_streams_of_one_name_are_told_apart() {
        let cache = StateCache::new(100_000);
        for n in 0..10_000 {
            cache.remember(&n.to_string(), &loaded(1));
        }
        assert!(cache.states.weight() <= 100_000);
        assert!(cache.states.len() > 100_000 / (2 * (size_of::<Loaded<Reading>>() + OVERHEAD_BYTES)));
        cache.remember("a", &loaded(2));
        assert!(cache.get::<Business>("a").is_none() && cache.get::<Reading>("a").is_some());
    }

    #[test]
    fn a_state_that_grows_weighs_more() {
        let cache = StateCache::new(100_000_000);
        let cursors = |version: u64, conversations: u128| {
            let positions = (0..conversations).map(|n| (ConversationId(Uuid::from_u128(n)), 1)).collect();
            Arc::new(Loaded { state: DeliveryCursors { positions, last_at: None }, version, ..Loaded::default() })
        };
        cache.remember("a", &cursors(1, 2));
        let before = cache.states.weight();
        cache.update("a", &cursors(2, 1000));
        assert_eq!(cache.get::<DeliveryCursors>("a").unwrap().version, 2);
        assert!(cache.states.weight() > before + 16_000);
    }
}
