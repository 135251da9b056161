//! Brings a connection up to date: from where its client was, page by page out of the feed, to where it joins what is live.
//!
//! It joins like this. What is live is kept from some position on; what came before that is read from the feed, once the feed has
//! come that far; then what is kept goes out, and the connection is live. Whatever is in both goes out once, since a connection
//! knows how far it is.

use std::sync::Arc;
use std::time::Duration;

use commands::Error;
use domain::{BusinessId, Known, MessageId, UserId};
use event_store::{EventStore, Position, RecordedEvent, StoreError};
use projections::messaging::MessagingQueries;
use projections::{NotThereYet, QueryError, ReadModel};

use super::Shared;
use super::closing::Closing;
use super::connection::{Connection, Replayed};
use super::feed_event::{Fact, FeedEvent, Told};
use super::outgoing::Outgoing;
use super::payloads::UsersOnline;
use crate::error::ApiError;
use crate::fair_queue::{Crowded, FairQueue, FairTurn, Room};

/// Events that are read at once.
const PAGE_EVENTS: u32 = 100;
/// Pages that a node reads at the same time: a storm of clients that come back leaves those who send their share.
const READERS: usize = 2;
/// Users who poll that a node answers at the same time: one request of each.
const POLLS: usize = 32;
/// Maximum readers that wait for a page, and for an answer to a poll. Those who wait for pages are connections, which are bounded elsewhere.
const WAITING_READERS: Room = Room { member: 64, group: 100_000 };
const WAITING_POLLS: Room = Room { member: 8, group: 1000 };
/// Events that are taken from the log at once.
const READ_AT_ONCE: usize = 50;
/// Bytes of events on a page; it ends with the event that exceeds them.
const PAGE_BYTES: usize = 512 * 1024;
/// Time to wait for the feed to reach the live position.
const FEED_PATIENCE: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Reads the feed on behalf of those who were away.
pub(super) struct Replays {
    readers: FairQueue<BusinessId, UserId>,
    polls: FairQueue<BusinessId, UserId>,
}

/// Some of what somebody has missed.
pub(super) struct Missed {
    pub(super) events: Vec<Outgoing>,
    /// The place after them.
    pub(super) position: Position,
    /// True if there are no more, as far as the feed has come.
    pub(super) is_all: bool,
    /// True if the missed events are unknown: the feed does not reach back that far, or never got to the client's position.
    pub(super) is_reset: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Feed(#[from] QueryError),
    #[error(transparent)]
    Behind(#[from] NotThereYet),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commands(#[from] Error),
    #[error(transparent)]
    Crowded(#[from] Crowded),
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Feed(error) => error.into(),
            ReplayError::Behind(_) => ApiError::unavailable(),
            ReplayError::Store(error) => Error::from(error).into(),
            ReplayError::Commands(error) => error.into(),
            ReplayError::Crowded(_) => {
                Self::too_many("Too many requests for events of yours at once: wait for their answers")
            }
        }
    }
}

impl Replays {
    pub(super) fn new() -> Self {
        Self { readers: FairQueue::new(READERS), polls: FairQueue::new(POLLS) }
    }

    /// Waits until no other poll of this user is answered.
    pub(super) async fn poll_turn(
        &self,
        business: BusinessId,
        person: UserId,
    ) -> Result<FairTurn<BusinessId, UserId>, ReplayError> {
        Ok(self.polls.turn(business, person, WAITING_POLLS).await?)
    }

    /// Returns missed events since a position, at most `limit` events of the log.
    pub(super) async fn missed(
        &self,
        shared: &Shared,
        business: BusinessId,
        person: UserId,
        since: Position,
        limit: u32,
    ) -> Result<Missed, ReplayError> {
        let reader = self.readers.turn(business, person, WAITING_READERS).await?;
        let api = &shared.api;
        let page = api.read_models.feed.queries.after(person, since, limit).await?;
        // A place that the log has never got to is one of another log.
        let is_unknown = since > page.head && since > api.store.head().await?;
        if since < page.horizon || is_unknown {
            return Ok(Missed { events: vec![], position: page.head, is_all: true, is_reset: true });
        }
        let recorded = read_some(&*api.store, &page.positions).await?;
        // What can't be read is parked by the feed, and so isn't in it.
        let facts = recorded.iter().filter_map(|event| Some((event.position, FeedEvent::of(event).ok()??)));
        let mut facts: Vec<(Position, FeedEvent)> = facts.collect();
        // Whoever waits for something else keeps nobody from reading.
        drop(reader);
        as_they_are_now(&api.read_models.messaging, page.head, &mut facts).await?;
        let mut events = Vec::with_capacity(facts.len());
        for (position, fact) in &facts {
            events.extend(fact.for_person(person, *position, Told::Later, &api.commands).await?);
        }
        let is_all = recorded.len() == page.positions.len() && page.positions.len() < limit as usize;
        let last = recorded.last().map_or(since, |event| event.position);
        let position = if is_all { page.head.max(since) } else { last };
        Ok(Missed { events, position, is_all, is_reset: false })
    }
}

/// Reads the events at these positions, up to so many bytes of them.
async fn read_some(store: &dyn EventStore, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
    let (mut events, mut bytes) = (Vec::with_capacity(positions.len()), 0);
    for chunk in positions.chunks(READ_AT_ONCE) {
        let read = store.read_at(chunk).await?;
        let is_whole = read.len() == chunk.len();
        for event in read {
            bytes += event.data.len();
            events.push(event);
            if bytes > PAGE_BYTES {
                return Ok(events);
            }
        }
        if !is_whole {
            break;
        }
    }
    Ok(events)
}

/// Makes of messages what has become of them since: what was deleted is never said again.
async fn as_they_are_now(
    messaging: &ReadModel<MessagingQueries>,
    head: Position,
    facts: &mut [(Position, FeedEvent)],
) -> Result<(), ReplayError> {
    let ids: Vec<MessageId> = facts.iter().filter_map(|(_, fact)| fact.message_id()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    // What the feed knows of, the messages have to know of too: an event that deletes one may already be behind its reader.
    messaging.checkpoint.reached(head, FEED_PATIENCE).await?;
    let changed = messaging.queries.changed(&ids).await?;
    for (_, fact) in facts {
        match &mut fact.fact {
            Fact::Message(message) => {
                let Some(now) = changed.get(&message.sent.message_id) else { continue };
                message.is_deleted = now.is_deleted;
                message.is_edited = !now.is_deleted;
                message.sent.content.value = known(now.content.clone());
                if now.is_deleted {
                    message.sent.attachments.clear();
                }
            }
            Fact::Edited(edited) => {
                if let Some(now) = changed.get(&edited.message_id) {
                    edited.content.value = known(now.content.clone());
                }
            }
            Fact::Deleted(_) | Fact::Read(_) | Fact::Delivered(_) | Fact::Call(_) => {}
        }
    }
    Ok(())
}

fn known(content: Option<String>) -> Known<String> {
    content.map_or(Known::Erased, Known::Value)
}

/// Brings a connection up to date, from a position on. Ends when it is, or when it is closed.
pub(super) async fn bring_up_to_date(shared: Arc<Shared>, connection: Arc<Connection>, since: Position) {
    connection.set_cursor(since);
    match catch_up(&shared, &connection, since).await {
        Replayed::Sent | Replayed::Closed => {}
        Replayed::Stalled => shared.connections.close(&connection, Closing::TooSlow),
    }
}

async fn catch_up(shared: &Shared, connection: &Connection, mut since: Position) -> Replayed {
    // Up to where what is live isn't kept; unknown as long as nothing is.
    let mut kept_from = None;
    loop {
        if connection.is_closed() {
            return Replayed::Closed;
        }
        let missed =
            match shared.replays.missed(shared, connection.business_id, connection.person, since, PAGE_EVENTS).await {
                Ok(missed) => missed,
                Err(error) => {
                    tracing::warn!(%error, "reading the feed for a connection failed; retrying");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            };
        let reset = missed.is_reset.then(|| Outgoing::place("feed:reset", missed.position));
        for event in missed.events.iter().chain(&reset) {
            match connection.replay(event).await {
                Replayed::Sent => {}
                stopped => return stopped,
            }
        }
        if missed.is_reset {
            connection.set_cursor(missed.position);
        }
        since = connection.advance(missed.position);
        if !missed.is_all {
            continue;
        }
        let from = *kept_from.get_or_insert_with(|| shared.connections.keep_for(connection));
        if since < from {
            // Late is better than never: it is read again in any case.
            let _ = shared.api.read_models.feed.checkpoint.reached(from, FEED_PATIENCE).await;
            continue;
        }
        if go_live(shared, connection).await.is_ok() {
            return Replayed::Sent;
        }
        // More has happened meanwhile than is kept, or there is no room for it. Some of it may have gone out.
        kept_from = None;
        since = connection.advance(since);
        match connection.replay(&Outgoing::place("feed:heartbeat", since)).await {
            Replayed::Sent => {}
            stopped => return stopped,
        }
    }
}

/// Makes a connection live whose events are kept. Before that it is told who is online: whoever comes or goes from now on is kept too.
pub(super) async fn go_live(shared: &Shared, connection: &Connection) -> Result<(), Position> {
    connection.replay(&who_is_online(shared, connection)).await;
    connection.go_live()
}

pub(super) fn who_is_online(shared: &Shared, connection: &Connection) -> Outgoing {
    let users = shared.presence.online(connection.business_id).iter().map(ToString::to_string).collect();
    Outgoing::passing("users:online", UsersOnline { users })
}
