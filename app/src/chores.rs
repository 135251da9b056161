//! What the server does now and then, by itself. Each of these never returns.

use std::sync::Arc;
use std::time::Duration;

use api::Api;
use cluster::Presence;
use commands::{Clock, Commands, LostCalls};
use projections::feed::FeedQueries;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::settings::{Settings, ms};

/// How often logins that were reserved for nobody are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How often calls that have rung for too long are looked for: how late they may be missed.
const RING_LOOK: Duration = Duration::from_millis(250);
/// How often calls without their parties are looked for.
const LOST_CALL_LOOK: Duration = Duration::from_secs(1);
/// How often old events of the feed are looked for.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// How often figures and limits that have piled up are tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// Releases logins that were reserved for somebody who was never created.
pub(crate) async fn sweep(commands: Arc<Commands>) {
    let mut interval = every(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        match commands.release_unfinished_logins().await {
            Ok(0) => {}
            Ok(released) => tracing::info!(released, "logins that were reserved for nobody are free again"),
            Err(error) => tracing::warn!(%error, "logins that were reserved for nobody can't be looked for"),
        }
    }
}

/// Misses calls that have rung for too long.
pub(crate) async fn miss_calls(commands: Arc<Commands>) {
    let mut interval = every(RING_LOOK);
    loop {
        interval.tick().await;
        if let Err(error) = commands.miss_calls().await {
            tracing::warn!(%error, "calls that nobody answers can't be looked for");
        }
    }
}

/// Ends calls whose parties are both gone.
pub(crate) async fn end_lost_calls(commands: Arc<Commands>, presence: Presence, settings: Settings) {
    // Somebody who is gone counts as online for a moment.
    let patience = settings.lost_call_timeout.saturating_sub(settings.presence_grace);
    let mut lost = LostCalls::new(ms(patience));
    let mut interval = every(LOST_CALL_LOOK);
    loop {
        interval.tick().await;
        if let Err(error) = lost.end(&commands, |user| presence.is_online(user)).await {
            tracing::warn!(%error, "calls that are lost can't be looked for");
        }
    }
}

/// Forgets what nobody can catch up on any more.
pub(crate) async fn forget_old_events(feed: FeedQueries, clock: Arc<dyn Clock>, retention: Duration) {
    let mut interval = every(FORGET_INTERVAL);
    loop {
        interval.tick().await;
        match feed.forget_before(clock.now().plus_ms(-ms(retention)).into()).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "old events of the feed are forgotten"),
            Err(error) => tracing::warn!(%error, "old events of the feed can't be forgotten"),
        }
    }
}

/// Keeps what is collected by the second from growing without end.
pub(crate) async fn tidy_up(api: Arc<Api>) {
    let mut interval = every(TIDY_INTERVAL);
    loop {
        interval.tick().await;
        api.metrics.run_upkeep();
        api.limits.forget_the_quiet();
        if let Err(error) = api.tickets.sweep(api.clock.now()).await {
            tracing::warn!(%error, "old tickets can't be thrown away");
        }
    }
}

/// Ticks that don't catch up on those that were missed.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
