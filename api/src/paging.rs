//! Paging: how much a client may ask for at once, and cursors from one page to the next.

use crate::error::ApiError;

/// Number of things on a page: what a client gets that names none, and the most that it may name.
#[derive(Clone, Copy)]
pub(crate) struct PageSize {
    pub(crate) default: u32,
    pub(crate) max: u32,
}

impl PageSize {
    /// Lists that people look at.
    pub(crate) const LIST: Self = Self { default: 20, max: 100 };
    /// Events, which programs read.
    pub(crate) const EVENTS: Self = Self { default: 100, max: 1000 };

    /// Returns the `limit` that a client names, or the default.
    ///
    /// # Errors
    /// `limit` when it is 0 or above the maximum.
    pub(crate) fn limit(self, named: Option<u32>) -> Result<u32, ApiError> {
        let limit = named.unwrap_or(self.default);
        if (1..=self.max).contains(&limit) { Ok(limit) } else { Err(self.out_of_bounds()) }
    }

    /// The error for a `limit` that can't be used.
    pub(crate) fn out_of_bounds(self) -> ApiError {
        ApiError::invalid("limit", &format!("must be 1 to {}", self.max))
    }
}

/// A page of the rows that were found, and the cursor of the next one. To know whether there is one, the query asks for one row
/// more than fits.
pub(crate) fn page<R>(mut rows: Vec<R>, limit: u32, position: impl Fn(&R) -> i64) -> (Vec<R>, Option<String>) {
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| has_more).map(|row| position(row).to_string());
    (rows, next_cursor)
}

/// Position in the log where the page before ended; clients treat cursors as opaque.
///
/// # Errors
/// `cursor` when it is no `nextCursor`.
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
