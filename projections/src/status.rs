//! Status of the projections, for operators.

use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;

use crate::QueryError;
use crate::projector::Projector;
use crate::rebuild::Progress;

/// Status of a projection.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionStatus {
    /// Which.
    pub name: &'static str,
    /// Version of the code that made its rows.
    pub version: i32,
    /// Position of the last event taken in.
    pub position: u64,
    /// Events that it couldn't take in.
    pub parked: i64,
    /// True if the tables before its last rebuild are still there.
    pub has_retired_tables: bool,
    /// Its last rebuild, if there ever was one.
    pub rebuild: Option<RebuildStatus>,
}

/// Status of a rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct RebuildStatus {
    pub requested_at: OffsetDateTime,
    /// None while it waits for a node to begin.
    pub began_at: Option<OffsetDateTime>,
    /// None while it isn't over.
    pub finished_at: Option<OffsetDateTime>,
    /// Its progress.
    pub progress: Progress,
    /// Why it has stopped. It is tried again.
    pub error: Option<String>,
}

impl ProjectionStatus {
    /// State: `live`, or `rebuilding` beside that.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.rebuild {
            Some(rebuild) if rebuild.finished_at.is_none() => "rebuilding",
            _ => "live",
        }
    }
}

/// Returns the status of all projections.
///
/// # Errors
/// If the database fails.
pub async fn status(pool: &PgPool) -> Result<Vec<ProjectionStatus>, QueryError> {
    let names = Projector::ALL.map(|projector| projector.name);
    let rows = sqlx::query!(
        r#"SELECT name AS "name!", coalesce(c.version, 0) AS "version!", coalesce(c.position, 0) AS "position!",
                  (SELECT count(*) FROM parked_events p WHERE p.projection = name) AS "parked!",
                  to_regnamespace('retired_' || name) IS NOT NULL AS "has_retired_tables!",
                  r.requested_at AS "requested_at?", r.began_at, r.finished_at, r.began_position AS "began_position?",
                  r.position AS "rebuilt_position?", r.head AS "head?", r.events AS "events?", r.updated_at, r.error
           FROM unnest($1::text[]) WITH ORDINALITY AS known(name, n)
           LEFT JOIN projection_checkpoints c ON c.projection = name
           LEFT JOIN projection_rebuilds r ON r.projection = name
           ORDER BY n"#,
        &names as &[&str]
    )
    .fetch_all(pool)
    .await
    .map_err(QueryError::while_("looking how projections are doing"))?;
    let statuses = rows.into_iter().zip(names).map(|(row, name)| ProjectionStatus {
        name,
        version: row.version,
        position: row.position.cast_unsigned(),
        parked: row.parked,
        has_retired_tables: row.has_retired_tables,
        rebuild: row.requested_at.map(|requested_at| RebuildStatus {
            requested_at,
            began_at: row.began_at,
            finished_at: row.finished_at,
            progress: Progress {
                began_at: row.began_position.unwrap_or_default().cast_unsigned(),
                position: row.rebuilt_position.unwrap_or_default().cast_unsigned(),
                head: row.head.unwrap_or_default().cast_unsigned(),
                events: row.events.unwrap_or_default().cast_unsigned(),
                elapsed: elapsed(row.began_at, row.updated_at),
            },
            error: row.error,
        }),
    });
    Ok(statuses.collect())
}

fn elapsed(from: Option<OffsetDateTime>, until: Option<OffsetDateTime>) -> Duration {
    from.zip(until).and_then(|(from, until)| Duration::try_from(until - from).ok()).unwrap_or_default()
}
