//! Reading the log.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventstore::{Position as Place, ReadStream, StreamPosition, SubscriptionFilter};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::connection::{Connection, PATIENCE, READ_TIME, Session, within};
use super::failure::Failure;
use super::record::{position, recorded};
use crate::{Appended, Position, RecordedEvent, StoreError, StreamId};

/// A page ends when its data has reached this size, in bytes, however few events it has then.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Beyond this there is no place in any log. The very last numbers mean its end to the server.
pub(super) const FURTHEST: u64 = i64::MAX.cast_unsigned() - 1;
/// Events that the server looks at before it says how far it has looked, whether or not any of them passes the filter. Left to
/// itself, it says so every 32 events.
const WINDOW: u32 = 1000;
/// Events that are looked at in one go for the last of ours.
const LOOK_BACK: usize = 16;
/// Single events that are asked for at the same time.
const AT_ONCE: usize = 8;

/// Reads the log, and remembers how far it has been seen to go.
pub(super) struct Reader {
    pub(super) connection: Connection,
    /// The last position of ours that this process knows of. The log never gets shorter, so it may be old but not wrong.
    seen: AtomicU64,
}

/// A piece of the log.
#[derive(Default)]
struct Page {
    events: Vec<RecordedEvent>,
    bytes: usize,
    /// Position at which the log continues.
    end: Position,
    /// True if there was nothing more.
    is_last: bool,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, seen: AtomicU64::new(0) }
    }

    /// There is an event of ours at this position; how far the log is known to go.
    pub(super) fn saw(&self, position: Position) -> Position {
        self.seen.fetch_max(position, Ordering::Relaxed).max(position)
    }

    pub(super) async fn head(&self) -> Result<Position, StoreError> {
        self.find_head(PATIENCE, "reading the head").await
    }

    /// Position of the last event of ours, looked for from the end of the log. What is known already is never looked at again.
    pub(super) async fn find_head(&self, patience: Duration, attempted: &'static str) -> Result<Position, StoreError> {
        let seen = self.seen.load(Ordering::Relaxed);
        let head = self.connection.retrying(patience, attempted, |session| last_after(session, seen)).await?;
        Ok(self.saw(head))
    }

    pub(super) async fn read_stream(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        if limit == 0 || after > FURTHEST {
            return Ok(vec![]);
        }
        let read = |session| stream_page(session, stream, after, limit);
        self.connection.retrying(PATIENCE, "reading a stream", read).await
    }

    pub(super) async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        if limit == 0 || after > FURTHEST {
            return Ok(vec![]);
        }
        let mut page = Page { end: after, ..Page::default() };
        // More than once only where others' events were among them.
        while page.events.len() < limit && page.bytes < PAGE_BYTES && !page.is_last {
            let (after, limit) = (page.end, limit - page.events.len());
            let next =
                self.connection.retrying(PATIENCE, "reading the log", |session| next_page(session, after, limit));
            let next = next.await?;
            page.events.extend(next.events);
            page = Page { events: page.events, bytes: page.bytes + next.bytes, ..next };
        }
        if let Some(last) = page.events.last() {
            self.saw(last.position);
        }
        Ok(page.events)
    }

    pub(super) async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
        let reads = positions.iter().copied().map(|at| {
            let read = move |session| event_at(session, at);
            self.connection.retrying(PATIENCE, "reading some events", read)
        });
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        let (mut events, mut bytes) = (vec![], 0);
        while let Some(event) = reads.try_next().await? {
            let Some(event) = event else { continue };
            bytes += event.data.len();
            events.push(event);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(events)
    }

    /// Returns what an append of these events has answered, if they are the events of the stream after a version; none if they are
    /// not.
    pub(super) async fn events_are(
        &self,
        stream: &StreamId,
        after: u64,
        event_ids: &[Uuid],
    ) -> Result<Option<Appended>, StoreError> {
        let read = |session| written(session, stream, after, event_ids);
        self.connection.retrying(PATIENCE, "looking for an earlier append", read).await
    }
}

/// Only what isn't the server's own: it writes events itself, about itself, to streams whose names begin with `$`.
pub(super) fn ours() -> SubscriptionFilter {
    SubscriptionFilter::on_stream_name().exclude_system_events().max(WINDOW)
}

/// The place in the log that is at, or after which is, a position.
pub(super) fn place(position: Position) -> StreamPosition<Place> {
    match position {
        0 => StreamPosition::Start,
        position => {
            let position = position.min(FURTHEST);
            StreamPosition::Position(Place { commit: position, prepare: position })
        }
    }
}

/// Hands on what is read until that is enough.
async fn each(
    mut stream: ReadStream,
    mut take: impl FnMut(eventstore::RecordedEvent) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    while let Some(read) = within(READ_TIME, stream.next()).await? {
        if let Some(event) = read.event
            && take(event)?.is_break()
        {
            break;
        }
    }
    Ok(())
}

/// The events of the log after a position. The server begins with the event at that position, if there is one.
async fn next_page(session: Session, after: Position, limit: usize) -> Result<Page, Failure> {
    let count = limit.saturating_add(1);
    let options = session.read_all_options().position(place(after)).filter(ours()).max_count(count);
    let stream = within(READ_TIME, session.client.read_all(&options)).await?;
    let mut page = Page { end: after, ..Page::default() };
    let mut looked_at = 0;
    each(stream, |event| {
        looked_at += 1;
        if event.position.commit <= after {
            return Ok(ControlFlow::Continue(()));
        }
        page.end = event.position.commit;
        if let Some(event) = recorded(event)? {
            page.bytes += event.data.len();
            page.events.push(event);
        }
        Ok(enough(page.events.len() >= limit || page.bytes >= PAGE_BYTES))
    })
    .await?;
    page.is_last = looked_at < count && page.events.len() < limit && page.bytes < PAGE_BYTES;
    Ok(page)
}

async fn stream_page(
    session: Session,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<RecordedEvent>, Failure> {
    let options = session.read_stream_options().position(StreamPosition::Position(after)).max_count(limit);
    let (mut events, mut bytes) = (vec![], 0);
    let read = each(within(READ_TIME, session.client.read_stream(stream.as_str(), &options)).await?, |event| {
        if let Some(event) = recorded(event)? {
            bytes += event.data.len();
            events.push(event);
        }
        Ok(enough(bytes >= PAGE_BYTES))
    });
    unless_there_is_no_stream(read.await)?;
    Ok(events)
}

async fn written(
    session: Session,
    stream: &StreamId,
    after: u64,
    event_ids: &[Uuid],
) -> Result<Option<Appended>, Failure> {
    let options = session.read_stream_options().position(StreamPosition::Position(after)).max_count(event_ids.len());
    let (mut found, mut last) = (vec![], None);
    let read = each(within(READ_TIME, session.client.read_stream(stream.as_str(), &options)).await?, |event| {
        found.push(event.id);
        last = Some(Appended { position: position(&event)?, stream_version: event.revision + 1 });
        Ok(ControlFlow::Continue(()))
    });
    unless_there_is_no_stream(read.await)?;
    Ok(last.filter(|_| found == event_ids))
}

/// The event at exactly this position.
async fn event_at(session: Session, at: Position) -> Result<Option<RecordedEvent>, Failure> {
    if at == 0 || at > FURTHEST {
        return Ok(None);
    }
    let options = session.read_all_options().position(place(at)).max_count(1);
    let mut found = None;
    let read = async {
        each(within(READ_TIME, session.client.read_all(&options)).await?, |event| {
            if event.position.commit == at {
                found = recorded(event)?;
            }
            Ok(ControlFlow::Break(()))
        })
        .await
    };
    match read.await {
        Err(failure) if failure.is_invalid_place() => Ok(None),
        Err(failure) => Err(failure),
        Ok(()) => Ok(found),
    }
}

/// The last event of ours, if it is after a position; else that position.
async fn last_after(session: Session, seen: Position) -> Result<Position, Failure> {
    let mut from = StreamPosition::End;
    loop {
        let options = session.read_all_options().position(from).backwards().filter(ours()).max_count(LOOK_BACK);
        let stream = within(READ_TIME, session.client.read_all(&options)).await?;
        let (mut head, mut furthest) = (None, None);
        each(stream, |event| {
            furthest = Some(event.position);
            head =
                if event.position.commit <= seen { Some(seen) } else { recorded(event)?.map(|event| event.position) };
            Ok(enough(head.is_some()))
        })
        .await?;
        match (head, furthest) {
            (Some(head), _) => return Ok(head),
            // All of them were others'.
            (None, Some(furthest)) => from = StreamPosition::Position(furthest),
            (None, None) => return Ok(seen),
        }
    }
}

fn enough(is_enough: bool) -> ControlFlow<()> {
    if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A stream that nobody has written to has no events, and isn't there.
fn unless_there_is_no_stream(read: Result<(), Failure>) -> Result<(), Failure> {
    match read {
        Err(Failure::Refused(eventstore::Error::ResourceNotFound)) => Ok(()),
        read => read,
    }
}
