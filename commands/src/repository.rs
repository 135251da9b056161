//! Loading streams, deciding, appending.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::{Decider, DomainEvent, Visitor, visit};
use event_store::{
    Append, AppendError, Delivery, EventStore, Expected, Metadata, NewEvent, Position, RecordedEvent, StreamId, codec,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::Error;
use crate::ports::Ids;
use crate::state_cache::{Loaded, StateCache};

/// Maximum attempts after version conflicts.
const ATTEMPTS: usize = 10;
/// Maximum memory of the cached states, in bytes: those of some 200,000 users and sessions.
const CACHE_BYTES: u64 = 128 * 1024 * 1024;
/// Events of a stream that are read at once.
const PAGE_EVENTS: usize = 1000;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const CHANGES_TOO_FAST: Error = Error::Conflict(Cow::Borrowed("somebody else keeps changing this at the same time"));

/// A rule stood against a command, or the log couldn't be used.
#[derive(Debug)]
pub(crate) enum Refusal<E> {
    /// The rule.
    Rule(E),
    /// Anything else.
    Other(Error),
}

impl<E> From<Error> for Refusal<E> {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl<E> From<AppendError> for Refusal<E> {
    fn from(error: AppendError) -> Self {
        Self::Other(error.into())
    }
}

/// Result of creating a stream.
pub(crate) enum Created<D> {
    /// It begins now.
    New(Loaded<D>),
    /// It had begun already; this is how it stands.
    Existing(Loaded<D>),
}

/// All streams, by way of a cache of their states.
pub(crate) struct Repository {
    store: Arc<dyn EventStore>,
    ids: Arc<dyn Ids>,
    states: StateCache,
    /// Position up to which every cached state is current.
    followed: watch::Sender<Position>,
}

impl Repository {
    pub(crate) fn new(store: Arc<dyn EventStore>, ids: Arc<dyn Ids>) -> Self {
        Self { store, ids, states: StateCache::new(CACHE_BYTES), followed: watch::Sender::new(0) }
    }

    /// Position of the last event in the log.
    pub(crate) async fn head(&self) -> Result<Position, Error> {
        Ok(self.store.head().await?)
    }

    /// The state of a stream: what is remembered, or else what the log says.
    pub(crate) async fn load<D: Decider>(&self, id: &str) -> Result<Arc<Loaded<D>>, Error> {
        match self.states.get::<D>(id) {
            Some(loaded) => Ok(loaded),
            None => self.read::<D>(id).await,
        }
    }

    /// Reads a stream and remembers it. That it is empty is worth remembering too: a conversation that nobody has read is asked about
    /// with every message in it.
    pub(crate) async fn read<D: Decider>(&self, id: &str) -> Result<Arc<Loaded<D>>, Error> {
        let mark = self.states.mark::<D>(id);
        let loaded = Arc::new(self.replay::<D>(id).await?);
        self.states.remember_read(id, &loaded, mark);
        Ok(loaded)
    }

    /// The events of a stream after a version, as they are kept.
    pub(crate) async fn read_events(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, Error> {
        Ok(self.store.read_stream(stream, after, limit).await?)
    }

    /// Reads a stream that is not worth remembering.
    pub(crate) async fn replay<D: Decider>(&self, id: &str) -> Result<Loaded<D>, Error> {
        let stream = StreamId::new(D::CATEGORY, id);
        let mut loaded = Loaded::default();
        loop {
            let page = self.store.read_stream(&stream, loaded.version, PAGE_EVENTS).await?;
            if page.is_empty() {
                return Ok(loaded);
            }
            for recorded in &page {
                loaded.evolve(&decode::<D>(recorded)?, recorded.event_id, recorded.position);
            }
            // The stream of a single short page has no more, and asking again would cost as much as the page.
            if page.len() < PAGE_EVENTS && page.iter().map(|event| event.data.len()).sum::<usize>() < 1024 * 1024 {
                return Ok(loaded);
            }
        }
    }

    /// Lets the domain decide, appends what it decided, and decides anew when somebody else was faster. Returns the state after.
    pub(crate) async fn execute<D: Decider>(
        &self,
        id: &str,
        command: D::Command,
        metadata: &Metadata,
    ) -> Result<Arc<Loaded<D>>, Refusal<D::Error>> {
        let mut loaded = self.load::<D>(id).await?;
        let mut is_fresh = false;
        for _ in 0..ATTEMPTS {
            let events = match loaded.state.decide(command.clone()) {
                Ok(events) if !events.is_empty() => events,
                Ok(_) if is_fresh => return Ok(loaded),
                Err(rule) if is_fresh => return Err(Refusal::Rule(rule)),
                // What is remembered may be a moment old: that nothing is left to do, or that a rule forbids it, only counts if
                // the log agrees. An append would find out by itself.
                Ok(_) | Err(_) => {
                    loaded = self.read::<D>(id).await?;
                    is_fresh = true;
                    continue;
                }
            };
            match self.append(&loaded, id, &events, metadata).await {
                Ok(next) => {
                    let next = Arc::new(next);
                    self.states.update(id, &next);
                    return Ok(next);
                }
                Err(AppendError::Conflict(_)) => {
                    self.states.forget::<D>(id);
                    loaded = self.read::<D>(id).await?;
                    is_fresh = true;
                }
                Err(error) => return Err(Refusal::from(error)),
            }
        }
        Err(Refusal::Other(CHANGES_TOO_FAST))
    }

    /// As [`Self::execute`], on a stream that is not worth remembering: it is read each time.
    pub(crate) async fn execute_on_log<D: Decider>(
        &self,
        id: &str,
        command: D::Command,
        metadata: &Metadata,
    ) -> Result<Loaded<D>, Refusal<D::Error>> {
        for _ in 0..ATTEMPTS {
            let loaded = self.replay::<D>(id).await?;
            let events = loaded.state.decide(command.clone()).map_err(Refusal::Rule)?;
            if events.is_empty() {
                return Ok(loaded);
            }
            match self.append(&loaded, id, &events, metadata).await {
                Ok(next) => return Ok(next),
                Err(AppendError::Conflict(_)) => {}
                Err(error) => return Err(Refusal::from(error)),
            }
        }
        Err(Refusal::Other(CHANGES_TOO_FAST))
    }

    /// Begins a new stream without looking whether there is one: the append finds out.
    pub(crate) async fn create<D: Decider>(
        &self,
        id: &str,
        command: D::Command,
        metadata: &Metadata,
    ) -> Result<Created<D>, Refusal<D::Error>> {
        let none = Loaded::<D>::default();
        let events = none.state.decide(command).map_err(Refusal::Rule)?;
        match self.append(&none, id, &events, metadata).await {
            Ok(loaded) => Ok(Created::New(loaded)),
            Err(AppendError::Conflict(_)) => Ok(Created::Existing(self.replay::<D>(id).await?)),
            Err(error) => Err(Refusal::from(error)),
        }
    }

    async fn append<D: Decider>(
        &self,
        loaded: &Loaded<D>,
        id: &str,
        events: &[D::Event],
        metadata: &Metadata,
    ) -> Result<Loaded<D>, AppendError> {
        let encode = |event: &D::Event| -> NewEvent {
            codec::encode(self.ids.next(), event.event_type(), event.schema_version(), event)
        };
        let append = Append {
            stream: StreamId::new(D::CATEGORY, id),
            expected: Expected::after(loaded.version),
            metadata: metadata.clone(),
            events: events.iter().map(encode).collect(),
        };
        let ids: Vec<Uuid> = append.events.iter().map(|event| event.event_id).collect();
        let appended = self.store.append(append).await?;
        let mut next = loaded.clone();
        for (event, id) in events.iter().zip(ids) {
            next.evolve(event, id, appended.position);
        }
        Ok(next)
    }

    /// Keeps what is remembered current. Never returns.
    pub(crate) async fn follow_log(&self, after: Position) -> Infallible {
        let mut subscription = self.store.subscribe(after);
        self.followed.send_replace(after);
        loop {
            match subscription.next().await {
                Ok(Delivery::Events(batch)) => {
                    batch.iter().for_each(|event| self.announce(event));
                    if let Some(last) = batch.last() {
                        self.followed.send_replace(last.position);
                    }
                }
                Ok(Delivery::CaughtUp(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "following the log failed; retrying");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Waits until every cached state contains the events up to `position`.
    pub(crate) async fn followed(&self, position: Position) {
        // The channel can't be closed: its sender is in `self`.
        let _ = self.followed.subscribe().wait_for(|followed| *followed >= position).await;
    }

    fn announce(&self, event: &RecordedEvent) {
        if visit(event.stream.category(), &mut Announce { states: &self.states, event }).is_none() {
            tracing::debug!(category = event.stream.category(), "ignored an event of a newer version");
        }
    }
}

/// Brings the cached state of an event's stream up to that event.
struct Announce<'a> {
    states: &'a StateCache,
    event: &'a RecordedEvent,
}

impl Visitor for Announce<'_> {
    type Output = ();

    fn visit<D: Decider>(&mut self) {
        let RecordedEvent { stream, event_id, stream_version, position, .. } = self.event;
        let decode = || decode::<D>(self.event);
        self.states.announce::<D, _>(stream.id(), *event_id, *stream_version, *position, decode);
    }
}

/// The fact in an event of a stream of `D`.
pub(crate) fn decode<D: Decider>(recorded: &RecordedEvent) -> Result<D::Event, Error> {
    codec::decode(recorded, |event_type, json| D::Event::deserialize(event_type, json))?.ok_or_else(|| {
        Error::Internal(format!("unknown event type {} in stream {}", recorded.event_type, recorded.stream).into())
    })
}
