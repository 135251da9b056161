//! Calls: those that are live, and the history.

mod changes;
mod queries;

pub use changes::Calls;
pub use queries::{CallFilter, CallQueries, CallRow, Direction};
