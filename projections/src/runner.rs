//! Feeds a projection: one node at a time, in batches, with rows and checkpoint in one transaction.

use std::sync::Arc;
use std::time::Duration;

use event_store::{Delivery, EventStore, RecordedEvent, Subscription};
use futures_util::FutureExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;

use crate::checkpoint::Checkpoint;
use crate::intake::{Intake, Setback};
use crate::projector::Projector;

/// Events that are taken in together at most.
const BATCH_EVENTS: usize = 2000;
/// Minimum time between the starts of batches while no reader waits for them. Each is a transaction; rows that change several times
/// within one are written once.
const PACE: Duration = Duration::from_millis(100);
/// Interval at which a follower reads the leader's checkpoint.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// Interval at which a follower tries to become the leader.
const CANDIDACY_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Dependencies of runners.
#[derive(Clone)]
pub struct Sources {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// The database of the read models.
    pub pool: PgPool,
}

/// Runs a projection for as long as the returned future is polled. Whatever fails is tried again.
pub fn run(projector: Projector, sources: Sources) -> (Checkpoint, impl Future<Output = ()> + Send) {
    let checkpoint = Checkpoint::new();
    let runner = Runner { projector, sources, checkpoint: checkpoint.clone(), stalled: false };
    (checkpoint, runner.run())
}

struct Runner {
    projector: Projector,
    sources: Sources,
    checkpoint: Checkpoint,
    stalled: bool,
}

impl Runner {
    async fn run(mut self) {
        let projection = self.projector.name;
        loop {
            let Err(setback) = self.lead_or_follow().await;
            metrics::counter!("switchboard_projection_setbacks_total", "projection" => projection).increment(1);
            if !self.stalled {
                tracing::warn!(projection, error = %setback, cause = ?setback, "projection failed; restarting from its checkpoint");
            }
            self.stalled = true;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Takes charge if nobody else has; otherwise looks on until it can.
    async fn lead_or_follow(&mut self) -> Result<std::convert::Infallible, Setback> {
        // The lock is the connection's: whoever loses it stops writing with it.
        let mut connection = connect(&self.sources.pool, None).await?;
        let mut intake = loop {
            let intake = Intake::begin(self.projector, &mut connection).await?;
            self.checkpoint.begin_at(intake.at);
            // Rows of a newer version are for its nodes to go on with.
            if intake.version <= self.projector.version && self.take_charge(&mut connection).await? {
                break Intake::begin(self.projector, &mut connection).await?;
            }
            self.look_on(&mut connection).await?;
        };
        self.checkpoint.begin_at(intake.at);
        let mut subscription = self.sources.store.subscribe(intake.at);
        let mut next_at = Instant::now();
        loop {
            let events = self.next_batch(&mut subscription, next_at).await?;
            let began = Instant::now();
            let events: Vec<&RecordedEvent> = events.iter().flat_map(|batch| batch.iter()).collect();
            match intake.take_in(&mut connection, &events).await {
                Err(Setback::Overtaken(_)) => {
                    // A rebuild has put other tables in place, or what was parked was taken in. The lock is still ours.
                    intake = Intake::begin(self.projector, &mut connection).await?;
                    if intake.version > self.projector.version {
                        return Err(Setback::Overtaken(intake.at));
                    }
                    self.checkpoint.begin_at(intake.at);
                    subscription = self.sources.store.subscribe(intake.at);
                    continue;
                }
                taken => taken?,
            }
            self.stalled = false;
            self.checkpoint.advance(intake.at);
            // Whoever is far behind has no time to lose.
            next_at = if events.len() < BATCH_EVENTS { began + PACE } else { began };
        }
    }

    /// Waits for events, until it is time for the next batch or somebody waits for them, and takes along all that is there by then.
    async fn next_batch(
        &self,
        subscription: &mut Subscription,
        not_before: Instant,
    ) -> Result<Vec<event_store::Batch>, Setback> {
        let mut next = Some(subscription.next().await);
        tokio::select! {
            () = tokio::time::sleep_until(not_before) => {}
            () = self.checkpoint.is_waited_for() => {}
        }
        let (mut batches, mut count) = (vec![], 0);
        while let Some(delivery) = next {
            match delivery? {
                Delivery::Events(batch) => {
                    count += batch.len();
                    batches.push(batch);
                }
                Delivery::CaughtUp(_) => {}
            }
            next = if count < BATCH_EVENTS { subscription.next().now_or_never() } else { None };
        }
        Ok(batches)
    }

    /// Learns for a while from the node in charge how far the projection has come.
    async fn look_on(&mut self, connection: &mut PgConnection) -> Result<(), Setback> {
        let until = Instant::now() + CANDIDACY_INTERVAL;
        while Instant::now() < until {
            let position = sqlx::query_scalar!(
                "SELECT position FROM projection_checkpoints WHERE projection = $1",
                self.projector.name
            )
            .fetch_one(&mut *connection)
            .await?;
            self.checkpoint.begin_at(position.cast_unsigned());
            self.stalled = false;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    async fn take_charge(&self, connection: &mut PgConnection) -> Result<bool, Setback> {
        Ok(try_lock(connection, &format!("switchboard projection {}", self.projector.name)).await?)
    }
}

/// A connection to write rows with; into the tables of a schema of their own, if one is given. Losing what was written last in a
/// crash is fine, since the checkpoint is lost with it.
pub(crate) async fn connect(pool: &PgPool, schema: Option<&str>) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = (*pool.connect_options()).clone();
    // Its statements have one good plan each, whatever is in a batch: to make it anew takes as long as to write a dozen rows.
    let options = options.options([("synchronous_commit", "off"), ("plan_cache_mode", "force_generic_plan")]);
    let mut connection = PgConnection::connect_with(&options).await?;
    if let Some(schema) = schema {
        sqlx::query!("SELECT set_config('search_path', $1 || ', ' || current_setting('search_path'), false)", schema)
            .fetch_one(&mut connection)
            .await?;
    }
    Ok(connection)
}

/// Takes a lock for as long as the connection lasts, unless somebody has it.
pub(crate) async fn try_lock(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS "taken!""#, name)
        .fetch_one(connection)
        .await
}
