//! Feeds a projection: one node at a time, in batches, with rows and checkpoint in one transaction.

use std::sync::Arc;
use std::time::Duration;

use event_store::{Delivery, EventStore, Position, RecordedEvent, Subscription};
use futures_util::FutureExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};

use crate::checkpoint::Checkpoint;
use crate::projection::{Projection, Unreadable};

/// Events that are taken in together at most.
const BATCH_EVENTS: usize = 2000;
/// How often a node that isn't in charge looks how far the one in charge has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// How often a node that isn't in charge tries to be.
const CANDIDACY_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What runners stand on.
#[derive(Clone)]
pub struct Foundations {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// The database of the read models.
    pub pool: PgPool,
}

/// Runs a projection for as long as the returned future is polled. Whatever fails is tried again.
pub fn run<P: Projection>(foundations: Foundations) -> (Checkpoint, impl Future<Output = ()> + Send) {
    let checkpoint = Checkpoint::new();
    let runner = Runner { foundations, checkpoint: checkpoint.clone(), stalled: false };
    (checkpoint, runner.run::<P>())
}

struct Runner {
    foundations: Foundations,
    checkpoint: Checkpoint,
    stalled: bool,
}

/// Why a runner has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the log failed")]
    Store(#[from] event_store::StoreError),
    #[error("another node has moved the checkpoint away from {0}")]
    Overtaken(Position),
}

impl Runner {
    async fn run<P: Projection>(mut self) {
        loop {
            let Err(setback) = self.lead_or_follow::<P>().await;
            metrics::counter!("switchboard_projection_setbacks_total", "projection" => P::NAME).increment(1);
            if !self.stalled {
                tracing::warn!(projection = P::NAME, error = %setback, cause = ?setback, "a projection begins anew");
            }
            self.stalled = true;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Takes charge if nobody else has; otherwise looks on until it can.
    async fn lead_or_follow<P: Projection>(&mut self) -> Result<std::convert::Infallible, Setback> {
        // The lock is the connection's: whoever loses it stops writing with it. Losing the rows of a crash is fine, since the
        // checkpoint is lost with them.
        let options: PgConnectOptions = (*self.foundations.pool.connect_options()).clone();
        let mut connection = PgConnection::connect_with(&options.options([("synchronous_commit", "off")])).await?;
        sqlx::query!("INSERT INTO projection_checkpoints (projection) VALUES ($1) ON CONFLICT DO NOTHING", P::NAME)
            .execute(&mut connection)
            .await?;
        while !self.take_charge::<P>(&mut connection).await? {
            let until = tokio::time::Instant::now() + CANDIDACY_INTERVAL;
            while tokio::time::Instant::now() < until {
                self.checkpoint.begin_at(stored_checkpoint::<P>(&mut connection).await?);
                self.stalled = false;
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        let mut at = stored_checkpoint::<P>(&mut connection).await?;
        self.checkpoint.begin_at(at);
        let mut subscription = self.foundations.store.subscribe(at);
        loop {
            let events = next_batch(&mut subscription).await?;
            let Some(last) = events.last().and_then(|batch| batch.last()) else { continue };
            let last = last.position;
            let events: Vec<&RecordedEvent> = events.iter().flat_map(|batch| batch.iter()).collect();
            take_in::<P>(&mut connection, &events, at).await?;
            at = last;
            self.stalled = false;
            self.checkpoint.advance(at);
        }
    }

    async fn take_charge<P: Projection>(&self, connection: &mut PgConnection) -> Result<bool, Setback> {
        let lock = format!("switchboard projection {}", P::NAME);
        let taken = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS "taken!""#, lock)
            .fetch_one(connection)
            .await?;
        Ok(taken)
    }
}

async fn stored_checkpoint<P: Projection>(connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
    let position = sqlx::query_scalar!("SELECT position FROM projection_checkpoints WHERE projection = $1", P::NAME)
        .fetch_one(connection)
        .await?;
    Ok(position.cast_unsigned())
}

/// Waits for events, and takes along what is there already, so that batches grow with the load.
async fn next_batch(subscription: &mut Subscription) -> Result<Vec<event_store::Batch>, Setback> {
    let mut batches = vec![];
    let mut count = 0;
    let mut next = Some(subscription.next().await);
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

/// Takes a batch in. When the database refuses it, each event for itself, to find the one that is to blame.
async fn take_in<P: Projection>(
    connection: &mut PgConnection,
    events: &[&RecordedEvent],
    mut at: Position,
) -> Result<(), Setback> {
    match commit::<P>(connection, events, at, None).await {
        Err(Setback::Database(sqlx::Error::Database(error))) => {
            tracing::warn!(projection = P::NAME, %error, "a batch is refused: looking for the event that is to blame");
            for event in events {
                let alone = std::slice::from_ref(event);
                match commit::<P>(connection, alone, at, None).await {
                    Err(Setback::Database(sqlx::Error::Database(error))) if is_about_data(&*error) => {
                        commit::<P>(connection, alone, at, Some(error.to_string())).await?;
                    }
                    committed => committed?,
                }
                at = event.position;
            }
            Ok(())
        }
        committed => committed,
    }
}

/// Writes the rows of these events and the checkpoint after them. With a reason the events are parked instead.
async fn commit<P: Projection>(
    connection: &mut PgConnection,
    events: &[&RecordedEvent],
    at: Position,
    parked_because: Option<String>,
) -> Result<(), Setback> {
    let mut changes = P::Changes::default();
    let mut parked: Vec<(Position, String)> = vec![];
    for event in events {
        match &parked_because {
            Some(reason) => parked.push((event.position, reason.clone())),
            None => {
                if let Err(Unreadable(error)) = P::collect(&mut changes, event) {
                    parked.push((event.position, error.to_string()));
                }
            }
        }
    }
    let last = events.last().map_or(at, |event| event.position);
    let mut transaction = connection.begin().await?;
    P::write(changes, &mut transaction).await?;
    for (position, error) in parked {
        tracing::error!(projection = P::NAME, position, error, "an event is parked");
        metrics::counter!("switchboard_projection_parked_total", "projection" => P::NAME).increment(1);
        sqlx::query!(
            "INSERT INTO parked_events (projection, position, error) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            P::NAME,
            position.cast_signed(),
            error
        )
        .execute(&mut *transaction)
        .await?;
    }
    // Should two nodes ever believe that they are in charge, one of them stops here.
    let moved = sqlx::query!(
        "UPDATE projection_checkpoints SET position = $3, updated_at = now() WHERE projection = $1 AND position = $2",
        P::NAME,
        at.cast_signed(),
        last.cast_signed()
    )
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() == 0 {
        return Err(Setback::Overtaken(at));
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether an error lies in the data (data exceptions, violated constraints, limits) and not in the moment.
fn is_about_data(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}
