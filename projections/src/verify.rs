//! Proves that the tables that serve are what the log says: replays all of it into tables of its own, and compares the two row by
//! row, as they are at the same position.

use event_store::{EventStore, Position};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::Instant;

use crate::intake::Intake;
use crate::projector::Projector;
use crate::rebuild::{Progress, RebuildError};
use crate::runner::Sources;
use crate::shadow::{Opened, Shadow, Taken, execute, take_in_page};

/// Events that may be left to be taken in within the transaction that compares.
const LAST_EVENTS: usize = 5000;
/// Differences of one table that are told apart at most.
const MAX_DIFFERENCES: i64 = 100;

/// Result for one projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Position at which both were compared.
    pub position: Position,
    /// Rows that serve.
    pub rows: i64,
    /// Rows that are not as they should be.
    pub wrong_rows: i64,
    /// The differences, up to a number for each table.
    pub differences: Vec<Difference>,
}

/// A row that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row's key: its columns and their values.
    pub key: Value,
    /// Kind of difference.
    pub kind: DifferenceKind,
}

/// Kinds of differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It should be there, and isn't.
    Missing,
    /// It is there, and shouldn't be.
    Extra,
    /// It says something else in these columns.
    Different(Vec<String>),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: ", self.table, self.key)?;
        match &self.kind {
            DifferenceKind::Missing => write!(f, "the row is missing"),
            DifferenceKind::Extra => write!(f, "the row shouldn't be there"),
            DifferenceKind::Different(columns) => write!(f, "the log says something else of {}", columns.join(", ")),
        }
    }
}

/// Compares a projection with a replay of the whole log. The projection goes on meanwhile. `tell` hears how far the replay has come.
///
/// # Errors
/// If another process is at it, or if the log or the database fails.
pub async fn verify(
    projector: Projector,
    sources: &Sources,
    mut tell: impl FnMut(Progress) + Send,
) -> Result<Verified, RebuildError> {
    let Opened::Ours(mut shadow) = Shadow::open(projector, "verify", &sources.pool).await? else {
        return Err(RebuildError::UnderWay);
    };
    let verified = replay_and_compare(&mut shadow, sources, &mut tell).await;
    let discarded = shadow.discard().await;
    let verified = verified?;
    discarded?;
    Ok(verified)
}

async fn replay_and_compare(
    shadow: &mut Shadow,
    sources: &Sources,
    tell: &mut (impl FnMut(Progress) + Send),
) -> Result<Verified, RebuildError> {
    let projector = shadow.projector;
    // Nothing that was left behind counts as a proof.
    shadow.empty().await?;
    let began = Instant::now();
    let mut progress = Progress { began_at: 0, position: 0, head: 0, events: 0, elapsed: std::time::Duration::ZERO };
    loop {
        progress.head = live_position(projector, &sources.pool).await?;
        let before = progress.events;
        loop {
            let Taken { events, .. } = shadow.take_in_page(&sources.store, progress.head).await?;
            if events == 0 {
                break;
            }
            progress.events += events as u64;
            progress.position = shadow.intake.at;
            progress.elapsed = began.elapsed();
            tell(progress);
        }
        if progress.events - before < LAST_EVENTS as u64 {
            break;
        }
    }
    let Shadow { schema, live, connection, intake, .. } = shadow;
    compare(projector, schema, live, connection, intake, &*sources.store).await
}

async fn live_position(projector: Projector, pool: &sqlx::PgPool) -> Result<Position, sqlx::Error> {
    let position =
        sqlx::query_scalar!("SELECT position FROM projection_checkpoints WHERE projection = $1", projector.name)
            .fetch_optional(pool)
            .await?;
    Ok(position.unwrap_or_default().cast_unsigned())
}

/// Compares within one snapshot: first the shadow comes to where the tables that serve are in it.
async fn compare(
    projector: Projector,
    schema: &str,
    live: &str,
    connection: &mut PgConnection,
    intake: &mut Intake,
    store: &dyn EventStore,
) -> Result<Verified, RebuildError> {
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    // Before the snapshot, which the first query takes: a rebuild mustn't put other tables in their place meanwhile.
    let tables = projector.tables.iter().map(|table| format!("{live}.{table}")).collect::<Vec<_>>().join(", ");
    execute(&mut transaction, format!("LOCK TABLE {tables} IN ACCESS SHARE MODE")).await?;
    let position = format!("SELECT position FROM {live}.projection_checkpoints WHERE projection = $1");
    let position: Option<i64> =
        sqlx::query_scalar(AssertSqlSafe(position)).bind(projector.name).fetch_optional(&mut *transaction).await?;
    let position = position.unwrap_or_default().cast_unsigned();
    while take_in_page(intake, &mut transaction, store, position).await?.events > 0 {}
    projector.carry_over(live, &mut transaction).await?;
    let mut verified = Verified { position, rows: 0, wrong_rows: 0, differences: vec![] };
    for table in projector.tables {
        let rows = format!("SELECT count(*) FROM {live}.{table}");
        verified.rows += sqlx::query_scalar::<_, i64>(AssertSqlSafe(rows)).fetch_one(&mut *transaction).await?;
        let columns = columns(&mut transaction, live, table).await?;
        let found =
            sqlx::query(AssertSqlSafe(comparison(live, schema, table, &columns))).fetch_all(&mut *transaction).await?;
        for row in &found {
            let kind = match row.try_get("kind")? {
                "missing" => DifferenceKind::Missing,
                "extra" => DifferenceKind::Extra,
                _ => DifferenceKind::Different(row.try_get("columns")?),
            };
            verified.differences.push(Difference { table, key: row.try_get("key")?, kind });
        }
        if let Some(row) = found.first() {
            verified.wrong_rows += row.try_get::<i64, _>("total")?;
        }
    }
    transaction.rollback().await?;
    Ok(verified)
}

struct Column {
    /// As it is written in statements.
    quoted: String,
    name: String,
    is_key: bool,
}

async fn columns(connection: &mut PgConnection, schema: &str, table: &str) -> Result<Vec<Column>, sqlx::Error> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT quote_ident(a.attname), a.attname::text, coalesce(a.attnum = ANY(i.indkey), false)
         FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
         WHERE a.attrelid = to_regclass($1 || '.' || $2) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(schema)
    .bind(table)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(quoted, name, is_key)| Column { quoted, name, is_key }).collect())
}

/// The rows of two tables that differ, by their primary key, with how many they are in all.
fn comparison(live: &str, shadow: &str, table: &str, columns: &[Column]) -> String {
    let list = |between: &str, of: &[&Column], each: &dyn Fn(&str, &str) -> String| {
        of.iter().map(|column| each(&column.quoted, &column.name)).collect::<Vec<_>>().join(between)
    };
    let all: Vec<&Column> = columns.iter().collect();
    let keys: Vec<&Column> = columns.iter().filter(|column| column.is_key).collect();
    let either = |quoted: &str| format!("coalesce(l.{quoted}, s.{quoted})");
    let key = list(", ", &keys, &|quoted, name| format!("'{name}', {}", either(quoted)));
    let order = list(", ", &keys, &|quoted, _| either(quoted));
    let same_key = list(" AND ", &keys, &|quoted, _| format!("l.{quoted} = s.{quoted}"));
    let of_live = list(", ", &all, &|quoted, _| format!("l.{quoted}"));
    let of_shadow = list(", ", &all, &|quoted, _| format!("s.{quoted}"));
    let changed =
        list(", ", &all, &|quoted, name| format!("CASE WHEN l.{quoted} IS DISTINCT FROM s.{quoted} THEN '{name}' END"));
    let first = keys.first().map_or("", |column| column.quoted.as_str());
    format!(
        "SELECT jsonb_build_object({key}) AS key, array_remove(ARRAY[{changed}], NULL) AS columns, count(*) OVER () AS total,
                CASE WHEN l.{first} IS NULL THEN 'missing' WHEN s.{first} IS NULL THEN 'extra' ELSE 'different' END AS kind
         FROM {live}.{table} l FULL JOIN {shadow}.{table} s ON {same_key}
         WHERE ROW({of_live}) IS DISTINCT FROM ROW({of_shadow})
         ORDER BY {order} LIMIT {MAX_DIFFERENCES}"
    )
}
