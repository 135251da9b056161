//! The messenger API: for the people of a business.

mod calls;
mod conversations;
mod events;
mod login;
mod messages;
mod people;

pub(crate) use calls::{CallsApi, call_status};
pub(crate) use conversations::ConversationsApi;
pub(crate) use events::EventsApi;
pub(crate) use login::MessengerLoginApi;
pub(crate) use messages::{Message, MessagesApi, SendMessage};
pub(crate) use people::PeopleApi;

use crate::error::ApiError;

/// Things on a page when the client doesn't say.
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// How many things the client wants.
fn page_limit(limit: Option<u32>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(ApiError::invalid("limit", "must be 1 to 100")) }
}

/// Where the page before ended: a position, which is nothing to clients.
fn cursor(cursor: Option<&str>) -> Result<Option<u64>, ApiError> {
    let position = cursor.map(|cursor| cursor.parse().map_err(|_| ApiError::invalid("cursor", "must be a nextCursor")));
    position.transpose()
}
