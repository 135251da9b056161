//! What there is in the log, for auditors who look for some of it. An index: the events themselves stay in the log.

mod changes;
mod queries;
mod reader;

pub use changes::Audit;
pub use queries::{AuditFilter, AuditQueries};
pub use reader::{AuditReader, ReadError};
