//! Reading the history: who may, what is noted of it, and what an aggregate was at some moment.

use std::borrow::Cow;
use std::sync::Arc;

use domain::audit::{AuditCommand, AuditRead, AuditTrail, AuditedThing};
use domain::business::BusinessError;
use domain::{BusinessId, Decider, PermissionError, Timestamp, Visitor, visit};
use event_store::{EventStore, Metadata, Position, RecordedEvent, StreamId};
use serde_json::Value;
use uuid::Uuid;

use crate::caller::by_the_system;
use crate::readings::{Reading, Readings, TooManyQueries};
use crate::repository::{Created, Repository, decode};
use crate::{Clock, Commands, Done, Error, Ids, Request};

/// Events of a stream that are read at once.
const PAGE_EVENTS: usize = 1000;
const NO_SUCH_STREAM: Error = Error::NotFound(Cow::Borrowed("stream not found"));

/// A query of the history. Pages of one query are the same query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryRead {
    /// Business whose history is read; none for all that the reader may see.
    pub business: Option<BusinessId>,
    /// How.
    pub what: AuditedThing,
    /// Filters, in their canonical form: values that were parsed, and never what was sent.
    pub query: Option<String>,
}

/// Up to when a stream is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Up to a position, and including it.
    Position(Position),
    /// Up to a moment, and including it.
    Time(Timestamp),
}

/// State of an aggregate in the past.
#[derive(Clone, Debug, PartialEq)]
pub struct PastState {
    /// Its state, as JSON.
    pub state: Value,
    /// The last event that has made it what it was.
    pub last: RecordedEvent,
}

impl Until {
    fn includes(self, event: &RecordedEvent) -> bool {
        match self {
            Self::Position(position) => event.position <= position,
            Self::Time(time) => Timestamp::from(event.recorded_at) <= time,
        }
    }
}

impl Commands {
    /// Records that the caller reads some of the history, before anything is read. Returns the business whose history it is, and the
    /// head of the log, up to which the answer goes.
    ///
    /// The first reading of a query is an event at once. Further ones of the same reader within a minute are counted, and summed up in
    /// one event by [`Self::sum_up_readings`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the caller neither administers nor audits; [`Error::NotFound`] when the caller may not see the
    /// business; [`Error::TooMany`] after too many different queries within a minute.
    pub async fn read_history(
        &self,
        request: &Request,
        reading: HistoryRead,
    ) -> Result<Done<Option<BusinessId>>, Error> {
        let caller = &request.caller;
        if !caller.role.may_administer() {
            return Err(Error::rule(&PermissionError::ReadHistory));
        }
        if let Some(business) = reading.business
            && (!caller.role.may_see(caller.business_id, business)
                || self.business(business).await?.state.registered().is_none())
        {
            return Err(Error::rule(&BusinessError::NoSuchBusiness));
        }
        let business = if caller.role.is_system() { reading.business } else { Some(caller.business_id) };
        let head = self.repository.head().await?;
        let reading = Reading { by: *caller, what: HistoryRead { business, ..reading } };
        let once = Readings::once(self.clock.now());
        let recorded = self.readings.recorded(&reading, self.clock.now());
        let recorded = recorded.map_err(|TooManyQueries| {
            Error::TooMany("too many different queries of the history: try again in a minute".into())
        })?;
        let mut is_first = false;
        let first = async || {
            is_first = true;
            self.record_reading(&reading, request.correlation_id, once).await
        };
        recorded.get_or_try_init(first).await?;
        if !is_first {
            self.readings.count(reading, once);
        }
        Ok(Done { value: business, position: head })
    }

    /// Records the readings that were only counted, of queries that were first read more than a minute ago; all of them when the server
    /// stops. To be called every few seconds.
    pub async fn sum_up_readings(&self, is_stopping: bool) {
        for (reading, readings) in self.readings.take_due(self.clock.now(), is_stopping) {
            if let Err(error) = self.record_reading(&reading, self.ids.next(), readings).await {
                tracing::warn!(%error, reader = %reading.by.user_id, reads = readings.reads, "recording readings of the history failed; retrying");
                self.readings.count(reading, readings);
            }
        }
    }

    async fn record_reading(&self, reading: &Reading, correlation_id: Uuid, readings: Readings) -> Result<(), Error> {
        let Reading { by, what } = reading;
        let request = Request { caller: *by, correlation_id };
        let metadata = request.metadata(what.business.unwrap_or(by.business_id));
        let read = readings.event(Some(by.user_id), what.clone());
        self.done((), record(&self.repository, self.ids.next(), read, &metadata).await?);
        Ok(())
    }

    /// Makes sure that the caller may see a stream: whatever is in it is of one business.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such stream, or none that the caller may see.
    pub async fn must_see_stream(&self, request: &Request, stream: &StreamId) -> Result<BusinessId, Error> {
        let first = self.repository.read_events(stream, 0, 1).await?;
        let business = first.first().map(|event| BusinessId(event.metadata.business_id)).ok_or(NO_SUCH_STREAM)?;
        let caller = &request.caller;
        if caller.role.may_see(caller.business_id, business) { Ok(business) } else { Err(NO_SUCH_STREAM) }
    }

    /// Returns the past state of a stream, by replay of its rules; none if it was empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] when this program knows no such aggregates; when the log can't be used, or read.
    pub async fn state_of(&self, stream: &StreamId, until: Until) -> Result<Option<PastState>, Error> {
        let mut folding = visit(stream.category(), &mut Begin).ok_or(NO_SUCH_STREAM)?;
        let mut last: Option<RecordedEvent> = None;
        loop {
            let after = last.as_ref().map_or(0, |event| event.stream_version);
            let page = self.repository.read_events(stream, after, PAGE_EVENTS).await?;
            let count = page.len();
            let included: Vec<RecordedEvent> = page.into_iter().take_while(|event| until.includes(event)).collect();
            for event in &included {
                folding.take_in(event)?;
            }
            // Both times and positions only go on.
            let is_over = count == 0 || included.len() < count;
            last = included.into_iter().next_back().or(last);
            if is_over {
                break;
            }
        }
        last.map(|last| Ok(PastState { state: folding.state()?, last })).transpose()
    }
}

/// Records that an operator at the command line reads some of the history. Returns the position of that event, which the answer ends
/// before.
///
/// # Errors
/// If the log is unavailable.
pub async fn read_history_as_operator(
    store: Arc<dyn EventStore>,
    clock: &dyn Clock,
    ids: Arc<dyn Ids>,
    read: HistoryRead,
) -> Result<Position, Error> {
    let metadata = by_the_system(read.business.unwrap_or(BusinessId::SYSTEM), ids.next());
    let id = ids.next();
    record(&Repository::new(store, ids), id, Readings::once(clock.now()).event(None, read), &metadata).await
}

async fn record(repository: &Repository, id: Uuid, read: AuditRead, metadata: &Metadata) -> Result<Position, Error> {
    let recorded = repository.create::<AuditTrail>(&id.to_string(), AuditCommand::Note(read), metadata).await;
    match recorded? {
        Created::New(recorded) | Created::Existing(recorded) => Ok(recorded.position),
    }
}

/// The state of an aggregate, whichever it is, while it takes in what has happened to it.
trait Folding: Send {
    fn take_in(&mut self, event: &RecordedEvent) -> Result<(), Error>;
    fn state(&self) -> Result<Value, Error>;
}

struct Fold<D>(D);

impl<D: Decider> Folding for Fold<D> {
    fn take_in(&mut self, event: &RecordedEvent) -> Result<(), Error> {
        self.0.evolve(&decode::<D>(event)?);
        Ok(())
    }

    fn state(&self) -> Result<Value, Error> {
        serde_json::to_value(&self.0).map_err(|error| Error::Internal(error.into()))
    }
}

/// Begins with an aggregate to which nothing has happened.
struct Begin;

impl Visitor for Begin {
    type Output = Box<dyn Folding>;

    fn visit<D: Decider>(&mut self) -> Box<dyn Folding> {
        Box::new(Fold(D::default()))
    }
}
