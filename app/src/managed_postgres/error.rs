//! Errors of the private Postgres.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum ManagedPostgresError {
    /// There is nothing to run.
    #[error(
        "no Postgres {0}found: install it (Debian and Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; \
         macOS: brew install postgresql@17), or set DATABASE_URL to a server that runs already"
    )]
    NoBinaries(String),
    /// Another process works in the data directory.
    #[error("another switchboard runs in {0}: stop it, or set SWITCHBOARD_DATA_DIR to another directory")]
    InUse(PathBuf),
    /// Postgres refuses to run as root, and nobody else could be found to run it.
    #[error(
        "Postgres doesn't run as root, and {0}: run switchboard as another user, or set DATABASE_URL to a server that runs already"
    )]
    Root(&'static str),
    /// The file system is in the way.
    #[error("can't {attempted} {path}")]
    Files {
        /// Operation that failed.
        attempted: &'static str,
        /// To what.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A program of Postgres failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program.
        program: &'static str,
        /// Its output.
        output: String,
    },
    /// Postgres started and didn't become ready.
    #[error("Postgres didn't get ready; its log ends with:\n{0}")]
    NotReady(String),
    /// Postgres is ready, and the database can't be made.
    #[error("the database can't be made")]
    Database(#[from] sqlx::Error),
}

/// For `map_err`: this couldn't be done to that path.
pub(super) fn files(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ManagedPostgresError {
    move |source| ManagedPostgresError::Files { attempted, path: path.to_owned(), source }
}
