//! The log: in the database of the read models, or in KurrentDB.

use std::sync::Arc;

use event_store::kurrentdb::KurrentStore;
use event_store::postgres::PostgresStore;
use event_store::{EventStore, StoreError};
use sqlx::PgPool;

use crate::settings::Settings;

/// Why there is no log to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "SWITCHBOARD_EVENT_STORE must be postgres, or the address of a KurrentDB like kurrentdb://localhost:2113?tls=false"
    )]
    Setting,
    #[error("the database can't be asked which log its read models are of")]
    Database(#[from] sqlx::Error),
    #[error(
        "the read models in the database were built from another log. Set SWITCHBOARD_EVENT_STORE to that one, or DATABASE_URL to an \
         empty database"
    )]
    AnotherLog,
}

/// The log that the settings name.
#[derive(Clone)]
pub(crate) enum Log {
    Postgres(Arc<PostgresStore>),
    Kurrent(Arc<KurrentStore>),
}

impl Log {
    /// Opens the log, and makes sure that the read models in the database are made of it.
    pub(crate) async fn open(settings: &Settings, pool: &PgPool) -> Result<Self, LogError> {
        let log = if settings.event_store == "postgres" {
            Self::Postgres(Arc::new(PostgresStore::open(pool.clone()).await?))
        } else if settings.event_store.contains("://") {
            Self::Kurrent(Arc::new(KurrentStore::open(&settings.event_store).await?))
        } else {
            return Err(LogError::Setting);
        };
        log.must_be_the_one_of(pool).await?;
        Ok(log)
    }

    /// Makes sure that the read models in a database are made of this log, which is known by its first event.
    pub(crate) async fn must_be_the_one_of(&self, pool: &PgPool) -> Result<(), LogError> {
        let first = self.store().read_all(0, 1).await?.first().map(|event| event.event_id);
        let known = sqlx::query!(
            r#"SELECT (SELECT first_event FROM log_identity) AS first_event,
                      EXISTS (SELECT FROM projection_checkpoints WHERE position > 0) AS "has_read_models!""#
        )
        .fetch_one(pool)
        .await?;
        match (first, known.first_event) {
            (Some(first), Some(known)) if first == known => Ok(()),
            (_, Some(_)) => Err(LogError::AnotherLog),
            (None, None) if known.has_read_models => Err(LogError::AnotherLog),
            (None, None) => Ok(()),
            (Some(first), None) => {
                sqlx::query!("INSERT INTO log_identity (first_event) VALUES ($1) ON CONFLICT DO NOTHING", first)
                    .execute(pool)
                    .await?;
                Ok(())
            }
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Postgres(log) => log.clone(),
            Self::Kurrent(log) => log.clone(),
        }
    }

    /// Returns when the log can't work any more, which it should never do by itself.
    pub(crate) async fn broken(&self) {
        match self {
            Self::Postgres(log) => log.broken().await,
            Self::Kurrent(log) => log.broken().await,
        }
    }

    /// Finishes what was begun. Appends after this fail.
    pub(crate) async fn shut_down(self) {
        match self {
            Self::Postgres(log) => log.shut_down().await,
            Self::Kurrent(log) => log.shut_down().await,
        }
    }
}
