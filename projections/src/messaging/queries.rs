//! Questions about messages. Every question names who asks, and the answer is limited to what that person may see.

use std::collections::HashMap;
use std::time::Duration;

use domain::{ConversationId, FileId, MessageId, Timestamp, UserId};
use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{QueryError, Readers, column};

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRow {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub position: i64,
    pub sender_id: Uuid,
    pub recipient_id: Uuid,
    /// None once it is deleted or erased.
    pub content: Option<String>,
    pub kind: String,
    pub attachments: Vec<Uuid>,
    pub reply_to: Option<Uuid>,
    pub sent_at: OffsetDateTime,
    pub edited_at: Option<OffsetDateTime>,
    pub deleted_at: Option<OffsetDateTime>,
    /// True if the recipient has read it, or a later one.
    pub read: bool,
    /// True if it, or a later one, was delivered to a client of the recipient.
    pub delivered: bool,
}

/// Current content of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedMessage {
    /// None once it is deleted or erased.
    pub content: Option<String>,
    pub is_deleted: bool,
}

/// A conversation, as one who is in it sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationRow {
    /// The last message.
    pub last: MessageRow,
    /// The other party.
    pub other_user_id: Uuid,
    pub other_name: Option<String>,
    pub other_avatar: Option<String>,
    /// Time at which the other user was last online; none if they never were.
    pub other_last_seen_at: Option<OffsetDateTime>,
    /// Messages that one has got and not read.
    pub unread: i64,
    /// Position of the last message that one has read; 0 before the first.
    pub read_position: i64,
}

/// A file that goes with a message.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRow {
    pub id: Uuid,
    /// None once it is erased.
    pub name: Option<String>,
    pub size_bytes: i64,
    pub content_type: String,
    pub sha256: String,
}

/// Some of a conversation. With a beginning alone, the oldest of it come first; otherwise the latest do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Only messages after this position.
    pub after: Option<u64>,
    /// Only messages before this position.
    pub before: Option<u64>,
}

/// Time for which a removed file is swept again, in case a node died before its bytes were deleted.
const REMOVED_LATELY: Duration = Duration::from_hours(1);

/// Questions about messages.
#[derive(Clone)]
pub struct MessagingQueries {
    readers: Readers,
}

/// Messages, and whether their recipients have got that far: `$2` is one of the two who are in `$conversation`, which is that of all of
/// these messages. Where each of the two is is looked up once, and only compared with each message.
macro_rules! messages {
    ($conversation:literal, $which:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            MessageRow,
            r#"WITH member AS MATERIALIZED (
                   SELECT user_id, read_position, greatest(read_position, delivered_position) AS delivered_position
                   FROM conversation_members WHERE conversation_id = "# + $conversation + r#"
               )
               SELECT id, conversation_id, position, sender_id, recipient_id, content, kind, attachments, reply_to, sent_at,
                      edited_at, deleted_at,
                      coalesce(position <= CASE WHEN recipient_id = $2
                          THEN (SELECT read_position FROM member WHERE user_id = $2)
                          ELSE (SELECT read_position FROM member WHERE user_id <> $2) END, false) AS "read!",
                      coalesce(position <= CASE WHEN recipient_id = $2
                          THEN (SELECT delivered_position FROM member WHERE user_id = $2)
                          ELSE (SELECT delivered_position FROM member WHERE user_id <> $2) END, false) AS "delivered!"
               FROM messages WHERE "# + $which,
            $($argument),+
        )
    };
}

/// The largest position that there can be, for those who name none.
fn position_or(position: Option<u64>, otherwise: i64) -> i64 {
    position.map_or(otherwise, |position| i64::try_from(position).unwrap_or(i64::MAX))
}

impl MessagingQueries {
    /// Asks over these connections.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// One message that this person wrote or got.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn message(&self, id: MessageId, viewer: UserId) -> Result<Option<MessageRow>, QueryError> {
        messages!(
            "(SELECT conversation_id FROM messages WHERE id = $1)",
            "id = $1 AND (sender_id = $2 OR recipient_id = $2)",
            id.0,
            viewer.0
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(QueryError::while_("reading a message"))
    }

    /// Of these messages, those that were edited or deleted, as they are now. For those who were away meanwhile.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn changed(&self, ids: &[MessageId]) -> Result<HashMap<MessageId, ChangedMessage>, QueryError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query!(
            r#"SELECT id, content, deleted_at IS NOT NULL AS "is_deleted!" FROM messages
               WHERE id = ANY($1) AND (edited_at IS NOT NULL OR deleted_at IS NOT NULL)"#,
            &column(ids, |id| id.0)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking what has become of messages"))?;
        let changed = rows
            .into_iter()
            .map(|row| (MessageId(row.id), ChangedMessage { content: row.content, is_deleted: row.is_deleted }));
        Ok(changed.collect())
    }

    /// Some messages of a conversation that this person is in; none when there is no such conversation.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn history(
        &self,
        id: ConversationId,
        viewer: UserId,
        range: Range,
        limit: u32,
    ) -> Result<Option<Vec<MessageRow>>, QueryError> {
        let (after, before) = (position_or(range.after, 0), position_or(range.before, i64::MAX));
        let limit = i64::from(limit);
        let oldest_first = range.after.is_some() && range.before.is_none();
        let rows = if oldest_first {
            let messages = messages!(
                "$1",
                "conversation_id = $1 AND EXISTS (SELECT FROM member WHERE user_id = $2) AND position > $3
                 ORDER BY position LIMIT $4",
                id.0,
                viewer.0,
                after,
                limit
            );
            messages.fetch_all(&self.readers).await
        } else {
            let messages = messages!(
                "$1",
                "conversation_id = $1 AND EXISTS (SELECT FROM member WHERE user_id = $2) AND position > $3 AND position < $4
                 ORDER BY position DESC LIMIT $5",
                id.0,
                viewer.0,
                after,
                before,
                limit
            );
            messages.fetch_all(&self.readers).await
        };
        let rows = rows.map_err(QueryError::while_("reading a conversation"))?;
        let is_theirs = !rows.is_empty() || self.is_in(id, viewer).await?;
        Ok(is_theirs.then_some(rows))
    }

    async fn is_in(&self, conversation: ConversationId, user: UserId) -> Result<bool, QueryError> {
        let found = sqlx::query_scalar!(
            "SELECT user_id FROM conversation_members WHERE conversation_id = $1 AND user_id = $2",
            conversation.0,
            user.0
        )
        .fetch_optional(&self.readers)
        .await;
        found.map(|found| found.is_some()).map_err(QueryError::while_("reading who is in a conversation"))
    }

    /// Conversations of a person, the one with the latest message first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn conversations(
        &self,
        viewer: UserId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ConversationRow>, QueryError> {
        let rows = sqlx::query!(
            // First the conversations of the page; then what there is to them, each by its own key.
            r#"SELECT m.id, m.conversation_id, m.position, m.sender_id, m.recipient_id, m.content, m.kind, m.attachments,
                      m.reply_to, m.sent_at, m.edited_at, m.deleted_at, c.other_user_id, c.unread, c.read_position,
                      c.delivered_position, o.read_position AS other_read_position,
                      o.delivered_position AS other_delivered_position, u.name AS "other_name?", u.avatar AS "other_avatar?",
                      s.seen_at AS "other_last_seen_at?"
               FROM (
                   SELECT * FROM conversation_members
                   WHERE user_id = $1 AND last_position < $2 ORDER BY last_position DESC LIMIT $3
               ) c
               JOIN messages m ON m.conversation_id = c.conversation_id AND m.position = c.last_position
               JOIN conversation_members o ON o.conversation_id = c.conversation_id AND o.user_id <> c.user_id
               LEFT JOIN users u ON u.id = c.other_user_id
               LEFT JOIN last_seen s ON s.user_id = c.other_user_id
               ORDER BY c.last_position DESC"#,
            viewer.0,
            position_or(before, i64::MAX),
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("listing conversations"))?;
        let conversations = rows.into_iter().map(|row| {
            // Of the last message it is its recipient's cursor that counts.
            let (read, delivered) = if row.recipient_id == viewer.0 {
                (row.read_position, row.delivered_position)
            } else {
                (row.other_read_position, row.other_delivered_position)
            };
            ConversationRow {
                last: MessageRow {
                    id: row.id,
                    conversation_id: row.conversation_id,
                    position: row.position,
                    sender_id: row.sender_id,
                    recipient_id: row.recipient_id,
                    content: row.content,
                    kind: row.kind,
                    attachments: row.attachments,
                    reply_to: row.reply_to,
                    sent_at: row.sent_at,
                    edited_at: row.edited_at,
                    deleted_at: row.deleted_at,
                    read: read >= row.position,
                    delivered: delivered.max(read) >= row.position,
                },
                other_user_id: row.other_user_id,
                other_name: row.other_name,
                other_avatar: row.other_avatar,
                other_last_seen_at: row.other_last_seen_at,
                unread: row.unread,
                read_position: row.read_position,
            }
        });
        Ok(conversations.collect())
    }

    /// Messages that a person has got and not read, in all conversations.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unread(&self, person: UserId) -> Result<i64, QueryError> {
        sqlx::query_scalar!(
            r#"SELECT coalesce(sum(unread), 0)::bigint AS "unread!" FROM conversation_members WHERE user_id = $1"#,
            person.0
        )
        .fetch_one(&self.readers)
        .await
        .map_err(QueryError::while_("counting what is unread"))
    }

    /// Returns the data of files.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn files(&self, ids: &[Uuid]) -> Result<Vec<FileRow>, QueryError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        sqlx::query_as!(
            FileRow,
            "SELECT id, name, size_bytes, content_type, sha256 FROM files WHERE id = ANY($1) AND removed_at IS NULL",
            ids
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("reading files"))
    }

    /// Bytes of the files that are kept of a user, or of a business.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn kept_bytes(&self, owner: Uuid) -> Result<u64, QueryError> {
        let bytes = sqlx::query_scalar!("SELECT bytes FROM kept_bytes WHERE owner_id = $1", owner)
            .fetch_optional(&self.readers)
            .await
            .map_err(QueryError::while_("reading how much is kept"))?;
        Ok(bytes.map_or(0, |bytes| bytes.max(0).cast_unsigned()))
    }

    /// Files that no message has carried since before this time, and those that were removed lately.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn idle_files(&self, before: Timestamp, limit: u32) -> Result<Vec<FileId>, QueryError> {
        let ids = sqlx::query_scalar!(
            r#"(SELECT id AS "id!" FROM files
                WHERE removed_at IS NULL AND idle_since < $1 ORDER BY idle_since LIMIT $2)
               UNION ALL
               (SELECT id FROM files WHERE removed_at > now() - $3::interval LIMIT $2)"#,
            OffsetDateTime::from(before),
            i64::from(limit),
            PgInterval::try_from(REMOVED_LATELY).unwrap_or_default()
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking for files that nobody needs"))?;
        Ok(ids.into_iter().map(FileId).collect())
    }

    /// Files with messages that should carry them no more: those that are deleted, and those that were about to be sent before
    /// this time and never were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn stale_carriers(&self, before: Timestamp, limit: u32) -> Result<Vec<(FileId, MessageId)>, QueryError> {
        let rows = sqlx::query!(
            "SELECT file_id, message_id FROM file_carriers
             WHERE (is_deleted OR NOT is_sent) AND (is_deleted OR attached_at < $1) ORDER BY attached_at LIMIT $2",
            OffsetDateTime::from(before),
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking for files of messages that are gone"))?;
        Ok(rows.into_iter().map(|row| (FileId(row.file_id), MessageId(row.message_id))).collect())
    }
}
