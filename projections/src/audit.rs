//! Index of the log for auditors. The events themselves stay in the log.

mod changes;
mod queries;
mod reader;

pub use changes::Audit;
pub use queries::{AuditFilter, AuditQueries};
pub use reader::{AuditReader, ReadError};
