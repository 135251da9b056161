//! A private Postgres in the data directory, for those who have set up none: the server's own child, reachable over a socket in
//! a directory that nobody else may enter, gone when the server is gone.

mod binaries;
mod cluster;
mod error;
mod identity;
mod supervisor;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use self::binaries::Binaries;
use self::cluster::{Cluster, USER};
use self::error::files;
use self::identity::Identity;
use self::supervisor::Supervisor;
use crate::machine::ensure_private_dir;

pub use self::error::ManagedPostgresError;

/// The name of the database.
const DATABASE: &str = "switchboard";

/// A private Postgres that runs.
pub struct ManagedPostgres {
    supervisor: Supervisor,
    socket_dir: PathBuf,
    /// Held for as long as the server runs.
    _lock: File,
}

impl ManagedPostgres {
    /// Starts the cluster in `data_dir`, which is made first if there is none, and the database in it. The programs of Postgres
    /// are looked for in `bin_dir`, or without it wherever they usually are.
    ///
    /// # Errors
    /// If there are no binaries, if they are of another major version than the cluster, if another process works in the
    /// directory, or if Postgres itself fails.
    pub async fn start(data_dir: &Path, bin_dir: Option<&Path>) -> Result<Self, ManagedPostgresError> {
        ensure_private_dir(data_dir).map_err(files("make", data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(files("find", data_dir))?;
        let lock = lock(&data_dir)?;
        let cluster = Cluster::in_dir(&data_dir)?;
        let binaries = Binaries::find(bin_dir, cluster.major_version()?.as_deref())?;
        let identity = Identity::choose(&data_dir)?;
        let (supervisor, socket_dir) = tokio::task::spawn_blocking(move || {
            cluster.ensure(&binaries, &identity)?;
            let socket_dir = cluster.socket_dir().to_owned();
            Ok::<_, ManagedPostgresError>((Supervisor::start(cluster, binaries, identity)?, socket_dir))
        })
        .await
        .map_err(|error| ManagedPostgresError::NotReady(error.to_string()))??;
        let postgres = Self { supervisor, socket_dir, _lock: lock };
        postgres.ensure_database(DATABASE).await?;
        Ok(postgres)
    }

    /// Returns true if there is a cluster in `data_dir`, running or not.
    #[must_use]
    pub fn is_in(data_dir: &Path) -> bool {
        Cluster::in_dir(data_dir).is_ok_and(|cluster| cluster.dir().exists())
    }

    /// Returns the options to connect to a server that another process runs in `data_dir`.
    ///
    /// # Errors
    /// If there can't be one.
    pub fn beside(data_dir: &Path) -> Result<PgConnectOptions, ManagedPostgresError> {
        let data_dir = data_dir.canonicalize().map_err(files("find", data_dir))?;
        let cluster = Cluster::in_dir(&data_dir)?;
        Ok(connect_options(cluster.socket_dir(), DATABASE))
    }

    /// Returns the options to connect to one of its databases.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        connect_options(&self.socket_dir, database)
    }

    /// Process id of the Postgres server.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.supervisor.process_id()
    }

    /// Stops the server: open transactions are rolled back, everything committed is kept.
    pub async fn stop(self) {
        let socket_dir = self.socket_dir.clone();
        let stopped = tokio::task::spawn_blocking(move || {
            self.supervisor.stop();
            // It may lie in the directory for temporary files.
            fs::remove_dir_all(socket_dir)
        });
        if let Err(error) = stopped.await.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "removing the socket directory of Postgres failed");
        }
    }

    async fn ensure_database(&self, name: &str) -> Result<(), ManagedPostgresError> {
        let mut connection = PgConnection::connect_with(&self.connect_options("postgres")).await?;
        let exists =
            sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS "exists!""#, name)
                .fetch_one(&mut connection)
                .await?;
        if !exists {
            sqlx::query("CREATE DATABASE switchboard").execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }
}

fn connect_options(socket_dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(socket_dir).username(USER).database(database)
}

/// Takes the data directory for this process. The operating system gives it back when the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, ManagedPostgresError> {
    let path = data_dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(files("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ManagedPostgresError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(files("lock", &path)(error)),
    }
}
