//! Effects of events on the tables of files.

use std::collections::{HashMap, HashSet};

use domain::file::{FileEvent, FileUploaded};
use domain::message::MessageEvent;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::column;

/// Changes of a batch of events that concern files.
#[derive(Default)]
pub(super) struct FileChanges {
    uploaded: HashMap<Uuid, FileUploaded>,
    /// The last word of each file and message.
    attached: HashMap<(Uuid, Uuid), OffsetDateTime>,
    detached: HashMap<(Uuid, Uuid), OffsetDateTime>,
    removed: HashMap<Uuid, OffsetDateTime>,
    /// Messages that have come, and carry files.
    sent: HashSet<Uuid>,
    /// Messages that are deleted, and may have carried some.
    deleted: HashSet<Uuid>,
}

impl FileChanges {
    pub(super) fn message(&mut self, fact: &MessageEvent) {
        match fact {
            MessageEvent::Sent(message) if !message.attachments.is_empty() => {
                self.sent.insert(message.message_id.0);
            }
            MessageEvent::Deleted(message) => {
                self.deleted.insert(message.message_id.0);
            }
            MessageEvent::Sent(_) | MessageEvent::Edited(_) => {}
        }
    }

    pub(super) fn file(&mut self, fact: FileEvent) {
        match fact {
            FileEvent::Uploaded(file) => {
                self.uploaded.insert(file.file_id.0, file);
            }
            FileEvent::Attached(fact) => {
                let key = (fact.file_id.0, fact.carrier.message_id.0);
                self.detached.remove(&key);
                self.attached.insert(key, fact.attached_at.into());
            }
            FileEvent::Detached(fact) => {
                let key = (fact.file_id.0, fact.message_id.0);
                self.attached.remove(&key);
                self.detached.insert(key, fact.detached_at.into());
            }
            FileEvent::Removed(fact) => {
                self.removed.insert(fact.file_id.0, fact.removed_at.into());
            }
        }
    }

    pub(super) async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.write_uploaded(connection).await?;
        self.write_attached(connection).await?;
        self.write_carriers(connection).await?;
        self.write_detached(connection).await?;
        self.write_removed(connection).await
    }

    /// Adds new files, and what they take to what their owners keep.
    async fn write_uploaded(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.uploaded.is_empty() {
            let new: Vec<_> = self.uploaded.iter().collect();
            sqlx::query!(
                "WITH new AS (
                     SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[],
                                          $7::uuid[], $8::uuid[])
                          AS new(id, name, size_bytes, content_type, sha256, uploaded_at, uploader_id, business_id)
                 ), kept AS (
                     INSERT INTO kept_bytes (owner_id, bytes)
                     SELECT owner_id, sum(size_bytes)
                     FROM new, LATERAL (VALUES (uploader_id), (business_id)) AS owners(owner_id)
                     GROUP BY owner_id
                     ON CONFLICT (owner_id) DO UPDATE SET bytes = kept_bytes.bytes + excluded.bytes
                 )
                 INSERT INTO files (id, name, size_bytes, content_type, sha256, idle_since, uploader_id, business_id)
                 SELECT id, name, size_bytes, content_type, sha256, uploaded_at, uploader_id, business_id FROM new
                 ON CONFLICT (id) DO NOTHING",
                &column(&new, |(id, _)| **id),
                &column(&new, |(_, file)| file.name.known().map(String::as_str)) as &[Option<&str>],
                &column(&new, |(_, file)| i64::try_from(file.size_bytes).unwrap_or(i64::MAX)),
                &column(&new, |(_, file)| file.content_type.as_str()) as &[&str],
                &column(&new, |(_, file)| file.sha256.as_str()) as &[&str],
                &column(&new, |(_, file)| OffsetDateTime::from(file.uploaded_at)),
                &column(&new, |(_, file)| file.uploader_id.0),
                &column(&new, |(_, file)| file.business_id.0)
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// Adds messages that carry files, or are about to.
    async fn write_attached(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.attached.is_empty() {
            let new: Vec<_> = self.attached.iter().collect();
            sqlx::query!(
                // The message is usually sent afterwards; whatever the order was, it is known by now.
                "INSERT INTO file_carriers (file_id, message_id, attached_at, is_sent, is_deleted)
                 SELECT new.file_id, new.message_id, new.attached_at, m.id IS NOT NULL, m.deleted_at IS NOT NULL
                 FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS new(file_id, message_id, attached_at)
                 LEFT JOIN messages m ON m.id = new.message_id
                 ON CONFLICT (file_id, message_id) DO UPDATE
                 SET attached_at = excluded.attached_at, is_sent = excluded.is_sent, is_deleted = excluded.is_deleted",
                &column(&new, |((file, _), _)| *file),
                &column(&new, |((_, message), _)| *message),
                &column(&new, |(_, at)| **at)
            )
            .execute(&mut *connection)
            .await?;
            sqlx::query!(
                "UPDATE files SET idle_since = NULL WHERE id = ANY($1)",
                &column(&new, |((file, _), _)| *file)
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// Notes which of the messages are sent, and which are deleted.
    async fn write_carriers(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.sent.is_empty() || !self.deleted.is_empty() {
            sqlx::query!(
                "UPDATE file_carriers
                 SET is_sent = is_sent OR message_id = ANY($1), is_deleted = is_deleted OR message_id = ANY($2)
                 WHERE message_id = ANY($1) OR message_id = ANY($2)",
                &column(&self.sent.iter().collect::<Vec<_>>(), |id| **id),
                &column(&self.deleted.iter().collect::<Vec<_>>(), |id| **id)
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// Removes messages that carry files no longer.
    async fn write_detached(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.detached.is_empty() {
            let gone: Vec<_> = self.detached.iter().collect();
            let (files, messages, times) = (
                column(&gone, |((file, _), _)| *file),
                column(&gone, |((_, message), _)| *message),
                column(&gone, |(_, at)| **at),
            );
            sqlx::query!(
                "DELETE FROM file_carriers USING unnest($1::uuid[], $2::uuid[]) AS gone(file_id, message_id)
                 WHERE file_carriers.file_id = gone.file_id AND file_carriers.message_id = gone.message_id",
                &files,
                &messages
            )
            .execute(&mut *connection)
            .await?;
            sqlx::query!(
                "UPDATE files SET idle_since = gone.at
                 FROM (SELECT file_id, max(at) AS at FROM unnest($1::uuid[], $2::timestamptz[]) AS gone(file_id, at) GROUP BY file_id) gone
                 WHERE files.id = gone.file_id AND NOT EXISTS (SELECT FROM file_carriers WHERE file_id = gone.file_id)",
                &files,
                &times
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// Takes files that are given up from what their owners keep.
    async fn write_removed(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.removed.is_empty() {
            let gone: Vec<_> = self.removed.iter().collect();
            sqlx::query!(
                "UPDATE kept_bytes SET bytes = kept_bytes.bytes - gone.bytes
                 FROM (SELECT owner_id, sum(size_bytes)::bigint AS bytes
                       FROM files, LATERAL (VALUES (uploader_id), (business_id)) AS owners(owner_id)
                       WHERE id = ANY($1) AND removed_at IS NULL
                       GROUP BY owner_id) gone
                 WHERE kept_bytes.owner_id = gone.owner_id",
                &column(&gone, |(id, _)| **id)
            )
            .execute(&mut *connection)
            .await?;
            sqlx::query!(
                "UPDATE files SET removed_at = gone.removed_at
                 FROM unnest($1::uuid[], $2::timestamptz[]) AS gone(id, removed_at) WHERE files.id = gone.id",
                &column(&gone, |(id, _)| **id),
                &column(&gone, |(_, at)| **at)
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}
