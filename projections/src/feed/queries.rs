//! Questions about the feed.

use domain::UserId;
use event_store::Position;
use time::OffsetDateTime;

use crate::{QueryError, Readers};

/// Some of what happened to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// Positions in the log, in order.
    pub positions: Vec<Position>,
    /// Position of the feed. Unless the page is full, nothing else has happened to the user up to here.
    pub head: Position,
    /// Up to here the feed has been forgotten: who has seen less can't be told what they missed.
    pub horizon: Position,
}

/// Questions about the feed.
#[derive(Clone)]
pub struct FeedQueries {
    readers: Readers,
}

impl FeedQueries {
    /// Asks over these connections.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// Returns the positions of at most `limit` events of a user after a position.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn after(&self, user: UserId, after: Position, limit: u32) -> Result<FeedPage, QueryError> {
        let row = sqlx::query!(
            // One statement, so that the head is the one that the entries are of.
            r#"SELECT coalesce((SELECT position FROM projection_checkpoints WHERE projection = 'feed'), 0) AS "head!",
                      (SELECT position FROM feed_horizon) AS "horizon!",
                      ARRAY(
                          SELECT entry.position
                          FROM (
                              SELECT $1::uuid AS audience, $2::bigint AS after, NULL::bigint AS until
                              UNION ALL
                              SELECT m.conversation_id, greatest($2, m.from_position), m.until_position
                              FROM feed_members m JOIN feed_conversations c USING (conversation_id)
                              WHERE m.user_id = $1 AND c.last_position > $2
                          ) mine
                          CROSS JOIN LATERAL (
                              SELECT position FROM feed_entries
                              WHERE audience = mine.audience AND position > mine.after
                                AND (mine.until IS NULL OR position <= mine.until)
                              ORDER BY position LIMIT $3
                          ) entry
                          ORDER BY entry.position LIMIT $3
                      ) AS "positions!""#,
            user.0,
            i64::try_from(after).unwrap_or(i64::MAX),
            i64::from(limit)
        )
        .fetch_one(&self.readers)
        .await
        .map_err(QueryError::while_("reading the feed"))?;
        Ok(FeedPage {
            positions: row.positions.into_iter().map(i64::cast_unsigned).collect(),
            head: row.head.cast_unsigned(),
            horizon: row.horizon.cast_unsigned(),
        })
    }

    /// Forgets what was recorded before the day of this time. Returns how many entries that were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_before(&self, time: OffsetDateTime) -> Result<u64, QueryError> {
        // In one statement: whoever compares the feed with the log sees both or neither.
        let forgotten = sqlx::query!(
            "WITH horizon AS (
                 UPDATE feed_horizon SET position = first.position - 1
                 FROM (SELECT min(first_position) AS position FROM feed_days WHERE day >= $1) first
                 WHERE first.position - 1 > feed_horizon.position
                 RETURNING feed_horizon.position
             )
             DELETE FROM feed_entries
             -- Which has no index of positions: it is not to be looked through when there is nothing to be forgotten.
             WHERE EXISTS (SELECT FROM horizon) AND position <= (SELECT position FROM horizon)",
            time.date()
        )
        .execute(&self.readers)
        .await
        .map_err(QueryError::while_("forgetting what is old in the feed"))?;
        Ok(forgotten.rows_affected())
    }
}
