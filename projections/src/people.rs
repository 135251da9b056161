//! Businesses, their people, and their sessions.

mod changes;
mod queries;

pub use changes::People;
pub use queries::{BusinessRow, ColleagueRow, PeopleQueries, SessionRow, UserFilter, UserOrder, UserRow, Viewer};

/// Shut out or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Gets in.
    Active,
    /// Is shut out.
    Suspended,
}

impl Status {
    /// The status of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended].into_iter().find(|status| status.as_str() == name)
    }

    /// The name in the API and in the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}
