//! The database: the operator's, or our own.

use std::path::PathBuf;
use std::time::Duration;

use projections::Readers;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};

use crate::managed_postgres::{ManagedPostgres, ManagedPostgresError};
use crate::settings::Settings;

/// Connections for what isn't asked of a read model, and one each for the listeners of the log and of the bus. Its committer and
/// notifier and each projection have one of their own.
const MAX_CONNECTIONS: u32 = 10;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that has been used as lately as this is there still, as far as anybody can tell.
const USED_LATELY: Duration = Duration::from_secs(1);
const OLDEST_MAJOR_VERSION: u32 = 15;

/// Errors of the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error(transparent)]
    Managed(#[from] ManagedPostgresError),
    #[error("no server has ever run in {0}: set SWITCHBOARD_DATA_DIR or DATABASE_URL to where its data is")]
    NothingThere(PathBuf),
    #[error("DATABASE_URL can't be understood")]
    Url(#[source] sqlx::Error),
    #[error("the database can't be reached")]
    Connect(#[source] sqlx::Error),
    #[error("the database is Postgres {0}, and must be 15 or later")]
    TooOld(u32),
    #[error("the database can't be brought up to date")]
    Migrate(#[from] MigrateError),
}

/// A database that is ready to be used.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    /// For questions to the read models.
    pub(crate) readers: Readers,
    managed: Option<ManagedPostgres>,
}

impl Database {
    /// Opens the operator's database, or starts our own, and brings it up to date.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, DatabaseError> {
        let (options, managed) = if let Some(url) = &settings.database_url {
            (url.parse().map_err(DatabaseError::Url)?, None)
        } else {
            let managed = ManagedPostgres::start(&settings.data_dir, settings.postgres_bin.as_deref()).await?;
            (managed.connect_options("switchboard"), Some(managed))
        };
        Self::open_with(options, managed).await
    }

    /// As [`Self::open`], also while a server runs: its own Postgres is then used with it. None is made where there is none.
    pub(crate) async fn open_beside(settings: &Settings) -> Result<Self, DatabaseError> {
        if settings.database_url.is_none() && !ManagedPostgres::is_in(&settings.data_dir) {
            return Err(DatabaseError::NothingThere(settings.data_dir.clone()));
        }
        match Self::open(settings).await {
            Err(DatabaseError::Managed(ManagedPostgresError::InUse(_))) => {
                Self::open_with(ManagedPostgres::beside(&settings.data_dir)?, None).await
            }
            opened => opened,
        }
    }

    async fn open_with(options: PgConnectOptions, managed: Option<ManagedPostgres>) -> Result<Self, DatabaseError> {
        let pool = connect(options).await?;
        let version: u32 = sqlx::query_scalar!(r#"SELECT current_setting('server_version_num')::int AS "version!""#)
            .fetch_one(&pool)
            .await
            .map_err(DatabaseError::Connect)?
            .cast_unsigned()
            / 10_000;
        if version < OLDEST_MAJOR_VERSION {
            return Err(DatabaseError::TooOld(version));
        }
        migrate(&pool).await?;
        let readers = Readers::of((*pool.connect_options()).clone());
        Ok(Self { pool, readers, managed })
    }

    /// Closes the connections, and stops our own server.
    pub(crate) async fn close(self) {
        self.readers.close();
        self.pool.close().await;
        if let Some(managed) = self.managed {
            managed.stop().await;
        }
    }
}

async fn connect(options: PgConnectOptions) -> Result<PgPool, DatabaseError> {
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before every query would be a round trip more for each.
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > USED_LATELY {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.application_name("switchboard"))
        .await
        .map_err(DatabaseError::Connect)
}

/// Brings a database up to date. Nodes that start together wait for each other.
///
/// # Errors
/// If a migration fails, or the database has one that this program doesn't know.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    sqlx::migrate!("../migrations").run(pool).await
}
