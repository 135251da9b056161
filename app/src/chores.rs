//! Background tasks of the server. None of them returns.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::Api;
use cluster::Presence;
use commands::{Clock, Commands, LostCalls};
use domain::FileId;
use futures_util::StreamExt;
use projections::feed::FeedQueries;
use sqlx::PgPool;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::keys::{self, MasterKey};
use crate::settings::{Settings, ms};

/// Interval of the sweeps of unfinished logins and of files without a message.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Interval of the search for calls that have rung too long: the maximum delay of `call:missed`.
const RING_LOOK: Duration = Duration::from_millis(250);
/// Interval of the search for calls without connected users.
const LOST_CALL_LOOK: Duration = Duration::from_secs(1);
/// Interval of the feed's retention.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// Interval of the sweep of bytes without a file, and number of files looked up at once.
const ORPHAN_INTERVAL: Duration = Duration::from_hours(24);
const ORPHAN_PAGE: usize = 1000;
/// As many orphans are no reason to wonder.
const FEW_ORPHANS: usize = 20;
/// Interval of recording summed-up readings of the history.
const READINGS_INTERVAL: Duration = Duration::from_secs(5);
/// Interval of tidying metrics and limits.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// Releases logins that were reserved for somebody who was never created.
pub(crate) async fn sweep(commands: Arc<Commands>) {
    let mut interval = every(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        match commands.release_unfinished_logins().await {
            Ok(0) => {}
            Ok(released) => tracing::info!(released, "released login reservations without an account"),
            Err(error) => tracing::warn!(%error, "sweep of login reservations failed; retrying"),
        }
    }
}

/// Misses calls that have rung for too long.
pub(crate) async fn miss_calls(commands: Arc<Commands>) {
    let mut interval = every(RING_LOOK);
    loop {
        interval.tick().await;
        if let Err(error) = commands.miss_calls().await {
            tracing::warn!(%error, "search for unanswered calls failed; retrying");
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
            tracing::warn!(%error, "search for lost calls failed; retrying");
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
            Ok(forgotten) => tracing::info!(forgotten, "deleted old events of the feed"),
            Err(error) => tracing::warn!(%error, "deleting old events of the feed failed; retrying later"),
        }
    }
}

/// Gives up files that no message carries.
pub(crate) async fn sweep_files(api: Arc<Api>) {
    let mut interval = every(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        let removed = match api.commands.sweep_files().await {
            Ok(removed) => removed,
            Err(error) => {
                tracing::warn!(%error, "sweep of unused files failed; retrying");
                continue;
            }
        };
        for id in removed {
            if let Err(error) = api.files.delete(id).await {
                tracing::warn!(%error, "deleting the bytes of an unused file failed; the next sweep retries");
            }
        }
    }
}

/// Deletes bytes that belong to no file: a node has died before it could say what it had taken in.
pub(crate) async fn sweep_orphans(api: Arc<Api>) {
    let mut interval = every(ORPHAN_INTERVAL);
    loop {
        interval.tick().await;
        let mut pages = api.files.kept_for_a_while(api.clock.now(), ORPHAN_PAGE);
        while let Some(page) = pages.next().await {
            let found = match page {
                Ok(ids) => delete_orphans(&api, ids).await,
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = found {
                tracing::warn!(error, "sweep of bytes without a file failed; retrying later");
                break;
            }
        }
    }
}

async fn delete_orphans(api: &Api, ids: Vec<FileId>) -> Result<(), String> {
    // Most are known. The read model may be late, or may be being built, so what it doesn't know is looked up in the log.
    let known = api
        .read_models
        .messaging
        .queries
        .files(&ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .await
        .map_err(|error| error.to_string())?;
    let known: HashSet<FileId> = known.into_iter().map(|file| FileId(file.id)).collect();
    let page = ids.len();
    let others: Vec<FileId> = ids.into_iter().filter(|id| !known.contains(id)).collect();
    let orphans = api.commands.unknown_files(others).await.map_err(|error| error.to_string())?;
    if orphans.len() > FEW_ORPHANS && orphans.len() * 2 > page {
        // Nodes don't die that often: somebody has restored a database, perhaps.
        return Err(format!("{} of {page} files are unknown to the log, and are left alone", orphans.len()));
    }
    for id in orphans {
        api.files.delete(id).await.map_err(|error| error.to_string())?;
        tracing::info!(file = %id, "deleted bytes without a file");
    }
    Ok(())
}

/// Signs with another key now and then, and learns of those that other nodes have made.
pub(crate) async fn rotate_keys(api: Arc<Api>, pool: PgPool, master: MasterKey, settings: Settings) {
    let mut interval = every(keys::LEARNING / 4);
    loop {
        interval.tick().await;
        match keys::rotate(&pool, &master, settings.signing_key_life, settings.token_life).await {
            Ok(keys) => api.tokens.use_keys(&keys),
            Err(error) => tracing::warn!(%error, "reading signing keys failed; retrying"),
        }
    }
}

/// Records readings of the history that were only counted so far.
pub(crate) async fn sum_up_readings(commands: Arc<Commands>) {
    let mut interval = every(READINGS_INTERVAL);
    loop {
        interval.tick().await;
        commands.sum_up_readings(false).await;
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
            tracing::warn!(%error, "deleting expired tickets failed; retrying");
        }
    }
}

/// Ticks that don't catch up on those that were missed.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
