//! Readings of the history that are not in the log yet: one event a minute, reader and query sums them up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::audit::AuditRead;
use domain::{Timestamp, UserId};
use tokio::sync::OnceCell;

use crate::{Caller, HistoryRead};

/// Period in which equal queries are summed up, in milliseconds.
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

/// Set once a query of the last minute stands in the log. Nothing is answered before.
pub(crate) type Recorded = Arc<OnceCell<()>>;

/// The reader has asked too many different queries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyQueries;

/// Queries that were read within the last minute or so.
pub(crate) struct RecentReadings {
    readers: Mutex<HashMap<UserId, HashMap<HistoryRead, Recent>>>,
    /// Maximum different queries of one reader within that time, each of which is an event in the log, for ever; 0 is no limit.
    max_queries: usize,
}

struct Recent {
    by: Caller,
    since: Timestamp,
    recorded: Recorded,
    /// Readings that no event stands for yet.
    counted: Option<Readings>,
}

impl Readings {
    pub(crate) fn once(at: Timestamp) -> Self {
        Self { reads: 1, first_at: at, last_at: at }
    }

    fn and(self, other: Self) -> Self {
        Self {
            reads: self.reads.saturating_add(other.reads),
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
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

    /// Tells whether a query of the last minute is in the log; a reader that finds it is not has to record it. Those who ask the same
    /// meanwhile wait for that.
    pub(crate) fn recorded(&self, reading: &Reading, now: Timestamp) -> Result<Recorded, TooManyQueries> {
        let mut readers = self.readers();
        let queries = readers.entry(reading.by.user_id).or_default();
        if let Some(recent) = queries.get(&reading.what) {
            return Ok(recent.recorded.clone());
        }
        if self.max_queries > 0 && queries.len() >= self.max_queries {
            return Err(TooManyQueries);
        }
        let recent = Recent { by: reading.by, since: now, recorded: Recorded::default(), counted: None };
        Ok(queries.entry(reading.what.clone()).or_insert(recent).recorded.clone())
    }

    /// Counts readings that are to be recorded later: one of a query that stands in the log, or those that could not be recorded.
    pub(crate) fn count(&self, reading: Reading, readings: Readings) {
        let mut readers = self.readers();
        let queries = readers.entry(reading.by.user_id).or_default();
        let recent = queries.entry(reading.what).or_insert_with(|| Recent {
            by: reading.by,
            since: readings.first_at,
            recorded: Recorded::default(),
            counted: None,
        });
        recent.counted = Some(recent.counted.map_or(readings, |others| readings.and(others)));
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
        let first = recent.recorded(&reading(1), at(0)).unwrap();
        assert!(!recent.recorded(&reading(1), at(5)).unwrap().initialized(), "nobody has recorded it yet");
        first.set(()).unwrap();
        assert!(recent.recorded(&reading(1), at(10)).unwrap().initialized());
        for ms in [10, 20] {
            recent.count(reading(1), Readings::once(at(ms)));
        }
        recent.recorded(&reading(2), at(30)).unwrap();
        assert_eq!(recent.take_due(at(WINDOW_MS - 1), false), []);
        let summed_up = Readings { reads: 2, first_at: at(10), last_at: at(20) };
        assert_eq!(recent.take_due(at(WINDOW_MS), false), [(reading(1), summed_up)]);
        let next = recent.recorded(&reading(1), at(WINDOW_MS)).unwrap();
        assert!(!next.initialized(), "the next minute begins");
        // What could not be recorded is counted with what came meanwhile.
        recent.count(reading(1), Readings::once(at(WINDOW_MS)));
        recent.count(reading(1), summed_up);
        let all = Readings { reads: 3, first_at: at(10), last_at: at(WINDOW_MS) };
        assert_eq!(recent.take_due(at(WINDOW_MS), true), [(reading(1), all)]);
        assert!(recent.readers().is_empty());
    }

    #[test]
    fn a_reader_asks_only_so_many_different_queries_a_minute() {
        let recent = RecentReadings::new(MAX_QUERIES);
        for n in 0..MAX_QUERIES {
            assert!(recent.recorded(&reading(n), at(0)).is_ok());
        }
        assert_eq!(recent.recorded(&reading(MAX_QUERIES), at(1)).err(), Some(TooManyQueries));
        assert!(recent.recorded(&reading(0), at(1)).is_ok());
        recent.take_due(at(WINDOW_MS), false);
        assert!(recent.recorded(&reading(MAX_QUERIES), at(WINDOW_MS)).is_ok());
    }
}
