//! Questions about messages. Every question names who asks, and the answer is limited to what that person may see.

use domain::{MessageId, UserId};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::QueryError;

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRow {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub position: i64,
    pub sender_id: Uuid,
    pub recipient_id: Uuid,
    pub content: Option<String>,
    pub kind: String,
    pub attachments: Vec<Uuid>,
    pub sent_at: OffsetDateTime,
    /// Whether the recipient has read it, or a later one.
    pub read: bool,
    /// Whether a device of the recipient has been handed it, or a later one.
    pub delivered: bool,
}

/// Questions about messages.
#[derive(Clone)]
pub struct MessagingQueries {
    pool: PgPool,
}

impl MessagingQueries {
    /// Asks this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// One message that this person wrote or got.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(&self, id: MessageId, viewer: UserId) -> Result<Option<MessageRow>, QueryError> {
        sqlx::query_as!(
            MessageRow,
            r#"SELECT m.id, m.conversation_id, m.position, m.sender_id, m.recipient_id, m.content, m.kind, m.attachments,
                      m.sent_at, r.read_position >= m.position AS "read!",
                      greatest(r.read_position, r.delivered_position) >= m.position AS "delivered!"
               FROM messages m
               JOIN conversation_members r ON r.conversation_id = m.conversation_id AND r.user_id = m.recipient_id
               WHERE m.id = $1 AND (m.sender_id = $2 OR m.recipient_id = $2)"#,
            id.0,
            viewer.0
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(QueryError::while_("reading a message"))
    }
}
