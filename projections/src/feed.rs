//! The feed: what happened to whom, after any position. An index into the log by audience, one row an event however many people
//! an audience has; what is read is merged from a person's audiences. The events themselves stay in the log.

mod changes;
mod queries;

pub use changes::Feed;
pub use queries::{FeedPage, FeedQueries};
