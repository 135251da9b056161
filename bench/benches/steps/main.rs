//! The steps of sending a message, each by itself: `cargo bench -p bench`. To compare two states of the code, keep the figures of
//! one with `-- --save-baseline before`, and measure the other with `-- --baseline before`.

mod product;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use app::managed_postgres::ManagedPostgres;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use domain::message::{Message, MessageCommand, MessageEvent, MessageKind, SendMessage};
use domain::{BusinessId, Decider, DomainEvent, MessageId, MessageText, Timestamp, UserId};
use event_store::memory::MemoryStore;
use event_store::postgres::PostgresStore;
use event_store::{Actor, Append, EventStore, Expected, Metadata, NewEvent, StreamId, codec};
use poem::http::{Method, StatusCode};
use projections::audit::Audit;
use projections::feed::Feed;
use projections::messaging::Messaging;
use projections::{Projector, Sources};
use sqlx::PgPool;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::product::{Product, request};

const TEXT: &str = "About a hundred bytes of text, as people write them to each other in the course of a working day.";
/// Longer than any batch takes.
const PATIENCE: Duration = Duration::from_mins(1);

fn command() -> MessageCommand {
    MessageCommand::Send(SendMessage {
        id: MessageId(fresh_id()),
        business_id: BusinessId(Uuid::from_u128(1)),
        sender_id: UserId(Uuid::from_u128(2)),
        recipient_id: UserId(Uuid::from_u128(3)),
        content: MessageText::parse(TEXT).expect("it is a text"),
        kind: MessageKind::Text,
        attachments: vec![],
        reply_to: None,
        fingerprint: None,
        at: Timestamp::from_unix_ms(1_700_000_000_000),
    })
}

fn sent() -> MessageEvent {
    Message::default().decide(command()).expect("it may be sent").remove(0)
}

fn encoded(event: &MessageEvent) -> NewEvent {
    codec::encode(fresh_id(), event.event_type(), event.schema_version(), event)
}

fn append() -> Append {
    let event = sent();
    let MessageEvent::Sent(message) = &event else { unreachable!("it was sent") };
    Append {
        stream: StreamId::new(Message::CATEGORY, message.message_id),
        expected: Expected::NoStream,
        metadata: Metadata {
            business_id: message.business_id.0,
            actor: Actor { user: Some(message.sender_id.0), role: Some("BUSINESS_USER".into()), session: None },
            correlation_id: fresh_id(),
            causation_id: None,
        },
        events: vec![encoded(&event)],
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
fn fresh_id() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A Postgres of its own, with the tables of the product.
struct Database {
    pool: PgPool,
    postgres: ManagedPostgres,
    _data_dir: TempDir,
}

impl Database {
    async fn start() -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary directory can be made");
        let postgres = ManagedPostgres::start(data_dir.path(), None).await.expect("Postgres starts");
        let pool = PgPool::connect_with(postgres.connect_options("switchboard")).await.expect("Postgres answers");
        app::migrate(&pool).await.expect("migrations run");
        Self { pool, postgres, _data_dir: data_dir }
    }

    async fn stop(self) {
        self.pool.close().await;
        self.postgres.stop().await;
    }
}

fn deciding(criterion: &mut Criterion) {
    criterion.bench_function("decide and evolve", |bencher| {
        bencher.iter_batched(
            command,
            |command| {
                let mut message = Message::default();
                let events = message.decide(command).expect("it may be sent");
                for event in &events {
                    message.evolve(event);
                }
                message
            },
            BatchSize::SmallInput,
        );
    });
}

fn codec_both_ways(criterion: &mut Criterion) {
    let event = sent();
    criterion.bench_function("encode", |bencher| bencher.iter(|| encoded(black_box(&event))));
    let runtime = runtime();
    let recorded = runtime.block_on(async {
        let log = MemoryStore::new(now);
        log.append(append()).await.expect("appends succeed");
        log.read_all(0, 1).await.expect("it is there").remove(0)
    });
    criterion.bench_function("decode", |bencher| {
        bencher.iter(|| codec::decode(black_box(&recorded), |name, json| MessageEvent::deserialize(name, json)));
    });
}

fn appending(criterion: &mut Criterion) {
    let runtime = runtime();
    let database = runtime.block_on(Database::start());
    let log = runtime.block_on(PostgresStore::open(database.pool.clone())).expect("the log opens");
    let log = Arc::new(log);
    let mut group = criterion.benchmark_group("append to Postgres, at the same time");
    for count in [1, 64, 1024] {
        group.throughput(Throughput::Elements(count));
        group.bench_with_input(BenchmarkId::from_parameter(count), &count, |bencher, count| {
            bencher.to_async(&runtime).iter_batched(
                || (0..*count).map(|_| append()).collect::<Vec<_>>(),
                |appends| append_all(log.clone(), appends),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    runtime.block_on(async {
        log.shut_down().await;
        database.stop().await;
    });
}

async fn append_all(log: Arc<dyn EventStore>, appends: Vec<Append>) {
    let mut tasks = JoinSet::new();
    for append in appends {
        let log = log.clone();
        tasks.spawn(async move { log.append(append).await });
    }
    while let Some(appended) = tasks.join_next().await {
        appended.expect("it doesn't panic").expect("appends succeed");
    }
}

/// From an append to an empty log in memory until the rows are there.
fn projecting(criterion: &mut Criterion) {
    let runtime = runtime();
    for projector in [Projector::of::<Messaging>(), Projector::of::<Feed>(), Projector::of::<Audit>()] {
        let database = runtime.block_on(Database::start());
        let log = Arc::new(MemoryStore::new(now));
        let sources = Sources { store: log.clone(), pool: database.pool.clone() };
        let (checkpoint, run) = projections::run(projector, sources);
        let running = runtime.spawn(run);
        let mut group = criterion.benchmark_group(format!("project a batch: {}", projector.name));
        for count in [1, 100, 1000] {
            group.throughput(Throughput::Elements(count));
            group.bench_with_input(BenchmarkId::from_parameter(count), &count, |bencher, count| {
                bencher.to_async(&runtime).iter_batched(
                    || (0..*count).map(|_| append()).collect::<Vec<_>>(),
                    async |appends| {
                        for append in appends {
                            log.append(append).await.expect("appends succeed");
                        }
                        let head = log.head().await.expect("it is there");
                        checkpoint.reached(head, PATIENCE).await.expect("it gets there");
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
        running.abort();
        runtime.block_on(database.stop());
    }
}

/// Requests through all layers, without a network; what they cost more than one that leads nowhere is theirs.
fn answering(criterion: &mut Criterion) {
    let runtime = runtime();
    let database = runtime.block_on(Database::start());
    let product = runtime.block_on(Product::over(database.pool.clone()));
    let mut group = criterion.benchmark_group("answer");
    let token = product.alice.token.as_str();
    let (nowhere, ice_servers) = ("/api/messenger/nowhere", "/api/messenger/ice-servers");
    for (name, path, token, status) in [
        ("an address that leads nowhere", nowhere, "", StatusCode::NOT_FOUND),
        ("an address that needs a token", ice_servers, "", StatusCode::UNAUTHORIZED),
        ("the same with a token", ice_servers, token, StatusCode::OK),
    ] {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || request(Method::GET, path, token, ""),
                |request| product.ask(request, status),
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("a message, into a log in memory", |bencher| {
        bencher.to_async(&runtime).iter(|| product.write());
    });
    group.finish();
    runtime.block_on(async {
        drop(product);
        database.stop().await;
    });
}

/// A message to somebody with so many devices, from its being sent until each has got it.
fn fanning_out(criterion: &mut Criterion) {
    let runtime = runtime();
    let database = runtime.block_on(Database::start());
    let product = runtime.block_on(Product::over(database.pool.clone()));
    let mut group = criterion.benchmark_group("fan out to devices");
    for count in [1, 100, 1000] {
        group.throughput(Throughput::Elements(count));
        let mut streams = runtime.block_on(async {
            let mut streams = vec![];
            for _ in 0..count {
                streams.push(product.listen().await);
            }
            streams
        });
        group.bench_with_input(BenchmarkId::from_parameter(count), &count, |bencher, _| {
            bencher.iter(|| {
                runtime.block_on(async {
                    product.write().await;
                    for stream in &mut streams {
                        stream.wait_for("message:received").await;
                    }
                });
            });
        });
    }
    group.finish();
    runtime.block_on(async {
        drop(product);
        database.stop().await;
    });
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime can be made")
}

criterion_group!(steps, deciding, codec_both_ways, appending, projecting, answering, fanning_out);
criterion_main!(steps);
