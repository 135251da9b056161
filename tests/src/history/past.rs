//! What was, at any moment.

use std::collections::BTreeMap;

use ::projections::Projection;
use ::projections::calls::Calls;
use ::projections::messaging::Messaging;
use ::projections::people::People;
use event_store::RecordedEvent;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use super::invented::Invented;
use super::{log_of, run_command, written};
use crate::support::{Database, Random, World, seed};

async fn take_in<P: Projection>(pool: &PgPool, event: &RecordedEvent) {
    let mut changes = P::Changes::default();
    P::collect(&mut changes, event).unwrap();
    P::write(changes, &mut pool.acquire().await.unwrap()).await.unwrap();
}

/// The row of a read model that shows what a stream is about, if one does.
async fn shown(pool: &PgPool, event: &RecordedEvent) -> Option<Value> {
    let id = event.stream.id();
    let rows = match event.stream.category() {
        "business" => format!("businesses t WHERE id = '{id}'"),
        "user" => format!("users t WHERE id = '{id}'"),
        "session" => format!("sessions t WHERE id = '{id}'"),
        "message" => format!("messages t WHERE id = '{id}'"),
        "call" => format!("calls t WHERE id = '{id}'"),
        "reading" => {
            let (conversation, reader) = id.split_once('.').unwrap();
            format!("conversation_members t WHERE conversation_id = '{conversation}' AND user_id = '{reader}'")
        }
        _ => return None,
    };
    let query = format!("SELECT to_jsonb(t) FROM {rows}");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_optional(pool).await.unwrap()
}

/// Checks that a state says what the row has shown.
fn assert_same(state: &Value, row: &Value, what: &str) {
    let time = |value: &Value| value.as_str().map(|text| text.replace("+00:00", "").trim_end_matches('Z').to_owned());
    let same_time = |a: &Value, b: &Value| {
        // One says milliseconds always, the other only where there are any.
        let whole = |value: &Value| {
            time(value).map(|text| if text.contains('.') { format!("{text:0<23}") } else { format!("{text}.000") })
        };
        assert_eq!(whole(a), whole(b), "{what}");
    };
    match what.split('-').next().unwrap() {
        "business" => {
            assert_eq!((&state["name"], &state["phase"]), (&row["name"], &row["status"]), "{what}");
            same_time(&state["createdAt"], &row["created_at"]);
        }
        "user" if state["phase"] == "abandoned" => assert!(row.is_null(), "{what}"),
        "user" => {
            let personal = |field: &str| state[field]["value"].clone();
            assert_eq!((personal("name"), personal("email")), (row["name"].clone(), row["email"].clone()), "{what}");
            assert_eq!((personal("avatar"), &state["role"]), (row["avatar"].clone(), &row["role"]), "{what}");
            assert_eq!(state["phase"], row["status"], "{what}");
            assert!(state.get("passwordHash").is_none());
        }
        "session" => {
            assert_eq!((&state["userId"], &state["audience"]), (&row["user_id"], &row["audience"]), "{what}");
            same_time(&state["expiresAt"], &row["expires_at"]);
            // It may have been ended by what happened to its person, which isn't in its own stream.
            assert!(state["phase"] == "live" || row["revoked_at"].is_string(), "{what}");
        }
        "message" if state["phase"] == "deleted" => {
            assert_eq!((&row["content"], &row["attachments"]), (&Value::Null, &json!([])), "{what}");
            assert!(row["deleted_at"].is_string(), "{what}");
        }
        "message" => {
            let says = if state["edited"].is_null() { &state["sent"]["content"] } else { &state["edited"]["content"] };
            assert_eq!((&says["value"], &state["sent"]["kind"]), (&row["content"], &row["kind"]), "{what}");
            assert_eq!(state["sent"].get("attachments").unwrap_or(&json!([])), &row["attachments"], "{what}");
            same_time(&state["edited"]["editedAt"], &row["edited_at"]);
            assert!(row["deleted_at"].is_null(), "{what}");
        }
        "call" => {
            let status = match state["phase"].as_str().unwrap() {
                "over" => match &state["outcome"] {
                    Value::String(outcome) => outcome.clone(),
                    ended => ended.as_object().unwrap().keys().next().unwrap().clone(),
                },
                phase => phase.to_owned(),
            };
            assert_eq!(row["status"], status, "{what}");
            same_time(&state["acceptedAt"], &row["accepted_at"]);
            same_time(&state["endedAt"], &row["ended_at"]);
            assert_eq!(state.get("endedBy").unwrap_or(&Value::Null), &row["ended_by"], "{what}");
        }
        "reading" => assert_eq!(state["readPosition"], row["read_position"], "{what}"),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_thousand_moments_everything_was_what_it_was_shown_as() {
    const EVENTS: usize = 3_000;
    const MOMENTS: usize = 1_000;
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let database = Database::create().await;
    let log = log_of(&database).await;
    // One after the other, so that every moment is one of its own.
    Invented::new(random.fork()).happen(&log, EVENTS, 1).await;
    let copy = Database::create().await;
    let pool = copy.pool().await;
    let mut moments: BTreeMap<String, Vec<(u64, Value)>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = log.read_all(after, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in &page {
            take_in::<People>(&pool, event).await;
            take_in::<Messaging>(&pool, event).await;
            take_in::<Calls>(&pool, event).await;
            if let Some(row) = shown(&pool, event).await {
                moments.entry(event.stream.to_string()).or_default().push((event.position, row));
            }
        }
    }
    pool.close().await;
    let world = World::on(database).await;
    // Of each kind as many: there are far more messages than businesses.
    let mut kinds = BTreeMap::<&str, Vec<&String>>::new();
    for stream in moments.keys() {
        kinds.entry(stream.split('-').next().unwrap()).or_default().push(stream);
    }
    let mut compared = BTreeMap::<&str, usize>::new();
    for n in 0..MOMENTS {
        let streams = kinds.values().nth(n % kinds.len()).unwrap();
        let stream = streams[random.index(streams.len())];
        // One in four at any time, also before it was anything.
        let began = if random.below(4) == 0 { 0 } else { moments[stream][0].0 - 1 };
        let position = began + 1 + random.below(after - began);
        let row = moments[stream].iter().rev().find(|(at, _)| *at <= position).map(|(_, row)| row);
        let path = format!("/api/audit/streams/{stream}/state?position={position}");
        let then = world.admin.get(&path).await.expect(200).body;
        match row {
            None => assert_eq!((&then["state"], &then["streamVersion"]), (&Value::Null, &json!(0)), "{stream}"),
            Some(row) => {
                assert_same(&then["state"], row, stream);
                *compared.entry(stream.split('-').next().unwrap()).or_default() += 1;
            }
        }
    }
    println!("{compared:?}");
    assert!(compared.len() == 6 && compared.values().all(|count| *count > MOMENTS / 10), "{compared:?}");
}

#[tokio::test]
async fn what_was_is_told_by_position_and_by_time() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let sent = alice.send_text(&bob, "Helo!").await.expect(201);
    let id = sent.body["message"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/audit/streams/message-{id}/state");
    let edit = json!({"content": "Hello!"});
    let edited = alice.request(reqwest::Method::PATCH, &format!("/api/messenger/messages/{id}"), Some(edit), &[]).await;
    let edited_at = edited.expect(200).headers["x-position"].to_str().unwrap().to_owned();
    alice.delete(&format!("/api/messenger/messages/{id}")).await.expect(200);
    let state = async |query: &str| world.admin.get(&format!("{path}{query}")).await.expect(200).body;
    let sent_at = sent.headers["x-position"].to_str().unwrap();
    let then = state(&format!("?position={sent_at}")).await;
    assert_eq!((&then["state"]["phase"], &then["streamVersion"]), (&json!("visible"), &json!(1)));
    assert_eq!(then["state"]["sent"]["content"]["value"], "Helo!");
    let then = state(&format!("?position={edited_at}")).await;
    assert_eq!(then["state"]["edited"]["content"]["value"], "Hello!");
    let by_time = state(&format!("?at={}", then["recordedAt"].as_str().unwrap())).await;
    assert!(by_time["streamVersion"].as_u64().unwrap() >= 2, "what was recorded at that moment is part of it");
    assert_eq!(state("").await["state"]["phase"], "deleted");
    assert_eq!(state("?position=1").await["state"], Value::Null);
    assert_eq!(state("?at=2020-01-01T00:00:00Z").await["state"], Value::Null);
    assert_eq!(state("?position=18446744073709551615").await["state"]["phase"], "deleted");
    for wrong in ["?position=-1", "?position=1&at=2020-01-01T00:00:00Z", "?at=now", "?position=99999999999999999999"] {
        world.admin.get(&format!("{path}{wrong}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    let life = world.admin.get(&format!("/api/audit/streams/message-{id}")).await.expect(200).body;
    let types: Vec<&str> =
        life["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        (&types[..], &life["nextCursor"]),
        (&["MessageSent", "MessageEdited", "MessageDeleted"][..], &Value::Null)
    );
    let page = world.admin.get(&format!("/api/audit/streams/message-{id}?limit=1&after=1")).await.expect(200).body;
    assert_eq!((&page["events"][0]["type"], &page["nextCursor"]), (&json!("MessageEdited"), &json!("2")));

    // The command line shows everything as it was.
    let was =
        written(&run_command(&world.database, &["audit", "state", "--at", then["recordedAt"].as_str().unwrap()]).await);
    let rows: Vec<Value> = was.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("message").len(), 1);
    assert!(["Hello!", "Helo!"].contains(&of("message")[0]["content"].as_str().unwrap()), "it wasn't deleted yet");
    assert_eq!((of("user").len(), of("business").len(), of("conversation").len(), of("call").len()), (3, 2, 2, 0));
    let other = world.business("Globex").await;
    let arguments = ["audit", "state", "--at", "2100-01-01T00:00:00Z", "--business", other.id.as_str()];
    let rows = written(&run_command(&world.database, &arguments).await);
    assert_eq!(rows.lines().count(), 1, "{rows}");
}

#[tokio::test]
async fn what_a_request_has_caused_is_a_tree() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let id = world.create(&acme, "Alice", "BUSINESS_USER").await;
    let life = world.admin.get(&format!("/api/audit/streams/user-{id}")).await.expect(200).body;
    let correlation = life["events"][0]["correlationId"].as_str().unwrap().to_owned();
    let tree = world.admin.get(&format!("/api/audit/correlations/{correlation}")).await.expect(200).body;
    let [root] = &tree["events"].as_array().unwrap()[..] else { panic!("{tree}") };
    assert_eq!(root["event"]["type"], "LoginReserved");
    let [caused] = &root["caused"].as_array().unwrap()[..] else { panic!("{tree}") };
    assert_eq!(
        (&caused["event"]["type"], &caused["caused"], &tree["truncated"]),
        (&json!("UserCreated"), &json!([]), &json!(false))
    );
    for unknown in ["nothing", "00000000-0000-0000-0000-000000000007"] {
        world.admin.get(&format!("/api/audit/correlations/{unknown}")).await.expect_error(404, "NOT_FOUND");
    }
}
