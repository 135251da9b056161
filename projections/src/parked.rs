//! Events that a projection couldn't take in: which they are, and how they are taken in after all.

use std::collections::HashSet;

use event_store::{EventStore, Position, StreamId};
use sqlx::{Connection, PgConnection, PgPool};
use time::OffsetDateTime;

use crate::QueryError;
use crate::intake::{is_about_data, refusal};
use crate::projector::Projector;
use crate::rebuild::RebuildError;
use crate::runner::{Sources, connect};

/// Events that are tried again in one transaction.
const BATCH: i64 = 500;

/// An event that a projection couldn't take in, or that waits for such a one of its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct ParkedEvent {
    pub position: i64,
    pub stream: String,
    pub event_type: String,
    /// Why.
    pub error: String,
    pub parked_at: OffsetDateTime,
}

/// Result of a retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Events that were taken in.
    pub taken_in: u64,
    /// Events that stay parked.
    pub still_parked: u64,
}

/// Parked events of a projection after a position, in order.
///
/// # Errors
/// If the database fails.
pub async fn parked_events(
    projector: Projector,
    pool: &PgPool,
    after: Position,
    limit: u32,
) -> Result<Vec<ParkedEvent>, QueryError> {
    sqlx::query_as!(
        ParkedEvent,
        "SELECT position, stream, event_type, error, parked_at FROM parked_events
         WHERE projection = $1 AND position > $2 ORDER BY position LIMIT $3",
        projector.name,
        i64::try_from(after).unwrap_or(i64::MAX),
        i64::from(limit)
    )
    .fetch_all(pool)
    .await
    .map_err(QueryError::while_("listing parked events"))
}

/// Tries to take parked events in, in order. Where one stays parked, so do the later ones of its stream.
///
/// Later events of other streams were applied before these. Where that matters, rebuild the projection.
///
/// # Errors
/// If the log or the database fails.
pub async fn retry_parked(projector: Projector, sources: &Sources) -> Result<Retried, RebuildError> {
    let mut connection = connect(&sources.pool, None).await?;
    let mut retried = Retried::default();
    let mut blocked = HashSet::new();
    let mut after = 0;
    loop {
        let batch = retry_batch(projector, &*sources.store, &mut connection, after, &mut blocked).await?;
        let Some(batch) = batch else { return Ok(retried) };
        retried.taken_in += batch.outcome.taken_in;
        retried.still_parked += batch.outcome.still_parked;
        after = batch.last;
    }
}

struct Batch {
    outcome: Retried,
    last: i64,
}

async fn retry_batch(
    projector: Projector,
    store: &dyn EventStore,
    connection: &mut PgConnection,
    after: i64,
    blocked: &mut HashSet<StreamId>,
) -> Result<Option<Batch>, RebuildError> {
    let mut transaction = connection.begin().await?;
    // Whoever feeds the projection waits meanwhile, and looks anew afterwards which streams are parked.
    sqlx::query!("UPDATE projection_checkpoints SET generation = generation + 1 WHERE projection = $1", projector.name)
        .execute(&mut *transaction)
        .await?;
    let positions = sqlx::query_scalar!(
        "SELECT position FROM parked_events WHERE projection = $1 AND position > $2 ORDER BY position LIMIT $3",
        projector.name,
        after,
        BATCH
    )
    .fetch_all(&mut *transaction)
    .await?;
    let Some(last) = positions.last().copied() else { return Ok(None) };
    let mut outcome = Retried::default();
    let mut left: Vec<Position> = positions.iter().map(|position| position.cast_unsigned()).collect();
    while !left.is_empty() {
        let events = store.read_at(&left).await?;
        let Some(last) = events.last() else { break };
        left.retain(|position| *position > last.position);
        for event in &events {
            let mut attempt = transaction.begin().await?;
            let error = match projector.take_in(&mut attempt, &[event], blocked).await {
                Ok(parked) => parked.into_iter().next().map(|parked| parked.error),
                Err(sqlx::Error::Database(error)) if is_about_data(&*error) => Some(refusal(&*error)),
                Err(error) => return Err(error.into()),
            };
            let position = event.position.cast_signed();
            let Some(error) = error else {
                sqlx::query!(
                    "DELETE FROM parked_events WHERE projection = $1 AND position = $2",
                    projector.name,
                    position
                )
                .execute(&mut *attempt)
                .await?;
                attempt.commit().await?;
                outcome.taken_in += 1;
                continue;
            };
            attempt.rollback().await?;
            blocked.insert(event.stream.clone());
            outcome.still_parked += 1;
            sqlx::query!(
                "UPDATE parked_events SET error = $3, parked_at = now() WHERE projection = $1 AND position = $2",
                projector.name,
                position,
                error
            )
            .execute(&mut *transaction)
            .await?;
        }
    }
    transaction.commit().await?;
    Ok(Some(Batch { outcome, last }))
}
