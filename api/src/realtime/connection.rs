//! One connection, whatever its transport, and the one rule of it: everything durable goes out once and in order, or the
//! connection ends.
//!
//! A connection is live, or it is behind. What a live one has no room for is not lost and doesn't end it: it falls behind, and a
//! [replay](super::replay) brings it back from where it was, at the pace of its client.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commands::Caller;
use domain::{BusinessId, SessionId, Timestamp, UserId};
use event_store::Position;
use tokio::time::Instant;

use super::closing::Closing;
use super::frames::{Frame, Frames, Full};
use super::handed_over::HandedOver;
use super::outgoing::Outgoing;
use super::socket_io::Outbox;
use super::stream::{Cutter, Streams};

/// Live events that are kept for a connection that is being brought up to them, and their bytes.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 512 * 1024;
/// Time for which a client may make no room at all before it is disconnected.
const PATIENCE: Duration = Duration::from_secs(20);
/// First and maximum pause before looking again for room at a client.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// Time that a disconnected client gets to notice before its stream is cut.
const FAREWELL: Duration = Duration::from_secs(1);

/// One connection.
pub(super) struct Connection {
    pub(super) person: UserId,
    pub(super) business_id: BusinessId,
    pub(super) session_id: SessionId,
    /// Address, or network, that it comes from, if that is known.
    pub(super) address: Option<IpAddr>,
    /// Expiry of the token with which it was opened.
    pub(super) open_until: Timestamp,
    outlet: Outlet,
    handed_over: Arc<HandedOver>,
    /// Turn in which it gets its heartbeat.
    pub(super) turn: usize,
    progress: Mutex<Progress>,
}

/// Each connection's is the one after the last one's.
fn next_turn() -> usize {
    static TURNS: AtomicUsize = AtomicUsize::new(0);
    TURNS.fetch_add(1, Ordering::Relaxed)
}

/// Outlet of events to the client.
pub(super) enum Outlet {
    /// Packets of Socket.IO.
    SocketIo {
        outbox: Arc<Outbox>,
        /// Cuts its stream, if it began with one and not with polling.
        cutter: Option<Cutter>,
        streams: Streams,
    },
    /// Whatever writes a stream of ours.
    Stream { frames: Frames, cutter: Cutter },
}

struct Progress {
    phase: Phase,
    /// Everything of the person's up to here has gone out.
    cursor: Position,
    /// True if a transient event was skipped, so that the client's presence is out of date.
    has_missed: bool,
}

enum Phase {
    /// Live events are kept until the earlier ones have been sent.
    Keeping(Kept),
    /// Events go out as they come.
    Live,
    /// A replay has to bring it up to date.
    Behind,
    /// Nothing goes out any more.
    Closed,
}

/// Live events that are kept.
#[derive(Default)]
struct Kept {
    events: Vec<Outgoing>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, event: &Outgoing) -> Result<(), Full> {
        if self.events.len() >= KEPT || self.bytes + event.bytes() > KEPT_BYTES {
            return Err(Full);
        }
        self.bytes += event.bytes();
        self.events.push(event.clone());
        Ok(())
    }
}

/// Result of offering an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It has gone out, or is kept, or a replay will send it.
    Fine,
    /// There was no room for it: a replay has to be started, from here.
    FellBehind(Position),
}

/// Result of replaying an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replayed {
    /// It has gone out.
    Sent,
    /// The client makes no room.
    Stalled,
    /// The connection is closed.
    Closed,
}

impl Connection {
    /// A connection to which nothing goes out yet.
    pub(super) fn new(
        caller: Caller,
        open_until: Timestamp,
        address: Option<IpAddr>,
        outlet: Outlet,
        handed_over: Arc<HandedOver>,
    ) -> Self {
        let progress = Mutex::new(Progress { phase: Phase::Behind, cursor: 0, has_missed: false });
        let Caller { user_id, business_id, session_id, .. } = caller;
        Self {
            person: user_id,
            business_id,
            session_id,
            address,
            open_until,
            outlet,
            handed_over,
            turn: next_turn(),
            progress,
        }
    }

    /// Keeps what is live from now on.
    pub(super) fn keep(&self) {
        let mut progress = self.progress();
        if !matches!(progress.phase, Phase::Closed) {
            progress.phase = Phase::Keeping(Kept::default());
        }
    }

    /// Says where the client is.
    pub(super) fn set_cursor(&self, position: Position) {
        self.progress().cursor = position;
    }

    /// Says that everything up to a position has gone out. How far that is, which may be further.
    pub(super) fn advance(&self, position: Position) -> Position {
        let mut progress = self.progress();
        progress.cursor = position.max(progress.cursor);
        progress.cursor
    }

    /// Tells the client how far the feed is, if it is told what happens as it happens: at least as far as it is itself.
    pub(super) fn beat(&self, position: Position) {
        let mut progress = self.progress();
        if matches!(progress.phase, Phase::Live) {
            progress.cursor = position.max(progress.cursor);
            // Without room for it, it isn't needed: the client has enough to hear.
            let _ = self.outlet.try_send(&Outgoing::place("feed:heartbeat", progress.cursor));
        }
    }

    /// Lets out what was kept, and from now on everything at once; then tells the client that it is up to date. Not when more
    /// has happened than is kept, or there is no room: then a replay has to go on from the cursor.
    pub(super) fn go_live(&self) -> Result<(), Position> {
        let mut progress = self.progress();
        let kept = match std::mem::replace(&mut progress.phase, Phase::Behind) {
            Phase::Keeping(kept) => kept,
            Phase::Closed => {
                progress.phase = Phase::Closed;
                return Ok(());
            }
            Phase::Live | Phase::Behind => return Err(progress.cursor),
        };
        for event in kept.events {
            self.put(&mut progress, &event).map_err(|Full| progress.cursor)?;
        }
        let caught_up = Outgoing::place("feed:caught-up", progress.cursor);
        self.outlet.try_send(&caught_up).map_err(|Full| progress.cursor)?;
        progress.phase = Phase::Live;
        Ok(())
    }

    /// Sends an event, if the connection is live and hasn't got it yet.
    pub(super) fn offer(&self, event: &Outgoing) -> Offered {
        let mut progress = self.progress();
        match &mut progress.phase {
            Phase::Keeping(kept) => {
                if kept.push(event).is_err() {
                    progress.phase = Phase::Behind;
                }
            }
            Phase::Live => {
                if self.put(&mut progress, event) == Err(Full) {
                    progress.phase = Phase::Behind;
                    return Offered::FellBehind(progress.cursor);
                }
            }
            Phase::Behind | Phase::Closed => {}
        }
        Offered::Fine
    }

    /// Sends something of the moment, if there is room for it: nobody needs it later.
    pub(super) fn mention(&self, event: &Outgoing) {
        let mut progress = self.progress();
        match &mut progress.phase {
            // It must not be overtaken by what it is about.
            Phase::Keeping(kept) => {
                let is_missed = kept.push(event).is_err();
                progress.has_missed |= is_missed;
            }
            Phase::Live => progress.has_missed |= self.outlet.try_send(event).is_err(),
            // Once it is up to date it is told who is online.
            Phase::Behind | Phase::Closed => {}
        }
    }

    /// Returns true if a transient event was skipped since the last call.
    pub(super) fn has_missed(&self) -> bool {
        std::mem::take(&mut self.progress().has_missed)
    }

    /// Returns true if nothing is sent any more.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.progress().phase, Phase::Closed)
    }

    /// Sends an event of a replay, as soon as there is room for it.
    pub(super) async fn replay(&self, event: &Outgoing) -> Replayed {
        let mut pause = LOOK_AGAIN.0;
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let mut progress = self.progress();
                if matches!(progress.phase, Phase::Closed) {
                    return Replayed::Closed;
                }
                if self.put(&mut progress, event).is_ok() {
                    return Replayed::Sent;
                }
            }
            if Instant::now() > deadline {
                return Replayed::Stalled;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN.1);
        }
    }

    /// Nothing goes out from now on.
    pub(super) fn fall_silent(&self) {
        self.progress().phase = Phase::Closed;
    }

    /// Ends it, and tells the client why where there is room for it.
    pub(super) fn close(&self, why: Closing) {
        self.fall_silent();
        tracing::debug!(person = %self.person, ?why, "connection closed");
        metrics::counter!("switchboard_connections_cut_total", "reason" => why.as_str()).increment(1);
        self.outlet.close(why);
    }

    /// Hands an event to the transport, unless it has gone out already.
    fn put(&self, progress: &mut Progress, event: &Outgoing) -> Result<(), Full> {
        if event.position().is_some_and(|position| position <= progress.cursor) {
            return Ok(());
        }
        self.outlet.try_send(event)?;
        if let Some(position) = event.position() {
            progress.cursor = position;
        }
        if let Some(message) = event.hands_over() {
            self.handed_over.note(self.person, self.business_id, message);
        }
        Ok(())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    fn try_send(&self, event: &Outgoing) -> Result<(), Full> {
        match self {
            Self::SocketIo { outbox, .. } => outbox.push(event.packet()),
            Self::Stream { frames, .. } => frames.push(Frame::Event(event.clone())),
        }
    }

    /// Closes the connection. A client that reads nothing would not notice: its stream is cut after a moment.
    fn close(&self, why: Closing) {
        match self {
            Self::SocketIo { outbox, cutter, streams } => {
                let (streams, id, cutter) = (streams.clone(), outbox.id(), cutter.clone());
                let is_told = why != Closing::TooSlow && outbox.say_farewell(&why.body()).is_ok();
                let outbox = outbox.clone();
                end_in_a_moment(is_told, move || {
                    outbox.close();
                    match cutter {
                        Some(cutter) => cutter.cancel(),
                        None => streams.end(&id),
                    }
                });
            }
            Self::Stream { frames, cutter } => {
                let is_told = frames.push(Frame::Close(why)).is_ok();
                let cutter = cutter.clone();
                end_in_a_moment(is_told, move || cutter.cancel());
            }
        }
    }
}

fn end_in_a_moment(is_told: bool, end: impl FnOnce() + Send + 'static) {
    if is_told {
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            end();
        });
    } else {
        end();
    }
}

#[cfg(test)]
mod tests;
