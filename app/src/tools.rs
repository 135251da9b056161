//! Tools of operators at the command line, beside the server or without it.

pub(crate) mod audit;
mod progress;
pub(crate) mod projections;

use std::io::{self, Write};
use std::sync::Arc;

use ::projections::{Projector, QueryError, RebuildError, Sources};
use domain::BusinessId;
use event_store::{EventStore, StoreError};

use crate::database::{Database, DatabaseError};
use crate::event_log::{Log, LogError};
use crate::settings::Settings;

/// Why something at the command line didn't work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("projection {name}")]
    Projection { name: &'static str, source: RebuildError },
    #[error(transparent)]
    Past(#[from] RebuildError),
    #[error("the history can't be read")]
    Read(#[from] ::projections::audit::ReadError),
    #[error("the reading can't be noted")]
    Note(#[from] commands::Error),
    #[error("there is no projection {0:?}: there are {names}", names = Projector::ALL.map(|known| known.name).join(", "))]
    NoSuchProjection(String),
    #[error("projection {name} is not rebuilt for now: {error}")]
    Stopped { name: &'static str, error: String },
    #[error("there is no business {0}")]
    NoSuchBusiness(BusinessId),
    #[error("can't write")]
    Write(#[from] io::Error),
}

/// The log and the database, for as long as a command lasts.
struct Tools {
    database: Database,
    log: Log,
}

impl Tools {
    async fn open(settings: &Settings) -> Result<Self, ToolError> {
        let database = Database::open_beside(settings).await?;
        let log = Log::open(settings, &database.pool).await?;
        Ok(Self { database, log })
    }

    fn store(&self) -> Arc<dyn EventStore> {
        self.log.store()
    }

    fn sources(&self) -> Sources {
        Sources { store: self.store(), pool: self.database.pool.clone() }
    }

    async fn close(self) {
        self.log.shut_down().await;
        self.database.close().await;
    }
}

impl ToolError {
    /// Returns true if the reader of our output has closed it.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Writes a line to standard output.
fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The projections of these names, or all of them.
fn named(names: &[String]) -> Result<Vec<Projector>, ToolError> {
    if names.is_empty() || names.iter().any(|name| name == "all") {
        return Ok(Projector::ALL.to_vec());
    }
    let find = |name: &String| Projector::named(name).ok_or_else(|| ToolError::NoSuchProjection(name.clone()));
    names.iter().map(find).collect()
}
