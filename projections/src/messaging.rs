//! Messages, the conversations they form, and how far each member has read.

mod changes;
mod queries;

pub use changes::Messaging;
pub use queries::{MessageRow, MessagingQueries};
