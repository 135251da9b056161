//! Projections are built anew while everybody goes on, compared with the history, and take in later what they had to park.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ::projections::Projector;
use event_store::{Actor, Append, Expected, Metadata, NewEvent, StreamId};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::history::{Invented, log_of, run_command, written};
use crate::support::{DEADLINE, Database, PASSWORD, Person, Random, World, full_scale, seed, until_current};

/// Runs one statement on the database, behind the server's back.
async fn execute(database: &Database, statement: &str) {
    let pool = database.pool().await;
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
    assert!(done.rows_affected() > 0 || statement.starts_with("ALTER"), "{statement}");
    pool.close().await;
}

async fn projection(admin: &Person, name: &str) -> Value {
    let all = admin.get("/api/admin/projections").await.expect(200).body;
    all["projections"].as_array().unwrap().iter().find(|projection| projection["name"] == name).unwrap().clone()
}

/// Waits until the last rebuild that was asked for is over.
async fn until_rebuilt(admin: &Person, name: &str) -> Value {
    let deadline = tokio::time::Instant::now() + DEADLINE * 20;
    loop {
        let state = projection(admin, name).await;
        if state["rebuild"]["finishedAt"].is_string() {
            return state;
        }
        assert!(tokio::time::Instant::now() < deadline, "{state}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Whether everything is as the history says; what was said about it.
async fn verify(database: &Database, names: &[&str]) -> (bool, String) {
    let output = run_command(database, &[&["audit", "verify"], names].concat()).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// People who write to each other until they are told to stop.
struct Senders {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Senders {
    async fn start(world: &World, count: usize) -> Self {
        let acme = world.business("Acme").await;
        let mut people = vec![];
        for n in 0..8 {
            people.push(world.person(&acme, &format!("Sender{n}")).await);
        }
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for n in 0..count {
            let (from, to) = (people[n % 8].clone(), people[(n + 1 + n / 8) % 8].clone());
            let (is_over, sent) = (is_over.clone(), sent.clone());
            tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    if from.id != to.id {
                        from.send_text(&to, "on and on").await.expect(201);
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                }
            });
        }
        // And somebody who reads: what they have seen is never gone again.
        for person in people.into_iter().take(4) {
            let is_over = is_over.clone();
            tasks.spawn(async move {
                let (mut latest, mut before) = (BTreeMap::<String, u64>::new(), 0);
                while !is_over.load(Ordering::Relaxed) {
                    let answer = person.get("/api/messenger/conversations").await.expect(200);
                    let position = answer.headers["x-position"].to_str().unwrap().parse::<u64>().unwrap();
                    assert!(position >= before, "from {before} back to {position}");
                    before = position;
                    for conversation in answer.body["conversations"].as_array().unwrap() {
                        let last = conversation["lastMessage"]["position"].as_u64().unwrap();
                        let known = latest.entry(conversation["id"].as_str().unwrap().to_owned()).or_default();
                        assert!(last >= *known, "from {known} back to {last}");
                        *known = last;
                    }
                }
            });
        }
        Self { is_over, sent, tasks }
    }

    /// Has them stop. Whatever went wrong for any of them is told here. How much was sent.
    async fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.sent.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_rebuilt_while_everybody_goes_on_and_is_then_what_a_fresh_replay_gives() {
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let database = Database::create().await;
    let events = if full_scale() { 200_000 } else { 4_000 };
    Invented::new(Random::new(seed)).happen(&log_of(&database).await, events, 512).await;
    let world = World::on(database).await;
    until_current(&world.server.url).await;
    let senders = Senders::start(&world, 64).await;
    for projector in Projector::ALL {
        let path = format!("/api/admin/projections/{}/rebuild", projector.name);
        let accepted = world.admin.post(&path, Value::Null).await.expect(202).body["projection"].clone();
        assert_eq!(accepted["name"], projector.name);
        let rebuilt = until_rebuilt(&world.admin, projector.name).await;
        assert_eq!((&rebuilt["state"], &rebuilt["hasRetiredTables"]), (&json!("live"), &json!(true)));
        println!("{}: {} events/s under load", projector.name, rebuilt["rebuild"]["eventsPerSecond"]);
    }
    // Compared while everybody still goes on, and while other tables are put in place.
    let names = Projector::ALL.map(|projector| projector.name);
    let rebuilding = async {
        for name in names {
            world.admin.post(&format!("/api/admin/projections/{name}/rebuild"), Value::Null).await.expect(202);
        }
    };
    let ((is_right, said), ()) = tokio::join!(verify(&world.database, &[]), rebuilding);
    assert!(is_right, "{said}");
    for name in names {
        until_rebuilt(&world.admin, name).await;
    }
    println!("{} messages sent meanwhile", senders.stop().await);
    let (is_right, said) = verify(&world.database, &[]).await;
    assert!(is_right, "{said}");
    let dropped = world.admin.delete("/api/admin/projections/people/retired").await.expect(200).body;
    assert_eq!(dropped["projection"]["hasRetiredTables"], false);
    world.admin.delete("/api/admin/projections/people/retired").await.expect(200);
    // And quietly, for the rate.
    let said = written(&run_command(&world.database, &["projections", "rebuild", "all"]).await);
    println!("{said}");
    assert_eq!(said.lines().count(), Projector::ALL.len(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_killed_half_way_goes_on_where_it_was() {
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let database = Database::create().await;
    let events = if full_scale() { 200_000 } else { 20_000 };
    Invented::new(Random::new(seed)).happen(&log_of(&database).await, events, 512).await;
    let world = World::on(database).await;
    until_current(&world.server.url).await;
    world.admin.post("/api/admin/projections/messaging/rebuild", Value::Null).await.expect(202);
    // Killed as soon as some of it is there, and not all.
    let pool = world.database.pool().await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let built: i64 = loop {
        assert!(tokio::time::Instant::now() < deadline, "it doesn't begin");
        let position = sqlx::query_scalar("SELECT position FROM rebuild_messaging.projection_checkpoints");
        // Before the first page there is no such table.
        if let Ok(Some(position @ 1..)) = position.fetch_optional(&pool).await {
            break position;
        }
    };
    let world = world.kill_and_restart().await;
    let rebuilt = until_rebuilt(&world.admin, "messaging").await;
    let began: i64 =
        sqlx::query_scalar("SELECT began_position FROM projection_rebuilds WHERE projection = 'messaging'")
            .fetch_one(&pool)
            .await
            .unwrap();
    pool.close().await;
    println!("it had come to {built}, went on from {began}, and took {} in after that", rebuilt["rebuild"]["events"]);
    assert!(began >= built, "it begins again at {began} after it had come to {built}");
    let (is_right, said) = verify(&world.database, &["messaging"]).await;
    assert!(is_right, "{said}");
}

#[tokio::test]
async fn what_an_older_version_has_made_is_built_anew_by_itself() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    alice.send_text(&bob, "hello").await.expect(201);
    until_current(&world.server.url).await;
    // As an older version would have left it, which took every name for "?".
    execute(&world.database, "UPDATE users SET name = '?'").await;
    execute(&world.database, "UPDATE projection_checkpoints SET version = 0 WHERE projection = 'people'").await;
    let world = world.kill_and_restart().await;
    let rebuilt = until_rebuilt(&world.admin, "people").await;
    assert_eq!(
        (&rebuilt["version"], &rebuilt["rebuild"]["error"]),
        (&json!(Projector::named("people").unwrap().version), &Value::Null)
    );
    let users = world.admin.get(&format!("/api/admin/users?businessId={}", alice.business.id)).await.expect(200).body;
    let names: Vec<&str> =
        users["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Alice", "Bob"]);
    // What a newer version has made is left to its nodes.
    execute(&world.database, "UPDATE projection_checkpoints SET version = 7 WHERE projection = 'calls'").await;
    let world = world.kill_and_restart().await;
    alice.at(&world.server.url).call(&bob).await;
    let pool = world.database.pool().await;
    let calls: i64 = sqlx::query_scalar("SELECT count(*) FROM calls").fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(calls, 0);
    let output = run_command(&world.database, &["projections", "rebuild", "calls"]).await;
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("newer version"),
        "{output:?}"
    );
}

#[tokio::test]
async fn verifying_names_every_row_that_is_not_what_the_history_says() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let id = alice.send_text(&bob, "hello").await.expect(201).body["message"]["id"].as_str().unwrap().to_owned();
    alice.call(&bob).await;
    until_current(&world.server.url).await;
    let (is_right, said) = verify(&world.database, &[]).await;
    assert!(is_right && said.lines().count() == Projector::ALL.len(), "{said}");

    execute(&world.database, &format!("UPDATE messages SET content = 'goodbye' WHERE id = '{id}'")).await;
    execute(&world.database, &format!("DELETE FROM users WHERE id = '{}'", bob.id)).await;
    execute(
        &world.database,
        "INSERT INTO feed_entries (audience, position) VALUES ('00000000-0000-0000-0000-000000000007', 3)",
    )
    .await;
    let (is_right, said) = verify(&world.database, &[]).await;
    assert!(!is_right);
    for expected in [
        format!("messaging: messages {{\"id\":\"{id}\"}}: the log says something else of content"),
        format!("people: users {{\"id\":\"{}\"}}: the row is missing", bob.id),
        "feed: feed_entries {\"audience\":\"00000000-0000-0000-0000-000000000007\",\"position\":3}: the row shouldn't be there".to_owned(),
        "calls: as the history says".to_owned(),
        "audit: as the history says".to_owned(),
    ] {
        assert!(said.lines().any(|line| line.starts_with(&expected)), "{expected}\n{said}");
    }
    assert_eq!(said.lines().filter(|line| line.contains("NOT as the history says")).count(), 3, "{said}");
    // A rebuild puts it right.
    for name in ["messaging", "people", "feed"] {
        written(&run_command(&world.database, &["projections", "rebuild", name]).await);
    }
    let (is_right, said) = verify(&world.database, &[]).await;
    assert!(is_right, "{said}");
    let output = run_command(&world.database, &["audit", "verify", "nothing"]).await;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("there is no projection"));
}

#[tokio::test]
async fn what_is_forgotten_of_the_feed_stays_forgotten_when_it_is_rebuilt() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let position: u64 =
        alice.send_text(&bob, "old").await.expect(201).headers["x-position"].to_str().unwrap().parse().unwrap();
    alice.send_text(&bob, "new").await.expect(201);
    until_current(&world.server.url).await;
    execute(&world.database, &format!("UPDATE feed_horizon SET position = {position}")).await;
    execute(&world.database, &format!("DELETE FROM feed_entries WHERE position <= {position}")).await;
    written(&run_command(&world.database, &["projections", "rebuild", "feed"]).await);
    let (is_right, said) = verify(&world.database, &["feed"]).await;
    assert!(is_right, "{said}");
    let pool = world.database.pool().await;
    let oldest: (i64, i64) =
        sqlx::query_as("SELECT min(position), (SELECT position FROM feed_horizon) FROM feed_entries")
            .fetch_one(&pool)
            .await
            .unwrap();
    pool.close().await;
    assert_eq!(oldest, (i64::try_from(position).unwrap() + 1, i64::try_from(position).unwrap()));
}

#[tokio::test]
async fn a_poison_event_is_parked_with_what_follows_in_its_stream_and_taken_in_once_it_can_be() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    until_current(&world.server.url).await;
    // The table refuses one message: as if there was a bug in the projection, or a limit of the database.
    let refuse = "ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (content <> 'poison')";
    execute(&world.database, refuse).await;
    let poison = alice.send_text(&bob, "poison").await.expect(201).body["message"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/messenger/messages/{poison}");
    alice.request(Method::PATCH, &path, Some(json!({"content": "antidote"})), &[]).await.expect(200);
    // The rest goes on.
    let after = alice.send_text(&bob, "healthy").await.expect(201);
    let position = after.headers["x-position"].to_str().unwrap().to_owned();
    let other = format!("/api/messenger/messages/{}", after.body["message"]["id"].as_str().unwrap());
    bob.request(Method::GET, &other, None, &[("X-Min-Position", &position)]).await.expect(200);
    bob.get(&path).await.expect_error(404, "NOT_FOUND");

    let parked = world.admin.get("/api/admin/projections/messaging/parked").await.expect(200).body;
    let events: Vec<(&str, &str)> = parked["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["error"].as_str().unwrap()))
        .collect();
    assert_eq!(
        events,
        [
            ("MessageSent", "the database refuses its rows: 23514 (no_poison)"),
            ("MessageEdited", "an earlier event of its stream is parked"),
        ]
    );
    assert_eq!(parked["events"][0]["stream"], format!("message-{poison}"));
    assert_eq!(projection(&world.admin, "messaging").await["parked"], 2);
    let page = world.admin.get("/api/admin/projections/messaging/parked?limit=1").await.expect(200).body;
    let next =
        format!("/api/admin/projections/messaging/parked?limit=1&cursor={}", page["nextCursor"].as_str().unwrap());
    assert_eq!(world.admin.get(&next).await.expect(200).body["events"][0]["type"], "MessageEdited");
    let said = written(&run_command(&world.database, &["projections", "parked", "messaging"]).await);
    assert!(said.lines().count() == 2 && said.contains("no_poison"), "{said}");

    // As long as it can't be taken in, it stays.
    let retry = "/api/admin/projections/messaging/retry";
    let retried = world.admin.post(retry, Value::Null).await.expect(200).body;
    assert_eq!((&retried["takenIn"], &retried["stillParked"]), (&json!(0), &json!(2)));
    execute(&world.database, "ALTER TABLE messages DROP CONSTRAINT no_poison").await;
    let retried = world.admin.post(retry, Value::Null).await.expect(200).body;
    assert_eq!((&retried["takenIn"], &retried["stillParked"]), (&json!(2), &json!(0)));
    assert_eq!(bob.get(&path).await.expect(200).body["message"]["content"], "antidote");
    assert_eq!(projection(&world.admin, "messaging").await["parked"], 0);
    // What is written in that stream from now on is taken in at once.
    let deleted = alice.delete(&path).await.expect(200);
    let position = deleted.headers["x-position"].to_str().unwrap().to_owned();
    let now = bob.request(Method::GET, &path, None, &[("X-Min-Position", &position)]).await.expect(200).body;
    assert_eq!(now["message"]["deleted"], true, "{now}");
    let (is_right, said) = verify(&world.database, &["messaging"]).await;
    assert!(is_right, "{said}");
}

#[tokio::test]
async fn an_event_that_nobody_can_read_stops_nothing_and_is_shown_to_auditors_as_it_is() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let log = log_of(&world.database).await;
    let id = Uuid::now_v7();
    let metadata = Metadata {
        business_id: alice.business.id.parse().unwrap(),
        actor: Actor::default(),
        correlation_id: Uuid::now_v7(),
        causation_id: None,
    };
    let nonsense = NewEvent {
        event_id: Uuid::now_v7(),
        event_type: Cow::Borrowed("MessageSent"),
        schema_version: 2,
        data: br#"{"nonsense": [1, 2]}"#.to_vec().into(),
    };
    let stream = StreamId::new("message", id);
    let append = Append { stream: stream.clone(), expected: Expected::NoStream, metadata, events: vec![nonsense] };
    log.append(append).await.unwrap();
    let position =
        alice.send_text(&bob, "after it").await.expect(201).headers["x-position"].to_str().unwrap().to_owned();
    let headers = [("X-Min-Position", position.as_str())];
    bob.request(Method::GET, "/api/messenger/conversations", None, &headers).await.expect(200);
    until_current(&world.server.url).await;
    for name in ["messaging", "feed"] {
        assert_eq!(projection(&world.admin, name).await["parked"], 1, "{name}");
    }
    let life = world.admin.get(&format!("/api/audit/streams/{stream}")).await.expect(200).body;
    assert_eq!(life["events"][0]["data"], json!({"nonsense": [1, 2]}));
    // Nobody can say what it was, and nothing of what is in it is said.
    let state = world.admin.get(&format!("/api/audit/streams/{stream}/state")).await;
    assert!(!state.expect_error(500, "INTERNAL_ERROR").contains("nonsense"));
    let (is_right, said) = verify(&world.database, &[]).await;
    assert!(is_right, "a replay parks what was parked: {said}");
}

#[tokio::test]
async fn projections_are_for_those_who_run_the_installation() {
    let world = World::start().await;
    for (method, path) in [
        (Method::POST, "/api/admin/projections/nothing/rebuild"),
        (Method::POST, "/api/admin/projections/nothing/retry"),
        (Method::DELETE, "/api/admin/projections/nothing/retired"),
        (Method::GET, "/api/admin/projections/nothing/parked"),
    ] {
        world.admin.request(method, path, None, &[]).await.expect_error(404, "NOT_FOUND");
    }
    for query in ["limit=0", "limit=1001", "cursor=x"] {
        let path = format!("/api/admin/projections/people/parked?{query}");
        world.admin.get(&path).await.expect_error(422, "VALIDATION_ERROR");
    }
    let acme = world.business("Acme").await;
    world.create(&acme, "Ann", "BUSINESS_ADMIN").await;
    let ann = Person::log_in_as_admin(&world.server.url, "ann@example.com", PASSWORD).await;
    ann.get("/api/admin/projections").await.expect_error(403, "FORBIDDEN");
    ann.post("/api/admin/projections/people/rebuild", Value::Null).await.expect_error(403, "FORBIDDEN");
    let status = written(&run_command(&world.database, &["projections", "status"]).await);
    for projector in Projector::ALL {
        assert!(status.lines().any(|line| line.starts_with(projector.name) && line.contains("live")), "{status}");
    }
}
