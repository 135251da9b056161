//! A subscription that notices its end.
//!
//! When the server ends a subscription in good order, the client (1.2.0) asks the stream that has ended for the next message, over
//! and over, without ever waiting: whoever polls it doesn't come back, and the thread is lost. Each time round it logs one and the
//! same line, which is all of it that can be seen from outside. So it is polled with a listener for that line, which unwinds out
//! of the loop once it can't be anything else.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use eventstore::SubscriptionEvent;
use futures_util::{Stream, stream};
use tracing::dispatcher::{Dispatch, with_default};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::failure::Failure;

/// A message of a kind that the client doesn't know gets the same line, but then there is a message for each.
const LINES: u32 = 1000;

type Messages = Pin<Box<dyn Stream<Item = Result<SubscriptionEvent, Failure>> + Send>>;

/// Messages of a client's subscription, until it ends.
pub(super) struct Watched(Option<Messages>);

impl Watched {
    pub(super) fn new(subscription: eventstore::Subscription) -> Self {
        Self(Some(Box::pin(stream::unfold(subscription, |mut subscription| async move {
            let message = subscription.next_subscription_event().await;
            Some((message.map_err(Failure::from), subscription))
        }))))
    }
}

impl Stream for Watched {
    type Item = Result<SubscriptionEvent, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(messages) = &mut self.0 else { return Poll::Ready(None) };
        SEEN.set(0);
        let poll = AssertUnwindSafe(|| with_default(&LISTENER, || messages.as_mut().poll_next(context)));
        match catch_unwind(poll) {
            Ok(poll) => Poll::Ready(ready!(poll)),
            Err(unwound) if unwound.is::<CleanEnd>() => {
                // What was left in the middle of something is never touched again.
                self.0 = None;
                Poll::Ready(None)
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

struct CleanEnd;

thread_local! {
    /// Number of such log lines in this poll.
    static SEEN: Cell<u32> = const { Cell::new(0) };
}

static LISTENER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Listener));

/// Hears that line and nothing else.
struct Listener;

fn is_the_line(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() == Level::WARN && metadata.target() == "kurrentdb::commands"
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_the_line(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_the_line(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        if is_the_line(event.metadata()) {
            SEEN.set(SEEN.get() + 1);
            if SEEN.get() > LINES {
                resume_unwind(Box::new(CleanEnd));
            }
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
