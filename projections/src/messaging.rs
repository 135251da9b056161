//! Messages, conversations as each of their members sees them, and files.

mod changes;
mod files;
mod queries;

pub use changes::Messaging;
pub use queries::{ChangedMessage, ConversationRow, FileRow, MessageRow, MessagingQueries, Range};
