//! Readings of the history that are not in the log yet: one event a minute, reader and query sums them up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::audit::AuditRead;
use domain::{Timestamp, UserId};

use crate::{Caller, HistoryRead};

/// How long readings of one query are summed up, in milliseconds.
const WINDOW_MS: i64 = 60_000;

/// A query, and its reader.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) by: Caller,
    pub(crate) what: HistoryRead,
}

/// Some readings of one query by one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readings {
    pub(crate) reads: u32,
    first_at: Timestamp,
    last_at: Timestamp,
}

/// What became of a reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is the first of its minute: it has to be recorded before it is answered.
    First,
    /// It is counted, and recorded with the others.
    Again,
    /// The reader has asked too many different queries.
    TooMany,
}

/// Queries that were read within the last minute or so.
pub(crate) struct RecentReadings {
    readers: Mutex<HashMap<UserId, HashMap<HistoryRead, Recent>>>,
    /// Maximum different queries of one reader within that time, each of which is an event in the log, for ever; 0 is no limit.
    max_queries: usize,
}

struct Recent {
    by: Caller,
    since: Timestamp,
    /// Readings that no event stands for yet.
    counted: Option<Readings>,
}

impl Readings {
    pub(crate) fn once(at: Timestamp) -> Self {
        Self { reads: 1, first_at: at, last_at: at }
    }

    fn and(self, later: Self) -> Self {
        Self { reads: self.reads.saturating_add(later.reads), first_at: self.first_at, last_at: later.last_at }
    }

    pub(crate) fn event(self, reader_id: Option<UserId>, read: HistoryRead) -> AuditRead {
        AuditRead {
            reader_id,
            business_id: read.business,
            what: read.what,
            query: read.query,
            reads: self.reads,
            first_read_at: self.first_at,
            last_read_at: self.last_at,
        }
    }
}

impl RecentReadings {
    pub(crate) fn new(max_queries: usize) -> Self {
        Self { readers: Mutex::default(), max_queries }
    }

    /// Counts a reading.
    pub(crate) fn count(&self, reading: &Reading, now: Timestamp) -> Counted {
        let mut readers = self.readers();
        let queries = readers.entry(reading.by.user_id).or_default();
        if let Some(recent) = queries.get_mut(&reading.what) {
            let once = Readings::once(now);
            recent.counted = Some(recent.counted.map_or(once, |counted| counted.and(once)));
            return Counted::Again;
        }
        if self.max_queries > 0 && queries.len() >= self.max_queries {
            return Counted::TooMany;
        }
        queries.insert(reading.what.clone(), Recent { by: reading.by, since: now, counted: None });
        Counted::First
    }

    /// Forgets a query whose first reading could not be recorded.
    pub(crate) fn forget(&self, reading: &Reading) {
        let mut readers = self.readers();
        if let Some(queries) = readers.get_mut(&reading.by.user_id) {
            queries.remove(&reading.what);
        }
    }

    /// Takes what is to be recorded: of queries that are older than the window, or of all.
    pub(crate) fn take_due(&self, now: Timestamp, all: bool) -> Vec<(Reading, Readings)> {
        let mut due = vec![];
        self.readers().retain(|_, queries| {
            queries.retain(|what, recent| {
                let stays = !all && now < recent.since.plus_ms(WINDOW_MS);
                if !stays && let Some(counted) = recent.counted {
                    due.push((Reading { by: recent.by, what: what.clone() }, counted));
                }
                stays
            });
            !queries.is_empty()
        });
        due
    }

    /// Puts back what could not be recorded.
    pub(crate) fn put_back(&self, reading: Reading, readings: Readings) {
        let mut readers = self.readers();
        let queries = readers.entry(reading.by.user_id).or_default();
        let recent =
            queries.entry(reading.what).or_insert(Recent { by: reading.by, since: readings.first_at, counted: None });
        recent.counted = Some(recent.counted.map_or(readings, |later| readings.and(later)));
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<UserId, HashMap<HistoryRead, Recent>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::audit::AuditedThing;
    use domain::session::Audience;
    use domain::{BusinessId, Role, SessionId};
    use uuid::Uuid;

    use super::*;

    const MAX_QUERIES: usize = 60;

    fn reading(query: usize) -> Reading {
        let by = Caller {
            user_id: UserId(Uuid::from_u128(1)),
            business_id: BusinessId(Uuid::from_u128(2)),
            role: Role::BusinessAuditor,
            session_id: SessionId(Uuid::from_u128(3)),
            audience: Audience::Admin,
        };
        let what = HistoryRead { business: None, what: AuditedThing::Events, query: Some(query.to_string()) };
        Reading { by, what }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn what_is_read_again_within_a_minute_is_summed_up_after_it() {
        let recent = RecentReadings::new(MAX_QUERIES);
        assert_eq!(recent.count(&reading(1), at(0)), Counted::First);
        assert_eq!(recent.count(&reading(1), at(10)), Counted::Again);
        assert_eq!(recent.count(&reading(1), at(20)), Counted::Again);
        assert_eq!(recent.count(&reading(2), at(30)), Counted::First);
        assert_eq!(recent.take_due(at(WINDOW_MS - 1), false), []);
        let summed_up = Readings { reads: 2, first_at: at(10), last_at: at(20) };
        assert_eq!(recent.take_due(at(WINDOW_MS), false), [(reading(1), summed_up)]);
        assert_eq!(recent.count(&reading(1), at(WINDOW_MS)), Counted::First, "the next minute begins");
        recent.put_back(reading(1), summed_up);
        assert_eq!(recent.take_due(at(WINDOW_MS), true), [(reading(1), summed_up)]);
        assert!(recent.readers().is_empty());
    }

    #[test]
    fn a_reader_asks_only_so_many_different_queries_a_minute() {
        let recent = RecentReadings::new(MAX_QUERIES);
        for n in 0..MAX_QUERIES {
            assert_eq!(recent.count(&reading(n), at(0)), Counted::First);
        }
        assert_eq!(recent.count(&reading(MAX_QUERIES), at(1)), Counted::TooMany);
        assert_eq!(recent.count(&reading(0), at(1)), Counted::Again);
        recent.take_due(at(WINDOW_MS), false);
        assert_eq!(recent.count(&reading(MAX_QUERIES), at(WINDOW_MS)), Counted::First);
    }
}
