//! Following the log.
//!
//! The client can resume a subscription by itself, but from the last event and not from where the server has looked since, and not
//! at all in some cases. So each of its subscriptions is used until something happens to it, and then replaced by one that begins
//! where it ended.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Position as Place, ResolvedEvent, StreamPosition, SubscriptionEvent};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use super::clean_end::Watched;
use super::connection::{PATIENCE, Session};
use super::failure::Failure;
use super::reader::{PAGE_BYTES, Reader, ours, place};
use super::record::recorded;
use crate::{Delivery, Position, RecordedEvent, StoreError, Subscription};

/// Events that are handed on together at most.
const BATCH_EVENTS: usize = 1000;
/// Older servers don't say when a subscription has caught up. While nobody has said so and nothing comes, it is looked up.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Everything after a position, for ever.
pub(super) fn follow(reader: Arc<Reader>, after: Position) -> Subscription {
    let follower = Follower {
        reader,
        cursor: after,
        resume: place(after),
        incoming: None,
        is_current: false,
        has_notice: false,
        failure: None,
        failing_since: None,
    };
    Subscription::new(stream::unfold(follower, |mut follower| async move {
        let delivery = follower.next().await;
        Some((delivery, follower))
    }))
}

struct Follower {
    reader: Arc<Reader>,
    /// Position of the last event delivered.
    cursor: Position,
    /// Position up to which the server has searched: that of the last event, or a later one.
    resume: StreamPosition<Place>,
    incoming: Option<(Session, Watched)>,
    /// True if all existing events have been delivered.
    is_current: bool,
    /// True if that has not been announced yet.
    has_notice: bool,
    /// Failure that ended the subscription, if events before it are delivered first.
    failure: Option<Failure>,
    failing_since: Option<Instant>,
}

impl Follower {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            if std::mem::take(&mut self.has_notice) {
                return Ok(Delivery::CaughtUp(self.cursor));
            }
            match self.receive().await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Ok(Delivery::Events(events.into())),
                Err(failure) => self.lost(failure).await?,
            }
        }
    }

    /// Receives at least one message of the server; returns its events, if there are any.
    async fn receive(&mut self) -> Result<Vec<RecordedEvent>, Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.incoming.is_none() {
            let session = self.reader.connection.session().await?;
            let options = session.subscribe_options().position(self.resume).filter(ours());
            let subscription = session.client.subscribe_to_all(&options).await;
            self.incoming = Some((session, Watched::new(subscription)));
        }
        let Some(mut message) = self.wait().await else {
            self.look().await;
            return Ok(vec![]);
        };
        if let (Ok(_), Some((session, _))) = (&message, &self.incoming) {
            self.reader.connection.works(session);
            self.failing_since = None;
        }
        let (mut events, mut bytes) = (vec![], 0);
        loop {
            match message.and_then(|message| self.take_in(message)) {
                Ok(Some(event)) => {
                    bytes += event.data.len();
                    events.push(event);
                }
                Ok(None) => {}
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            }
            if self.has_notice || events.len() >= BATCH_EVENTS || bytes >= PAGE_BYTES {
                break;
            }
            // What else is there already. The stream keeps what it is waiting for, so looking loses nothing.
            let ready = self.incoming.as_mut().and_then(|(_, incoming)| incoming.next().now_or_never());
            let Some(next) = ready else { break };
            message = next.unwrap_or(Err(Failure::Ended));
        }
        Ok(events)
    }

    /// The next message; none when it is time to look for oneself.
    async fn wait(&mut self) -> Option<Result<SubscriptionEvent, Failure>> {
        let (_, incoming) = self.incoming.as_mut()?;
        let next =
            if self.is_current { incoming.next().await } else { timeout(LOOK_INTERVAL, incoming.next()).await.ok()? };
        Some(next.unwrap_or(Err(Failure::Ended)))
    }

    fn take_in(&mut self, message: SubscriptionEvent) -> Result<Option<RecordedEvent>, Failure> {
        match message {
            SubscriptionEvent::EventAppeared(ResolvedEvent { event: Some(event), .. }) => {
                return self.take_event(event);
            }
            SubscriptionEvent::Checkpoint(place) => self.looked_up_to(place),
            SubscriptionEvent::CaughtUp(_) => self.is_now_current(),
            SubscriptionEvent::FellBehind(_) => self.is_current = false,
            _ => {}
        }
        Ok(None)
    }

    fn take_event(&mut self, event: eventstore::RecordedEvent) -> Result<Option<RecordedEvent>, Failure> {
        let place = event.position;
        if place.commit <= self.cursor {
            return Ok(None);
        }
        let event = recorded(event)?;
        self.looked_up_to(place);
        if let Some(event) = &event {
            self.cursor = event.position;
            self.reader.saw(event.position);
        }
        Ok(event)
    }

    fn looked_up_to(&mut self, place: Place) {
        if !matches!(self.resume, StreamPosition::Position(known) if known >= place) {
            self.resume = StreamPosition::Position(place);
        }
    }

    fn is_now_current(&mut self) {
        self.is_current = true;
        self.has_notice = true;
    }

    async fn look(&mut self) {
        let Ok(there) = self.reader.read_all(self.cursor, 1).await else { return };
        if there.is_empty() {
            self.is_now_current();
        }
    }

    /// Has the next attempt begin anew. Says that it fails once it has failed for a while, and whenever trying again is no use by
    /// itself.
    async fn lost(&mut self, failure: Failure) -> Result<(), StoreError> {
        if let Some((session, _)) = self.incoming.take() {
            self.reader.connection.failed(&session, &failure);
        }
        self.is_current = false;
        let now = Instant::now();
        let failing_since = *self.failing_since.get_or_insert(now);
        if failure.passes() && now - failing_since < PATIENCE {
            tracing::debug!(cause = %failure, after = self.cursor, "KurrentDB subscription ended; subscribing again");
            sleep(PAUSE).await;
            return Ok(());
        }
        self.failing_since = None;
        sleep(PAUSE).await;
        Err(StoreError::new("following the log", failure))
    }
}
