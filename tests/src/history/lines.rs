//! The history as lines: all of it, in flat memory, whatever breaks off; and enough of it to build everything again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::projections::{Projector, Sources};
use event_store::memory::MemoryStore;
use event_store::{Actor, Append, EventStore, Expected, Metadata, NewEvent, StreamId};
use futures_util::StreamExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::invented::Invented;
use super::{ask_for_lines, log_of, positions, read_lines, run_command, written};
use crate::support::{DEADLINE, Database, Random, World, full_scale, seed};

/// An event, as a reader of lines who knows nothing of us takes it in.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line<'a> {
    event_id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u16,
    stream: String,
    stream_version: u64,
    position: u64,
    #[serde(rename = "recordedAt")]
    _recorded_at: String,
    business_id: Uuid,
    actor: LineActor,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LineActor {
    user: Option<Uuid>,
    role: Option<String>,
    session: Option<Uuid>,
}

/// Appends what a line says to a log, as it was.
async fn import(store: &dyn EventStore, line: &str) {
    let line: Line = serde_json::from_str(line).unwrap();
    let appended = store
        .append(Append {
            stream: StreamId::from(line.stream),
            expected: Expected::after(line.stream_version - 1),
            metadata: Metadata {
                business_id: line.business_id,
                actor: Actor {
                    user: line.actor.user,
                    role: line.actor.role.map(Cow::Owned),
                    session: line.actor.session,
                },
                correlation_id: line.correlation_id,
                causation_id: line.causation_id,
            },
            events: vec![NewEvent {
                event_id: line.event_id,
                event_type: Cow::Owned(line.event_type),
                schema_version: line.schema_version,
                data: line.data.get().to_owned().into(),
            }],
        })
        .await
        .unwrap();
    assert_eq!((appended.position, appended.stream_version), (line.position, line.stream_version));
}

/// Tables that are made of events alone, and say nothing of when those were recorded.
fn tables() -> Vec<&'static str> {
    let tables = Projector::ALL.into_iter().flat_map(|projector| projector.tables.iter().copied());
    tables.filter(|table| *table != "feed_days").collect()
}

/// What is in each table, in short; of the index of the log as far as a position.
async fn contents(pool: &PgPool, until: u64) -> BTreeMap<&'static str, (i64, Option<String>)> {
    let mut contents = BTreeMap::new();
    for table in tables() {
        let part = if table == "audit_events" { format!("WHERE position <= {until}") } else { String::new() };
        let query =
            format!("SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} t {part}");
        contents.insert(table, sqlx::query_as(AssertSqlSafe(query)).fetch_one(pool).await.unwrap());
    }
    contents
}

/// The most memory that a process has ever taken, in KiB.
fn peak_memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_history_is_exported_in_flat_memory_and_builds_everything_again() {
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let database = Database::create().await;
    let wanted = if full_scale() { 1_000_000 } else { 5_000 };
    let mut invented = Invented::new(Random::new(seed));
    let began = std::time::Instant::now();
    invented.happen(&log_of(&database).await, wanted, 512).await;
    println!("{wanted} events appended in {:?}", began.elapsed());
    let world = World::on(database).await;
    println!("and projected after {:?}", began.elapsed());

    let before = peak_memory_kib(world.server.pid());
    let began = std::time::Instant::now();
    let response = ask_for_lines(&world.admin, "").await;
    let head: u64 = response.headers()["x-position"].to_str().unwrap().parse().unwrap();
    let copy = Database::create().await;
    let imported = MemoryStore::new(OffsetDateTime::now_utc);
    let (mut types, mut text, mut chunks) = (BTreeSet::new(), vec![], response.bytes_stream());
    let mut last = 0;
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap());
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { continue };
        let rest = text.split_off(end + 1);
        for line in std::str::from_utf8(&text).unwrap().lines() {
            assert!(!line.contains("secret-hash"), "{line}");
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["position"], last + 1);
            last += 1;
            types.insert(event["type"].as_str().unwrap().to_owned());
            import(&imported, line).await;
        }
        text = rest;
    }
    assert_eq!((text.len(), last), (0, head), "it ends where the log did when it was asked for");
    let grown = peak_memory_kib(world.server.pid()).saturating_sub(before);
    println!("{last} events exported in {:?}; the server's peak memory has grown by {grown} KiB", began.elapsed());
    assert!(grown < 64 * 1024, "{grown} KiB");
    let expected: BTreeSet<String> = known_types(&world).await;
    // In a short history some of what is rare may not happen.
    let missing: Vec<_> = expected.difference(&types).collect();
    assert!(missing.len() <= if full_scale() { 0 } else { 3 }, "{missing:?} never happened");

    // Meanwhile the server has ended calls that nobody answers, and so on. What came last is exported once it is still.
    let World { server, database, .. } = world;
    assert!(server.stop().await);
    let rest = written(&run_command(&database, &["audit", "export", "--after", &last.to_string()]).await);
    for line in rest.lines() {
        import(&imported, line).await;
        last += 1;
    }
    let imported = built_from(&copy, Arc::new(imported), last).await;
    let original = built_from(&database, log_of(&database).await, last).await;
    for (table, contents) in &original {
        assert_eq!(&imported[table], contents, "{table}");
    }
}

/// What the projections make of a log up to a position, in the tables of a database.
async fn built_from(
    database: &Database,
    store: Arc<dyn EventStore>,
    position: u64,
) -> BTreeMap<&'static str, (i64, Option<String>)> {
    let pool = database.pool().await;
    for projector in Projector::ALL {
        let sources = Sources { store: store.clone(), pool: pool.clone() };
        let (checkpoint, run) = ::projections::run(projector, sources);
        let run = tokio::spawn(run);
        checkpoint.reached(position, DEADLINE * 20).await.unwrap();
        run.abort();
    }
    let contents = contents(&pool, position).await;
    pool.close().await;
    contents
}

async fn known_types(world: &World) -> BTreeSet<String> {
    let catalogue = world.admin.get("/api/audit/catalogue").await.expect(200).body;
    let types = catalogue["types"].as_array().unwrap().iter();
    types.map(|known| known["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_off_is_gone_on_with_and_nothing_is_missed_or_doubled() {
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let database = Database::create().await;
    let mut invented = Invented::new(random.fork());
    let count = invented.happen(&log_of(&database).await, 2_000, 256).await as u64;
    let world = World::on(database).await;
    for filter in ["", "type=MessageSent"] {
        let (expected, is_whole) =
            read_lines(ask_for_lines(&world.admin, &format!("?{filter}")).await, usize::MAX).await;
        assert!(is_whole && !expected.is_empty());
        let expected: Vec<u64> = positions(&expected).into_iter().filter(|position| *position <= count).collect();
        let mut read = vec![];
        let mut cuts = 0;
        loop {
            let after = read.last().copied().unwrap_or(0);
            let response = ask_for_lines(&world.admin, &format!("?after={after}&{filter}")).await;
            let (events, is_whole) = read_lines(response, 500 + random.index(100_000)).await;
            read.extend(positions(&events));
            if is_whole {
                break;
            }
            cuts += 1;
        }
        read.retain(|position| *position <= count);
        assert!(cuts > 3, "{cuts} cuts");
        assert_eq!(read, expected, "{filter}");
    }
}

#[tokio::test]
async fn an_old_event_is_exported_as_it_was_written_and_read_as_it_is_today() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let id = Uuid::now_v7();
    let conversation = alice.send_text(&bob, "today").await.expect(201).body["message"]["conversationId"].clone();
    let data = json!({
        "messageId": id, "conversationId": conversation, "businessId": alice.business.id, "senderId": alice.id,
        "recipientId": bob.id, "content": {"subject": alice.id, "value": "from long ago"}, "sentAt": "2020-01-01T00:00:00.000Z",
    });
    let log = log_of(&world.database).await;
    let old = NewEvent {
        event_id: Uuid::now_v7(),
        event_type: Cow::Borrowed("MessageSent"),
        schema_version: 1,
        data: serde_json::to_vec(&data).unwrap().into(),
    };
    let metadata = Metadata {
        business_id: alice.business.id.parse().unwrap(),
        actor: Actor::default(),
        correlation_id: Uuid::now_v7(),
        causation_id: None,
    };
    let stream = StreamId::new("message", id);
    let append = Append { stream: stream.clone(), expected: Expected::NoStream, metadata, events: vec![old] };
    let position = log.append(append).await.unwrap().position;

    let path = format!("/api/messenger/messages/{id}");
    let position_header = position.to_string();
    let headers = [("X-Min-Position", position_header.as_str())];
    let message = bob.request(reqwest::Method::GET, &path, None, &headers).await.expect(200).body["message"].clone();
    assert_eq!((&message["content"], &message["type"]), (&json!("from long ago"), &json!("text")));
    let state = world.admin.get(&format!("/api/audit/streams/{stream}/state")).await.expect(200).body["state"].clone();
    assert_eq!((&state["phase"], &state["sent"]["kind"]), (&json!("visible"), &json!("text")));
    let exported =
        written(&run_command(&world.database, &["audit", "export", "--after", &(position - 1).to_string()]).await);
    let exported: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!((&exported["schemaVersion"], &exported["data"]), (&json!(1), &data));
    let catalogue = world.admin.get("/api/audit/catalogue").await.expect(200).body;
    let is_old = |known: &&Value| known["type"] == "MessageSent" && known["schemaVersion"] == 1;
    assert_eq!(catalogue["types"].as_array().unwrap().iter().find(is_old).unwrap()["isCurrent"], false);
}

#[tokio::test]
async fn the_command_line_exports_what_is_asked_for() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let globex = world.business("Globex").await;
    let acme = &alice.business.id;
    alice.send_text(&bob, "first").await.expect(201);
    let all = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let everything = all(&written(&run_command(&world.database, &["audit", "export"]).await));
    assert_eq!(positions(&everything), (1..=everything.len() as u64).collect::<Vec<_>>());
    let of_acme = all(&written(&run_command(&world.database, &["audit", "export", "--business", acme]).await));
    assert!(of_acme.len() > 5 && of_acme.iter().all(|event| event["businessId"] == **acme));
    assert!(everything.iter().any(|event| event["businessId"] == *globex.id));

    let third = everything[2]["recordedAt"].as_str().unwrap().to_owned();
    let expected = |keep: &dyn Fn(&str) -> bool| {
        everything.iter().filter(|event| keep(event["recordedAt"].as_str().unwrap())).cloned().collect::<Vec<_>>()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    written(&run_command(&world.database, &["audit", "export", "--to", &third, "--output", path]).await);
    assert_eq!(all(&std::fs::read_to_string(path).unwrap()), expected(&|at| at <= third.as_str()));
    // One that has broken off in the middle of a line is gone on with in the same file.
    let whole = written(&run_command(&world.database, &["audit", "export", "--output", path]).await);
    assert_eq!(whole, "");
    let lines = std::fs::read_to_string(path).unwrap();
    let broken_off = lines.match_indices('\n').nth(3).unwrap().0 + 20;
    std::fs::write(path, &lines[..broken_off]).unwrap();
    written(&run_command(&world.database, &["audit", "export", "--after", "4", "--output", path]).await);
    assert!(std::fs::read_to_string(path).unwrap().starts_with(&lines));
    let from = all(&written(&run_command(&world.database, &["audit", "export", "--from", &third]).await));
    assert_eq!(from[..expected(&|at| at >= third.as_str()).len()], expected(&|at| at >= third.as_str())[..]);

    for wrong in [["--from", "yesterday"], ["--business", "acme"], ["--after", "-1"]] {
        let output = run_command(&world.database, &["audit", "export", wrong[0], wrong[1]]).await;
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
    let nobody = ["audit", "export", "--business", "00000000-0000-0000-0000-000000000007"];
    let output = run_command(&world.database, &nobody).await;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("there is no business"));
    let noted = world.admin.get("/api/audit/events?type=AuditRead").await.expect(200).body;
    let noted: Vec<&Value> = noted["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    let by_operators = noted.iter().filter(|read| read["what"] == "export" && read["readerId"].is_null()).count();
    assert_eq!(by_operators, 6, "{noted:?}");
}
