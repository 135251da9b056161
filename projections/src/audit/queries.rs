//! Queries for the positions of events.

use event_store::{EventStore, Position, RecordedEvent, StreamId};
use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use super::ReadError;
use crate::{QueryError, Readers};

/// Events that are read at once where the index has not come to yet.
const NOT_INDEXED: usize = 1000;

/// Filter of events. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this business.
    pub business: Option<Uuid>,
    /// Of this type, by its stored name.
    pub event_type: Option<String>,
    /// Caused by this person.
    pub actor: Option<Uuid>,
    /// Caused by this request.
    pub correlation: Option<Uuid>,
    /// Of this stream.
    pub stream: Option<StreamId>,
}

impl AuditFilter {
    /// Returns true if the index is needed: the log itself finds one stream, and all events.
    #[must_use]
    pub fn needs_index(&self) -> bool {
        self.stream.is_none() && *self != Self::default()
    }

    /// Returns true if an event matches.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.business.is_none_or(|business| business == event.metadata.business_id)
            && self.event_type.as_deref().is_none_or(|event_type| event_type == event.event_type)
            && self.actor.is_none_or(|actor| event.metadata.actor.user == Some(actor))
            && self.correlation.is_none_or(|correlation| correlation == event.metadata.correlation_id)
            && self.stream.as_ref().is_none_or(|stream| *stream == event.stream)
    }
}

/// Questions about what there is in the log.
#[derive(Clone)]
pub struct AuditQueries {
    readers: Readers,
}

impl AuditQueries {
    /// Asks over these connections.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// Positions of events after one and before another, at most `limit` of them. The stream isn't looked at: the log finds it itself.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn find(
        &self,
        filter: &AuditFilter,
        after: Position,
        before: Position,
        limit: u32,
    ) -> Result<Vec<Position>, QueryError> {
        // Made of what is asked for and nothing else: a statement that fits every filter has a plan that fits none.
        let mut query = QueryBuilder::<Postgres>::new("SELECT position FROM audit_events WHERE position > ");
        query.push_bind(bigint(after)).push(" AND position < ").push_bind(bigint(before));
        if let Some(business) = filter.business {
            query.push(" AND business_id = ").push_bind(business);
        }
        if let Some(event_type) = &filter.event_type {
            query.push(" AND event_type = ").push_bind(event_type.clone());
        }
        if let Some(actor) = filter.actor {
            query.push(" AND actor_user = ").push_bind(actor);
        }
        if let Some(correlation) = filter.correlation {
            query.push(" AND correlation_id = ").push_bind(correlation);
        }
        query.push(" ORDER BY position LIMIT ").push_bind(i64::from(limit));
        let found: Result<Vec<i64>, sqlx::Error> = query.build_query_scalar().fetch_all(&self.readers).await;
        let found = found.map_err(QueryError::while_("looking for events"))?;
        Ok(found.into_iter().map(i64::cast_unsigned).collect())
    }
}

impl AuditQueries {
    /// The last place at or before a number that there is in the log, as far as the index knows.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn place_at(&self, position: Position) -> Result<Position, QueryError> {
        sqlx::query_scalar!(
            r#"SELECT coalesce(max(position), 0) AS "place!" FROM audit_events WHERE position <= $1"#,
            bigint(position)
        )
        .fetch_one(&self.readers)
        .await
        .map(i64::cast_unsigned)
        .map_err(QueryError::while_("looking for a place in the log"))
    }

    /// The first place after another one, as far as the index knows.
    async fn place_after(&self, position: Position) -> Result<Option<Position>, QueryError> {
        sqlx::query_scalar!("SELECT min(position) FROM audit_events WHERE position > $1", bigint(position))
            .fetch_one(&self.readers)
            .await
            .map(|place| place.map(i64::cast_unsigned))
            .map_err(QueryError::while_("looking for a place in the log"))
    }

    /// Position of the last event that was recorded before a moment; 0 when none was. Times never go back in the log, so the place
    /// is found by halving: a few dozen events are read, however many there are, and no index of times is needed.
    ///
    /// # Errors
    /// If the index or the log can't be read.
    pub async fn position_before(&self, log: &dyn EventStore, moment: OffsetDateTime) -> Result<Position, ReadError> {
        // Everything up to `low` was recorded before; what comes after `high`, and is in the index, was not.
        let (mut low, mut high) = (0, self.place_at(Position::MAX).await?);
        let indexed = high;
        while low < high {
            // Not every number is a place: the next one that is counts.
            let middle = low + (high - low) / 2;
            let Some(place) = self.place_after(middle).await?.filter(|place| *place <= high) else {
                high = middle;
                continue;
            };
            match log.read_at(&[place]).await?.first() {
                Some(event) if event.recorded_at < moment => low = place,
                Some(_) => high = middle,
                None => return Err(ReadError::Missing(place)),
            }
        }
        // The index may not have come to the end yet.
        while low >= indexed {
            let page = log.read_all(low, NOT_INDEXED).await?;
            let before = page.iter().take_while(|event| event.recorded_at < moment).last();
            match before {
                Some(last) => low = last.position,
                None => break,
            }
        }
        Ok(low)
    }
}

fn bigint(position: Position) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
