//! Pace of answers on an upgraded connection. WebSocket libraries answer each ping with a write, and no limit of the API counts
//! pings: without a pace, a client that only sends pings keeps a core busy.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::{Instant, Sleep};

/// Answers a second.
const RATE: NonZeroU32 = NonZeroU32::new(100).expect("it isn't 0");
/// Answers at once, after a time without any.
const BURST: NonZeroU32 = NonZeroU32::new(200).expect("it isn't 0");

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware<<DefaultClock as Clock>::Instant>>;

/// Told when a connection is upgraded.
#[derive(Clone, Default)]
pub(crate) struct Upgraded(Arc<AtomicBool>);

impl Upgraded {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The pace of one connection. It counts writes between a read that gave something and the next one that gave nothing. What is
/// delivered meanwhile may be counted along: that takes a moment, unless the client goes on talking.
#[derive(Default)]
pub(crate) struct AnswerPace {
    upgraded: Upgraded,
    /// True if the client has sent something, and may have sent more.
    is_talking: bool,
    /// Made for the first answer: most connections need none.
    limiter: Option<Box<Limiter>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Time since which the client has gone on talking although its answers have to wait.
    behind_since: Option<Instant>,
}

impl AnswerPace {
    pub(crate) fn upgraded(&self) -> &Upgraded {
        &self.upgraded
    }

    /// Returns true while an answer waits for its time. Nothing may be read then: it would be answered.
    pub(crate) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Notes what came of reading.
    pub(crate) fn note_read<T>(&mut self, read: &Poll<T>) {
        self.is_talking = read.is_ready();
        if !self.is_talking {
            self.behind_since = None;
        }
    }

    /// Returns true if the client has gone on for so long without waiting for its answers.
    pub(crate) fn is_behind_for(&self, patience: Duration) -> bool {
        self.behind_since.is_some_and(|since| since.elapsed() >= patience)
    }

    /// Waits until something may be written.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        if !self.is_talking || !self.upgraded.0.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let quota = || Box::new(Limiter::direct(Quota::per_second(RATE).allow_burst(BURST)));
        let limiter = self.limiter.get_or_insert_with(quota);
        let Err(early) = limiter.check() else { return Poll::Ready(()) };
        self.behind_since.get_or_insert_with(Instant::now);
        let pause = Box::pin(tokio::time::sleep(early.wait_time_from(limiter.clock().now())));
        let pause = self.pause.insert(pause);
        pause.as_mut().poll(cx)
    }
}
