//! Read models: the queries of each, and how far the projection that fills it has come.

use std::time::Duration;

use event_store::Position;
use tokio::task::JoinSet;

use crate::audit::{Audit, AuditQueries};
use crate::calls::{CallQueries, Calls};
use crate::feed::{Feed, FeedQueries};
use crate::messaging::{Messaging, MessagingQueries};
use crate::people::{People, PeopleQueries};
use crate::{Checkpoint, Projection, Projector, Readers, Sources, rebuild_on_demand, run};

/// Queries over the tables of a projection, and its checkpoint.
#[derive(Clone)]
pub struct ReadModel<Q> {
    /// The queries.
    pub queries: Q,
    /// Position up to which they know the log.
    pub checkpoint: Checkpoint,
    own_writes_wait: Duration,
}

impl<Q> ReadModel<Q> {
    /// Waits a short while until the read model knows what this node has acknowledged: an answer that is late is better than
    /// none.
    pub async fn catch_up_with(&self, acknowledged: Position) {
        let _ = self.checkpoint.reached(acknowledged, self.own_writes_wait).await;
    }
}

/// All read models. Adding one: a field, its projection in [`ReadModels::run`], and a line in [`ReadModels::checkpoints`].
#[derive(Clone)]
pub struct ReadModels {
    /// Users and businesses.
    pub people: ReadModel<PeopleQueries>,
    /// Messages, conversations and files.
    pub messaging: ReadModel<MessagingQueries>,
    /// Calls.
    pub calls: ReadModel<CallQueries>,
    /// Events that each user is told.
    pub feed: ReadModel<FeedQueries>,
    /// Index of the log, for auditors.
    pub audit: ReadModel<AuditQueries>,
}

impl ReadModels {
    /// Runs all projections in the background, and rebuilds them on demand. Reads that name no position wait up to
    /// `own_writes_wait` for what this node has acknowledged.
    #[must_use]
    pub fn run(sources: &Sources, readers: &Readers, own_writes_wait: Duration, background: &mut JoinSet<()>) -> Self {
        background.spawn(rebuild_on_demand(sources.clone()));
        let mut start = |projector| {
            let (checkpoint, runner) = run(projector, sources.clone());
            background.spawn(runner);
            Source { readers: readers.clone(), checkpoint, own_writes_wait }
        };
        Self {
            people: start(Projector::of::<People>()).read_by(PeopleQueries::new),
            messaging: start(Projector::of::<Messaging>()).read_by(MessagingQueries::new),
            calls: start(Projector::of::<Calls>()).read_by(CallQueries::new),
            feed: start(Projector::of::<Feed>()).read_by(FeedQueries::new),
            audit: start(Projector::of::<Audit>()).read_by(AuditQueries::new),
        }
    }

    /// Each projection's name and checkpoint.
    #[must_use]
    pub fn checkpoints(&self) -> [(&'static str, &Checkpoint); 5] {
        [
            (People::NAME, &self.people.checkpoint),
            (Messaging::NAME, &self.messaging.checkpoint),
            (Calls::NAME, &self.calls.checkpoint),
            (Feed::NAME, &self.feed.checkpoint),
            (Audit::NAME, &self.audit.checkpoint),
        ]
    }
}

/// A projection that runs, and the connections that its tables are read over.
struct Source {
    readers: Readers,
    checkpoint: Checkpoint,
    own_writes_wait: Duration,
}

impl Source {
    fn read_by<Q>(self, queries: impl FnOnce(Readers) -> Q) -> ReadModel<Q> {
        let Self { readers, checkpoint, own_writes_wait } = self;
        ReadModel { queries: queries(readers), checkpoint, own_writes_wait }
    }
}
