//! The read models: tables that are built from the log alone, and the queries that are answered from them.
//!
//! Each projection is one module: what it takes from events beside the queries over its tables. The [`runner`] feeds them, one
//! node at a time, with rows and checkpoint in one transaction, so that each event takes effect exactly once.

mod checkpoint;
mod page;
mod projection;
mod runner;

pub mod calls;
pub mod feed;
pub mod messaging;
pub mod people;

pub use checkpoint::{Checkpoint, NotThereYet};
pub use page::{Page, PageRequest};
pub use projection::{Projection, Unreadable};
pub use runner::{Foundations, run};

/// A query failed.
#[derive(Debug, thiserror::Error)]
#[error("the database failed while {attempted}")]
pub struct QueryError {
    /// What was being done, as the end of a sentence.
    pub attempted: &'static str,
    /// What went wrong.
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
