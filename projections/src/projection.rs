//! Projections.

use async_trait::async_trait;
use event_store::RecordedEvent;
use sqlx::PgConnection;

/// A read model, seen from the log.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Its name in checkpoints, metrics and on the command line.
    const NAME: &'static str;
    /// Goes up when the same events come to other rows than before: what was built by an older version is then built anew.
    const VERSION: i32;
    /// Its tables. Nothing else writes to them.
    const TABLES: &'static [&'static str];
    /// Those of them that rows are only ever added to, and that nothing is looked up in meanwhile. Built beside those that serve, they
    /// get their indexes once everything is in them, which takes a fraction of what it takes to add to an index row by row.
    const INDEXED_LAST: &'static [&'static str] = &[];
    /// Changes of a batch of events, collected before anything is written.
    type Changes: Default + Send;

    /// Takes one event in. Events that it has no use for change nothing.
    fn collect(changes: &mut Self::Changes, event: &RecordedEvent) -> Result<(), Unreadable>;

    /// Writes what was collected: a fixed number of statements, however many events there were. No event comes twice: the checkpoint
    /// moves in the same transaction, and only from where it was.
    async fn write(changes: Self::Changes, connection: &mut PgConnection) -> Result<(), sqlx::Error>;

    /// Brings what doesn't come from the log from the tables in schema `live` to those that were built beside them.
    async fn carry_over(live: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let _ = (live, connection);
        Ok(())
    }
}

/// An event that a projection can't read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unreadable(#[from] pub event_store::codec::DecodeError);

/// The fact in an event of a stream of `$decider`; none when its type is of a newer version of this program.
macro_rules! read {
    ($event:expr, $fact:ty) => {
        event_store::codec::decode($event, |event_type, json| {
            <$fact as domain::DomainEvent>::deserialize(event_type, json)
        })
    };
}
pub(crate) use read;
