//! Questions about calls. Those on somebody's behalf name who asks; those at the end are asked by process managers.

use domain::{CallId, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{QueryError, Readers};

/// A call, with its parties as they are called today.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRow {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub caller_id: Uuid,
    pub caller_name: Option<String>,
    pub caller_avatar: Option<String>,
    pub receiver_id: Uuid,
    pub receiver_name: Option<String>,
    pub receiver_avatar: Option<String>,
    pub call_type: String,
    pub room_id: String,
    pub status: String,
    pub created_at: OffsetDateTime,
    pub accepted_at: Option<OffsetDateTime>,
    pub ended_at: Option<OffsetDateTime>,
    pub ended_by: Option<Uuid>,
    pub end_reason: Option<String>,
    pub duration_ms: Option<i64>,
    pub position: i64,
}

/// Direction of a call, seen from one of its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// They were called.
    Incoming,
    /// They called.
    Outgoing,
}

/// Filter of a call history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallFilter {
    /// With this status only.
    pub status: Option<String>,
    /// In this direction only.
    pub direction: Option<Direction>,
    /// Older than the call at this position.
    pub before: Option<u64>,
}

/// Questions about calls.
#[derive(Clone)]
pub struct CallQueries {
    readers: Readers,
}

impl CallQueries {
    /// Asks over these connections.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// One call that this person is a party of.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn call(&self, id: CallId, viewer: UserId) -> Result<Option<CallRow>, QueryError> {
        sqlx::query_as!(
            CallRow,
            r#"SELECT c.id, c.conversation_id, c.caller_id, caller.name AS "caller_name?", caller.avatar AS "caller_avatar?",
                      c.receiver_id, receiver.name AS "receiver_name?", receiver.avatar AS "receiver_avatar?", c.call_type,
                      c.room_id, c.status, c.created_at, c.accepted_at, c.ended_at, c.ended_by, c.end_reason, c.duration_ms,
                      c.position
               FROM calls c
               LEFT JOIN users caller ON caller.id = c.caller_id
               LEFT JOIN users receiver ON receiver.id = c.receiver_id
               WHERE c.id = $1 AND (c.caller_id = $2 OR c.receiver_id = $2)"#,
            id.0,
            viewer.0
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(QueryError::while_("reading a call"))
    }

    /// Calls of a person, the latest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn history(&self, viewer: UserId, filter: &CallFilter, limit: u32) -> Result<Vec<CallRow>, QueryError> {
        let before = filter.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        sqlx::query_as!(
            CallRow,
            // Each half ends after a page of its own, so that the index of each is enough.
            r#"WITH mine AS (
                   (SELECT * FROM calls
                    WHERE $5 AND caller_id = $1 AND position < $2 AND ($3::text IS NULL OR status = $3)
                    ORDER BY position DESC LIMIT $4)
                   UNION ALL
                   (SELECT * FROM calls
                    WHERE $6 AND receiver_id = $1 AND position < $2 AND ($3::text IS NULL OR status = $3)
                    ORDER BY position DESC LIMIT $4)
               )
               SELECT c.id AS "id!", c.conversation_id AS "conversation_id!", c.caller_id AS "caller_id!",
                      caller.name AS "caller_name?", caller.avatar AS "caller_avatar?", c.receiver_id AS "receiver_id!",
                      receiver.name AS "receiver_name?", receiver.avatar AS "receiver_avatar?", c.call_type AS "call_type!",
                      c.room_id AS "room_id!", c.status AS "status!", c.created_at AS "created_at!", c.accepted_at,
                      c.ended_at, c.ended_by, c.end_reason, c.duration_ms, c.position AS "position!"
               FROM mine c
               LEFT JOIN users caller ON caller.id = c.caller_id
               LEFT JOIN users receiver ON receiver.id = c.receiver_id
               ORDER BY c.position DESC LIMIT $4"#,
            viewer.0,
            before,
            filter.status,
            i64::from(limit),
            filter.direction != Some(Direction::Incoming),
            filter.direction != Some(Direction::Outgoing)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("listing calls"))
    }

    /// Calls that have not been answered, and may ring until this time or less; the longest overdue first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rung_out(&self, by: Timestamp, limit: u32) -> Result<Vec<CallId>, QueryError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM calls WHERE status = 'ringing' AND rings_until <= $1 ORDER BY rings_until LIMIT $2",
            OffsetDateTime::from(by),
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking for calls that nobody answers"))?;
        Ok(ids.into_iter().map(CallId).collect())
    }

    /// Calls in which people talk: which, who called, and who was called.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn active(&self) -> Result<Vec<(CallId, UserId, UserId)>, QueryError> {
        let rows = sqlx::query!("SELECT id, caller_id, receiver_id FROM calls WHERE status = 'active'")
            .fetch_all(&self.readers)
            .await
            .map_err(QueryError::while_("looking for live calls"))?;
        Ok(rows.into_iter().map(|row| (CallId(row.id), UserId(row.caller_id), UserId(row.receiver_id))).collect())
    }
}
