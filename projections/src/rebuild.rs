//! Builds a projection anew beside the one that serves, and then has the two change places.
//!
//! Readers notice nothing: the new tables take the place of the old ones in one transaction, once they have come at least as
//! far. The old ones stay until they are dropped. A rebuild that was interrupted goes on where it was.

use std::time::Duration;

use event_store::{EventStore, Position};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::time::Instant;

use crate::QueryError;
use crate::intake::{Intake, Setback};
use crate::projector::Projector;
use crate::runner::Sources;
use crate::shadow::{Opened, Shadow, Taken, execute, take_in_page};

/// Interval of storing a rebuild's progress.
const TELL_INTERVAL: Duration = Duration::from_millis(500);
/// Interval at which a node looks for requested rebuilds.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failed rebuild.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Events that may be left to be taken in while nobody else may touch the tables.
const LAST_EVENTS: usize = 2000;
/// Maximum attempts to lock the tables, with pauses that double: reads proceed in between.
const SWAP_ATTEMPTS: usize = 20;
const FIRST_SWAP_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_SWAP_PAUSE: Duration = Duration::from_secs(5);
/// Time to wait for the lock of the tables: later reads queue behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";

/// Why a projection was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process is at it.
    #[error("another process is at it")]
    UnderWay,
    /// The tables are of a newer version of this program.
    #[error("its rows were made by a newer version of this program")]
    Newer,
    /// The tables are in use without a pause.
    #[error("its tables are in use without a pause")]
    InUse,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The log failed.
    #[error("the log failed")]
    Store(#[from] event_store::StoreError),
}

impl From<Setback> for RebuildError {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Database(error) => error.into(),
            Setback::Store(error) => error.into(),
            Setback::Overtaken(_) => Self::UnderWay,
        }
    }
}

/// Progress of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Position at which it began to read, or continued after an interruption.
    pub began_at: Position,
    /// Position of the last event taken in.
    pub position: Position,
    /// Position of the last event that there is.
    pub head: Position,
    /// Events taken in since it began.
    pub events: u64,
    /// For how long that has taken.
    pub elapsed: Duration,
}

impl Progress {
    /// Events taken in each second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far, or that exactly")]
    pub fn events_per_s(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(0.001)
    }

    /// Estimated remaining time; none if unknown.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "it is a guess")]
    pub fn remaining(&self) -> Option<Duration> {
        // Positions are places and not numbers of events, so this goes by the way and not by the events.
        let done = self.position.checked_sub(self.began_at).filter(|done| *done > 0)? as f64;
        let to_do = self.head.saturating_sub(self.position) as f64;
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * to_do / done).ok()
    }
}

/// Asks for a projection to be rebuilt, by whichever node is first to see it. Repeating it while it is under way changes nothing.
///
/// # Errors
/// If the database fails.
pub async fn request_rebuild(projector: Projector, pool: &PgPool) -> Result<(), QueryError> {
    sqlx::query!(
        "INSERT INTO projection_rebuilds (projection) VALUES ($1)
         ON CONFLICT (projection) DO UPDATE
         SET requested_at = now(), finished_at = NULL, began_at = NULL, position = 0, head = 0, events = 0, error = NULL
         WHERE projection_rebuilds.finished_at IS NOT NULL",
        projector.name
    )
    .execute(pool)
    .await
    .map_err(QueryError::while_("asking for a rebuild"))?;
    Ok(())
}

/// Rebuilds what is asked for, and what an older version of this program has built. Never returns.
pub async fn rebuild_on_demand(sources: Sources) {
    loop {
        match due(&sources.pool).await {
            Ok(due) => {
                for projector in due {
                    rebuild_now(projector, &sources).await;
                }
            }
            Err(error) => tracing::debug!(%error, "reading rebuild requests failed; retrying"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn rebuild_now(projector: Projector, sources: &Sources) {
    let projection = projector.name;
    match rebuild(projector, sources, |_| {}).await {
        Ok(Some(progress)) => tracing::info!(projection, events = progress.events, "rebuilt a projection"),
        Ok(None) => {}
        Err(RebuildError::UnderWay | RebuildError::Newer) => {}
        Err(error) => {
            tracing::warn!(projection, %error, cause = ?error, "rebuilding a projection failed; retrying");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Returns the projections to be rebuilt.
async fn due(pool: &PgPool) -> Result<Vec<Projector>, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"SELECT name AS "name!" FROM unnest($1::text[], $2::int[]) AS known(name, version)
           WHERE EXISTS (SELECT FROM projection_rebuilds WHERE projection = name AND finished_at IS NULL)
              OR EXISTS (SELECT FROM projection_checkpoints c WHERE c.projection = name AND c.version < known.version)"#,
        &Projector::ALL.map(|projector| projector.name) as &[&str],
        &Projector::ALL.map(|projector| projector.version)
    )
    .fetch_all(pool)
    .await?;
    Ok(names.iter().filter_map(|name| Projector::named(name)).collect())
}

/// Rebuilds a projection here and now, if it is to be. None when another process has just done so. `tell` hears how far it has come,
/// a few times a second.
///
/// # Errors
/// If another process is at it, or if the log or the database fails; what was done is kept, and gone on with the next time.
pub async fn rebuild(
    projector: Projector,
    sources: &Sources,
    tell: impl FnMut(Progress) + Send,
) -> Result<Option<Progress>, RebuildError> {
    let pool = &sources.pool;
    // Before anything is opened: what nodes of a newer version are building isn't ours to begin anew.
    let version =
        sqlx::query_scalar!("SELECT version FROM projection_checkpoints WHERE projection = $1", projector.name)
            .fetch_optional(pool)
            .await?;
    if version.is_some_and(|version| version > projector.version) {
        return Err(RebuildError::Newer);
    }
    let Opened::Ours(shadow) = Shadow::open(projector, "rebuild", pool).await? else {
        return Err(RebuildError::UnderWay);
    };
    if !due(pool).await?.iter().any(|due| due.name == projector.name) {
        shadow.discard().await?;
        return Ok(None);
    }
    let outcome = Rebuild::of(*shadow, sources, tell).run().await;
    if let Err(error) = &outcome {
        let error = error.to_string();
        sqlx::query!("UPDATE projection_rebuilds SET error = $2 WHERE projection = $1", projector.name, error)
            .execute(pool)
            .await?;
    }
    outcome.map(Some)
}

struct Rebuild<'a, T> {
    shadow: Shadow,
    sources: &'a Sources,
    tell: T,
    began: Instant,
    told: Instant,
    progress: Progress,
}

impl<'a, T: FnMut(Progress) + Send> Rebuild<'a, T> {
    fn of(shadow: Shadow, sources: &'a Sources, tell: T) -> Self {
        let (now, at) = (Instant::now(), shadow.intake.at);
        let progress = Progress { began_at: at, position: at, head: at, events: 0, elapsed: Duration::ZERO };
        Self { shadow, sources, tell, began: now, told: now, progress }
    }

    async fn run(mut self) -> Result<Progress, RebuildError> {
        self.begin().await?;
        self.catch_up().await?;
        self.prepare().await?;
        let mut pause = FIRST_SWAP_PAUSE;
        for _ in 0..SWAP_ATTEMPTS {
            self.catch_up().await?;
            self.write_down().await?;
            if self.swap().await? {
                self.progress.elapsed = self.began.elapsed();
                (self.tell)(self.progress);
                return Ok(self.progress);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_SWAP_PAUSE);
            self.shadow.intake = Intake::begin(self.shadow.projector, &mut self.shadow.connection).await?;
        }
        Err(RebuildError::InUse)
    }

    /// Does what can be done before nobody else may touch the tables, so that little is left for then.
    async fn prepare(&mut self) -> Result<(), RebuildError> {
        self.shadow.make_last_indexes().await?;
        let Shadow { projector, schema, live, connection, .. } = &mut self.shadow;
        projector.carry_over(live, connection).await?;
        for table in projector.tables {
            // So that the first questions have good plans.
            execute(connection, format!("ANALYZE {schema}.{table}")).await?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), RebuildError> {
        self.progress.head = self.sources.store.head().await?;
        // A finished one that is due nevertheless is of an older version.
        sqlx::query!(
            "INSERT INTO projection_rebuilds (projection, began_at, began_position, position, head)
             VALUES ($1, now(), $2, $2, $3)
             ON CONFLICT (projection) DO UPDATE
             SET began_at = now(), began_position = $2, position = $2, head = $3, events = 0, finished_at = NULL, error = NULL",
            self.shadow.projector.name,
            self.progress.position.cast_signed(),
            self.progress.head.cast_signed()
        )
        .execute(&self.sources.pool)
        .await?;
        Ok(())
    }

    /// Takes in what there is, until little enough is left.
    async fn catch_up(&mut self) -> Result<(), RebuildError> {
        loop {
            let Taken { events, is_all } = self.shadow.take_in_page(&self.sources.store, Position::MAX).await?;
            self.progress.events += events as u64;
            self.progress.position = self.shadow.intake.at;
            if events < LAST_EVENTS && is_all {
                return Ok(());
            }
            if self.told.elapsed() >= TELL_INTERVAL {
                self.told = Instant::now();
                self.write_down().await?;
            }
        }
    }

    async fn write_down(&mut self) -> Result<(), RebuildError> {
        self.progress.head = self.sources.store.head().await?.max(self.progress.position);
        self.progress.elapsed = self.began.elapsed();
        (self.tell)(self.progress);
        sqlx::query!(
            "UPDATE projection_rebuilds SET position = $2, head = $3, events = $4, updated_at = now() WHERE projection = $1",
            self.shadow.projector.name,
            self.progress.position.cast_signed(),
            self.progress.head.cast_signed(),
            self.progress.events.cast_signed()
        )
        .execute(&self.sources.pool)
        .await?;
        Ok(())
    }

    /// Has the tables change places, if they can be had and not too much is left to be taken in.
    async fn swap(&mut self) -> Result<bool, RebuildError> {
        let Shadow { projector, schema, live, connection, intake, .. } = &mut self.shadow;
        match swap(*projector, schema, live, connection, intake, &*self.sources.store).await {
            Ok(swapped) => Ok(swapped),
            // Somebody reads for longer than we wait (lock_not_available), or waits for us (deadlock_detected).
            Err(RebuildError::Database(sqlx::Error::Database(error)))
                if error.code().is_some_and(|code| matches!(&*code, "55P03" | "40P01")) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

async fn swap(
    projector: Projector,
    schema: &str,
    live: &str,
    connection: &mut PgConnection,
    intake: &mut Intake,
    store: &dyn EventStore,
) -> Result<bool, RebuildError> {
    let mut transaction = connection.begin().await?;
    execute(&mut transaction, LOCK_TIMEOUT.to_owned()).await?;
    // Whoever feeds the live tables takes this row first, and holds nothing while they wait for it.
    let checkpoint =
        format!("SELECT position, version FROM {live}.projection_checkpoints WHERE projection = $1 FOR UPDATE");
    let checkpoint: Option<(i64, i32)> =
        sqlx::query_as(AssertSqlSafe(checkpoint)).bind(projector.name).fetch_optional(&mut *transaction).await?;
    let (position, version) = checkpoint.unwrap_or((0, projector.version));
    if version > projector.version {
        return Err(RebuildError::Newer);
    }
    // Nobody is to read anything older than they have read before.
    let mut last_events = 0;
    while intake.at < position.cast_unsigned() {
        last_events += take_in_page(intake, &mut transaction, store, position.cast_unsigned()).await?.events;
        if last_events > LAST_EVENTS {
            return Ok(false);
        }
    }
    let tables = projector.tables.iter().map(|table| format!("{live}.{table}")).collect::<Vec<_>>().join(", ");
    execute(&mut transaction, format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).await?;
    projector.carry_over(live, &mut transaction).await?;
    let retired = format!("retired_{}", projector.name);
    execute(&mut transaction, format!("DROP SCHEMA IF EXISTS {retired} CASCADE")).await?;
    execute(&mut transaction, format!("CREATE SCHEMA {retired}")).await?;
    for table in projector.tables {
        execute(&mut transaction, format!("ALTER TABLE {live}.{table} SET SCHEMA {retired}")).await?;
        execute(&mut transaction, format!("ALTER TABLE {schema}.{table} SET SCHEMA {live}")).await?;
    }
    let checkpoint = format!(
        "INSERT INTO {live}.projection_checkpoints AS known (projection, position, version) VALUES ($1, $2, $3)
         ON CONFLICT (projection) DO UPDATE
         SET position = $2, version = $3, updated_at = now(), generation = known.generation + 1"
    );
    sqlx::query(AssertSqlSafe(checkpoint))
        .bind(projector.name)
        .bind(intake.at.cast_signed())
        .bind(projector.version)
        .execute(&mut *transaction)
        .await?;
    for statement in [
        format!("DELETE FROM {live}.parked_events WHERE projection = $1"),
        format!("INSERT INTO {live}.parked_events SELECT * FROM {schema}.parked_events WHERE projection = $1"),
        format!(
            "UPDATE {live}.projection_rebuilds SET finished_at = now(), updated_at = now(), position = head, error = NULL
             WHERE projection = $1"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).bind(projector.name).execute(&mut *transaction).await?;
    }
    execute(&mut transaction, format!("DROP SCHEMA {schema} CASCADE")).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Drops the tables that a rebuild has replaced. Whether there were any.
///
/// # Errors
/// If the database fails.
pub async fn drop_retired(projector: Projector, pool: &PgPool) -> Result<bool, QueryError> {
    let failed = || QueryError::while_("dropping retired tables");
    let schema = format!("retired_{}", projector.name);
    let exists = sqlx::query_scalar!(r#"SELECT to_regnamespace($1) IS NOT NULL AS "exists!""#, schema)
        .fetch_one(pool)
        .await
        .map_err(failed())?;
    let mut connection = pool.acquire().await.map_err(failed())?;
    execute(&mut connection, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await.map_err(failed())?;
    Ok(exists)
}
