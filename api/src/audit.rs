//! The history, for auditors and administrators: what happened, what was, and what a request has caused. Readings are recorded in
//! it themselves.

mod catalogue;
mod correlations;
mod envelope;
mod events;
mod gate;
mod live;
mod query;
mod streams;

pub(crate) use catalogue::CatalogueApi;
pub(crate) use correlations::CorrelationsApi;
pub(crate) use events::AuditEventsApi;
pub(crate) use live::{LiveAuditStream, LiveAuditWebSocket};
pub(crate) use streams::StreamsApi;

pub use catalogue::document as catalogue_document;
pub use envelope::write_line as write_audit_line;
pub use gate::AuditGate;
