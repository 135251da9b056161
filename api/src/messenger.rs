//! The messenger API: for the people of a business.

mod calls;
mod conversations;
mod events;
mod files;
mod login;
mod me;
mod messages;
mod people;
mod sessions;

pub(crate) use calls::{CallsApi, call_status};
pub(crate) use conversations::ConversationsApi;
pub(crate) use events::EventsApi;
pub(crate) use files::FilesApi;
pub(crate) use login::MessengerLoginApi;
pub(crate) use me::{MeApi, avatar};
pub(crate) use messages::{Message, MessagesApi, SendMessage, message_id};
pub(crate) use people::PeopleApi;
pub(crate) use sessions::SessionsApi;

use crate::error::ApiError;

/// Things on a page when the client doesn't say.
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// How many things the client wants.
pub(crate) fn page_limit(limit: Option<u32>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(ApiError::invalid("limit", "must be 1 to 100")) }
}

/// A page of what was found, and where the next one begins, if there is one: to know that, one more is looked for than fits.
pub(crate) fn page<R>(mut rows: Vec<R>, limit: u32, position: impl Fn(&R) -> i64) -> (Vec<R>, Option<String>) {
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| has_more).map(|row| position(row).to_string());
    (rows, next_cursor)
}

/// Where the page before ended: a position, which is nothing to clients.
pub(crate) fn cursor(cursor: Option<&str>) -> Result<Option<u64>, ApiError> {
    let position = cursor.map(|cursor| cursor.parse().map_err(|_| ApiError::invalid("cursor", "must be a nextCursor")));
    position.transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_a_position_or_refused(text in "[0-9]{1,21}|[-+]?[0-9]{0,3}|\\PC{0,20}", position in any::<u64>()) {
            if let Ok(position) = cursor(Some(&text)) {
                let digits = text.trim_start_matches('+').trim_start_matches('0');
                prop_assert_eq!(position.map(|position| position.to_string()), Some(if digits.is_empty() { "0" } else { digits }.to_owned()));
            }
            prop_assert!(matches!(cursor(Some(&position.to_string())), Ok(Some(read)) if read == position));
        }
    }
}
