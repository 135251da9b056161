//! Appends of one event of about 500 bytes to a new stream each, straight to the log in Postgres; and beside them, in the same
//! cluster and in turns, what `pgbench` does that inserts one row a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use app::managed_postgres::ManagedPostgres;
use event_store::postgres::PostgresStore;
use event_store::{Actor, Append, EventStore, Expected, Metadata, NewEvent, StreamId};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::pgbench;
use crate::report::{self, Figures};
use crate::target::Target;

const DATA_BYTES: usize = 500;
/// Clients of `pgbench` at most: each has a connection.
const MOST_CLIENTS: usize = 64;

pub(crate) async fn measure(concurrencies: &[usize], duration: Duration) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let postgres = ManagedPostgres::start(dir.path(), None).await.expect("Postgres starts");
    let options = postgres.connect_options("switchboard");
    // What appends is ourselves.
    let target =
        Target::new("log", String::new(), std::process::id(), postgres.process_id(), options, "SELECT true").await;
    app::migrate(&target.database).await.expect("migrations run");
    pgbench::prepare(&target.database).await;
    let store = Arc::new(PostgresStore::open(target.database.clone()).await.expect("the log opens"));
    report::header("");
    for concurrency in concurrencies {
        let clients = (*concurrency).min(MOST_CLIENTS);
        let floor = pgbench::insert(&target, clients, duration).await;
        report::row(&format!("{clients} insert, pgbench"), &floor);
        report::row(&format!("{concurrency} append"), &append_all(&store, &target, *concurrency, duration).await);
    }
    store.shut_down().await;
    target.database.close().await;
    postgres.stop().await;
}

async fn append_all(store: &Arc<PostgresStore>, target: &Target, concurrency: usize, duration: Duration) -> Figures {
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut appenders = JoinSet::new();
    for _ in 0..concurrency {
        appenders.spawn(append_until(store.clone(), began + duration));
    }
    let mut all = report::histogram();
    while let Some(histogram) = appenders.join_next().await {
        all += histogram.expect("appenders don't panic");
    }
    Figures::of(&all, began.elapsed(), target.cpu().since(cpu))
}

async fn append_until(store: Arc<PostgresStore>, end: Instant) -> hdrhistogram::Histogram<u64> {
    let mut histogram = report::histogram();
    let actor = Actor { user: Some(Uuid::nil()), role: Some("BUSINESS_USER".into()), session: Some(Uuid::nil()) };
    while Instant::now() < end {
        let id = fresh_id();
        let append = Append {
            stream: StreamId::new("bench", id),
            expected: Expected::NoStream,
            metadata: Metadata {
                business_id: Uuid::nil(),
                actor: actor.clone(),
                correlation_id: id,
                causation_id: None,
            },
            events: vec![NewEvent {
                event_id: id,
                event_type: "Measured".into(),
                schema_version: 1,
                data: vec![b'x'; DATA_BYTES].into(),
            }],
        };
        let began = Instant::now();
        store.append(append).await.expect("appends succeed");
        report::record(&mut histogram, began.elapsed());
    }
    histogram
}

#[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
fn fresh_id() -> Uuid {
    Uuid::now_v7()
}
