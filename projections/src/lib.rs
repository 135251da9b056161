//! The read models: tables that are built from the log alone, and the queries that are answered from them.
//!
//! Each projection is one module: what it takes from events beside the queries over its tables. The [`runner`] feeds them, one
//! node at a time, with rows and checkpoint in one transaction, so that each event takes effect exactly once. Beside those that
//! serve they can be built anew, to take their place ([`rebuild`]), to be compared with them ([`verify`]), and to see what was at
//! some moment of the past ([`show_past`]).

mod checkpoint;
mod intake;
mod page;
mod parked;
mod past;
mod projection;
mod projector;
mod read_models;
mod readers;
mod rebuild;
mod runner;
mod shadow;
mod status;
mod verify;

pub mod audit;
pub mod calls;
pub mod feed;
pub mod messaging;
pub mod people;

pub use checkpoint::{Checkpoint, NotThereYet};
pub use page::{Page, PageRequest};
pub use parked::{ParkedEvent, Retried, parked_events, retry_parked};
pub use past::{PastRow, show_past};
pub use projection::{Projection, Unreadable};
pub use projector::Projector;
pub use read_models::{ReadModel, ReadModels};
pub use readers::Readers;
pub use rebuild::{Progress, RebuildError, drop_retired, rebuild, rebuild_on_demand, request_rebuild};
pub use runner::{Sources, run};
pub use status::{ProjectionStatus, RebuildStatus, status};
pub use verify::{Difference, DifferenceKind, Verified, verify};

/// A query failed.
#[derive(Debug, thiserror::Error)]
#[error("the database failed while {attempted}")]
pub struct QueryError {
    /// Operation that failed, as the end of a sentence.
    pub attempted: &'static str,
    /// Cause.
    #[source]
    pub source: sqlx::Error,
}

impl QueryError {
    /// For `map_err`: the database failed while doing this.
    pub(crate) fn while_(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { attempted, source }
    }
}

/// One column of some rows, as `unnest` takes it.
pub(crate) fn column<'a, R, T>(rows: &'a [R], value: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
