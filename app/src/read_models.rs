//! The read models, each with what feeds it.

use std::sync::Arc;

use event_store::EventStore;
use projections::audit::{Audit, AuditQueries};
use projections::calls::{CallQueries, Calls};
use projections::feed::{Feed, FeedQueries};
use projections::messaging::{Messaging, MessagingQueries};
use projections::people::{People, PeopleQueries};
use projections::{Checkpoint, Foundations, Projection, Projector};
use tokio::task::JoinSet;

use crate::database::Database;

/// What can be asked, and how far each projection has come.
pub(crate) struct ReadModels {
    pub(crate) people: (PeopleQueries, Checkpoint),
    pub(crate) messaging: (MessagingQueries, Checkpoint),
    pub(crate) calls: (CallQueries, Checkpoint),
    pub(crate) feed: (FeedQueries, Checkpoint),
    pub(crate) audit: (AuditQueries, Checkpoint),
}

/// Runs all projections in the background, and rebuilds them when they are to be.
pub(crate) fn start(store: &Arc<dyn EventStore>, database: &Database, background: &mut JoinSet<()>) -> ReadModels {
    fn run<P: Projection>(foundations: &Foundations, background: &mut JoinSet<()>) -> Checkpoint {
        let (checkpoint, run) = projections::run(Projector::of::<P>(), foundations.clone());
        background.spawn(run);
        checkpoint
    }
    let foundations = Foundations { store: store.clone(), pool: database.pool.clone() };
    background.spawn(projections::rebuild_on_demand(foundations.clone()));
    ReadModels {
        people: (PeopleQueries::new(database.readers.clone()), run::<People>(&foundations, background)),
        messaging: (MessagingQueries::new(database.readers.clone()), run::<Messaging>(&foundations, background)),
        calls: (CallQueries::new(database.readers.clone()), run::<Calls>(&foundations, background)),
        feed: (FeedQueries::new(database.readers.clone()), run::<Feed>(&foundations, background)),
        audit: (AuditQueries::new(database.readers.clone()), run::<Audit>(&foundations, background)),
    }
}
