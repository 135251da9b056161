//! Lists that are paged by number.

/// Page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// From 1.
    pub page: u32,
    /// Things on a page, from 1.
    pub limit: u32,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The things on it.
    pub items: Vec<T>,
    /// Things on all pages.
    pub total: i64,
}

impl PageRequest {
    pub(crate) fn offset(self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.limit)
    }
}
