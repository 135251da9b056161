//! Takes events in for one projection: rows, checkpoint and what has to be parked, in one transaction. Which tables that goes to is
//! up to the connection's `search_path`: those that serve, or others that are built beside them.

use std::collections::HashSet;

use event_store::{Position, RecordedEvent, StreamId};
use sqlx::{Connection, PgConnection};

use crate::column;
use crate::projector::{Parked, Projector};

/// Checkpoint of a projection, and what it needs to continue.
pub(crate) struct Intake {
    projector: Projector,
    /// Position of the last event taken in.
    pub(crate) at: Position,
    /// Version of the code that made the rows.
    pub(crate) version: i32,
    generation: i64,
    /// Streams of which an event is parked.
    parked: HashSet<StreamId>,
}

/// Why it is to begin anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Setback {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the log failed")]
    Store(#[from] event_store::StoreError),
    #[error("somebody else has moved the checkpoint away from {0}")]
    Overtaken(Position),
}

impl Intake {
    /// Finds out where the projection is. One that has never been anywhere is at the beginning.
    pub(crate) async fn begin(projector: Projector, connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        sqlx::query!(
            "INSERT INTO projection_checkpoints (projection, version) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            projector.name,
            projector.version
        )
        .execute(&mut *connection)
        .await?;
        // In this order: whoever parks an event, or takes one in that was parked, moves the checkpoint with it.
        let checkpoint = sqlx::query!(
            "SELECT position, version, generation FROM projection_checkpoints WHERE projection = $1",
            projector.name
        )
        .fetch_one(&mut *connection)
        .await?;
        let parked =
            sqlx::query_scalar!("SELECT DISTINCT stream FROM parked_events WHERE projection = $1", projector.name)
                .fetch_all(connection)
                .await?;
        Ok(Self {
            projector,
            at: checkpoint.position.cast_unsigned(),
            version: checkpoint.version,
            generation: checkpoint.generation,
            parked: parked.into_iter().map(StreamId::from).collect(),
        })
    }

    /// Takes the next events in. When the database refuses them, in halves, and those in halves, to find the ones that are to blame.
    pub(crate) async fn take_in(
        &mut self,
        connection: &mut PgConnection,
        events: &[&RecordedEvent],
    ) -> Result<(), Setback> {
        match self.commit(connection, events, None).await {
            Err(Setback::Database(sqlx::Error::Database(error))) if is_about_data(&*error) => {
                if let [_] = events {
                    return self.commit(connection, events, Some(refusal(&*error))).await;
                }
                let projection = self.projector.name;
                tracing::warn!(
                    projection,
                    events = events.len(),
                    "the database refused a batch; halving it to find the event that is to blame"
                );
                for half in events.chunks(events.len().div_ceil(2)) {
                    Box::pin(self.take_in(connection, half)).await?;
                }
                Ok(())
            }
            committed => committed,
        }
    }

    /// Writes the rows of these events and the checkpoint after them. With a reason the events are parked instead.
    async fn commit(
        &mut self,
        connection: &mut PgConnection,
        events: &[&RecordedEvent],
        parked_because: Option<String>,
    ) -> Result<(), Setback> {
        let Some(last) = events.last().map(|event| event.position) else { return Ok(()) };
        let mut transaction = connection.begin().await?;
        // First of all: should two nodes ever believe that they are in charge, one of them stops here; and whoever wants the
        // tables to themselves waits here, and not for one of them while we wait for another.
        let moved = sqlx::query!(
            "UPDATE projection_checkpoints SET position = $4, updated_at = now()
             WHERE projection = $1 AND position = $2 AND generation = $3",
            self.projector.name,
            self.at.cast_signed(),
            self.generation,
            last.cast_signed()
        )
        .execute(&mut *transaction)
        .await?;
        if moved.rows_affected() == 0 {
            return Err(Setback::Overtaken(self.at));
        }
        let parked = match parked_because {
            Some(reason) => events.iter().map(|event| Parked::because(&reason, event)).collect(),
            None => self.projector.take_in(&mut transaction, events, &self.parked).await?,
        };
        self.park(&mut transaction, &parked).await?;
        transaction.commit().await?;
        self.at = last;
        self.parked.extend(parked.into_iter().map(|event| event.stream));
        Ok(())
    }

    async fn park(&self, connection: &mut PgConnection, parked: &[Parked]) -> Result<(), sqlx::Error> {
        if parked.is_empty() {
            return Ok(());
        }
        let projection = self.projector.name;
        for Parked { position, error, .. } in parked {
            tracing::error!(projection, position, error, "parked an event");
        }
        metrics::counter!("switchboard_projection_parked_total", "projection" => projection)
            .increment(parked.len() as u64);
        sqlx::query!(
            "INSERT INTO parked_events (projection, position, stream, event_type, error)
             SELECT $1, position, stream, event_type, error
             FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS new(position, stream, event_type, error)
             ON CONFLICT DO NOTHING",
            projection,
            &column(parked, |event| event.position.cast_signed()),
            &column(parked, |event| event.stream.as_str()) as &[&str],
            &column(parked, |event| event.event_type.as_str()) as &[&str],
            &column(parked, |event| event.error.as_str()) as &[&str]
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Returns true if an error lies in the data (cardinality, data exceptions, violated constraints, limits) and would repeat.
pub(crate) fn is_about_data(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// Describes an error of the database without the data, which may be personal.
pub(crate) fn refusal(error: &dyn sqlx::error::DatabaseError) -> String {
    format!(
        "the database refuses its rows: {} ({})",
        error.code().unwrap_or_default(),
        error.constraint().unwrap_or("-")
    )
}
