//! The whole product on a log in KurrentDB: the stand-in always, and a real server where one is named.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use ::projections::Projector;

use crate::history::{ask_for_lines, positions, read_lines, run_command_with, written};
use crate::support::{
    Database, EventStream, KurrentDb, Person, Server, Settings, Socket, Transports, World, set_up_by_hand,
    until_current,
};

type Env = Vec<(&'static str, String)>;

fn on(url: &str) -> Env {
    vec![("SWITCHBOARD_EVENT_STORE", url.to_owned())]
}

/// A world on that log, in which Alice and Bob work.
async fn world(env: &Env) -> (World, Person, Person) {
    let world = World::with(env.clone()).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    (world, alice, bob)
}

/// Whether everything is as the history says; what was said about it.
async fn verify(database: &Database, env: &Env) -> (bool, String) {
    let output = run_command_with(database, &["audit", "verify"], env).await;
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_from_rest_to_the_official_client_and_is_there_after_a_crash() {
    let log = KurrentDb::start().await;
    everybody_talks(&on(&log.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_real_server_everybody_talks_too() {
    if let Some(url) = set_up_by_hand("SWITCHBOARD_TEST_KURRENTDB") {
        everybody_talks(&on(&url)).await;
    }
}

async fn everybody_talks(env: &Env) {
    let (world, alice, bob) = world(env).await;
    let began_at = bob.feed_position().await;
    let mut phone = Socket::connect(&bob, Transports::WebSocket).await;
    phone.expect("feed:caught-up").await;
    let sent = alice.send_text(&bob, "over another log").await.expect(201);
    let received = phone.expect("message:received").await;
    assert_eq!((&received["content"], &received["senderName"]), (&json!("over another log"), &json!("Alice")));
    let id = sent.body["message"]["id"].as_str().unwrap().to_owned();
    let conversation = sent.body["message"]["conversationId"].as_str().unwrap().to_owned();
    let read = format!("/api/messenger/conversations/{conversation}/read");
    bob.post(&read, json!({"upTo": id})).await.expect(200);
    alice.call(&bob).await;
    // An exact retry is known as one, on this log too.
    let body = json!({"recipientId": bob.id, "content": "once", "clientMessageId": "retry"});
    let once = alice.post("/api/messenger/messages", body.clone()).await.expect(201).body;
    assert_eq!(alice.post("/api/messenger/messages", body).await.expect(201).body, once);

    // What was missed comes by a cursor, once and in order, also from another process.
    let world = world.kill_and_restart_with(env.clone()).await;
    until_current(&world.server.url).await;
    let (alice, bob) = (alice.at(&world.server.url), bob.at(&world.server.url));
    let mut stream = EventStream::connect(&bob, Some(began_at)).await;
    let mut missed = vec![];
    loop {
        let event = stream.next().await.unwrap();
        if event.name == "feed:caught-up" {
            break;
        }
        missed.push(event);
    }
    let names: Vec<&str> = missed.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "message:received").count(), 2, "{names:?}");
    let durable: Vec<u64> = missed.iter().filter_map(|event| event.position).collect();
    assert!(durable.is_sorted_by(|one, next| one < next), "{missed:?}");
    assert_eq!(alice.get(&format!("/api/messenger/messages/{id}")).await.expect(200).body["message"]["read"], true);

    // As of then, by position.
    let state = async |query: &str| {
        let path = format!("/api/audit/streams/message-{id}/state{query}");
        world.admin.get(&path).await.expect(200).body
    };
    let sent_at: u64 = sent.headers["x-position"].to_str().unwrap().parse().unwrap();
    let edit = json!({"content": "edited"});
    alice.request(Method::PATCH, &format!("/api/messenger/messages/{id}"), Some(edit), &[]).await.expect(200);
    assert_eq!(state(&format!("?position={sent_at}")).await["state"]["edited"], Value::Null);
    assert_eq!(state("").await["state"]["edited"]["content"]["value"], "edited");
    assert_eq!(state(&format!("?position={}", sent_at - 1)).await["state"], Value::Null);

    // The history is whole, by index and without, and nobody else's is in it.
    let (lines, is_whole) = read_lines(ask_for_lines(&world.admin, "").await, usize::MAX).await;
    assert!(is_whole && positions(&lines).is_sorted_by(|one, next| one < next));
    assert!(lines.iter().all(|line| !line["stream"].as_str().unwrap().starts_with('$')));
    let mut sent: Vec<Value> = lines.iter().filter(|line| line["type"] == "MessageSent").cloned().collect();
    let found = world.admin.get("/api/audit/events?type=MessageSent").await.expect(200).body;
    assert_eq!(positions(found["events"].as_array().unwrap()), positions(&sent));
    let from = sent[0]["recordedAt"].as_str().unwrap().to_owned();
    let from = from.as_str();
    let found =
        world.admin.get(&format!("/api/audit/events?type=MessageSent&from={from}&to={from}")).await.expect(200).body;
    assert!(positions(found["events"].as_array().unwrap()).contains(&sent_at), "{found}");

    // Live from any place, and from then on; also from what is no place, which the log itself would refuse.
    for after in [0, sent_at - 1, sent_at] {
        let url = format!("{}/api/audit/events/stream?type=MessageSent&after={after}", world.server.url);
        let live = world.admin.http.get(url).bearer_auth(&world.admin.token).send().await.unwrap();
        let mut live = EventStream::of(live);
        let mut seen = vec![];
        loop {
            let event = live.next().await.unwrap();
            if event.name == "audit:caught-up" {
                break;
            }
            seen.push(event.position.unwrap());
        }
        assert_eq!(seen, positions(&sent).into_iter().filter(|position| *position > after).collect::<Vec<_>>());
        let next = alice.send_text(&bob, "live").await.expect(201);
        let position: u64 = next.headers["x-position"].to_str().unwrap().parse().unwrap();
        assert_eq!(live.next().await.unwrap().position, Some(position));
        sent.push(json!({"position": position}));
    }
    let (lines, _) =
        read_lines(ask_for_lines(&world.admin, &format!("?after={}", sent_at - 1)).await, usize::MAX).await;
    assert_eq!(positions(&lines)[0], sent_at);
    let exported = written(&run_command_with(&world.database, &["audit", "export", "--from", from], env).await);
    assert!(exported.lines().next().unwrap().contains(from), "{exported}");
    let was = written(&run_command_with(&world.database, &["audit", "state", "--at", from], env).await);
    assert_eq!(was.lines().filter(|line| line.contains(r#""kind":"message""#)).count(), 1, "{was}");

    // Rebuilt and verified, as on the other log.
    let said = written(&run_command_with(&world.database, &["projections", "rebuild", "all"], env).await);
    assert_eq!(said.lines().count(), Projector::ALL.len(), "{said}");
    let (is_right, said) = verify(&world.database, env).await;
    assert!(is_right, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_while_connections_are_cut() {
    const SENDERS: usize = 16;
    const EACH: usize = 15;
    let log = KurrentDb::start().await;
    let env = on(&log.url());
    let (world, alice, bob) = world(&env).await;
    let mut tasks = JoinSet::new();
    for n in 0..SENDERS {
        let (alice, bob) = (alice.clone(), bob.clone());
        tasks.spawn(async move {
            let mut acknowledged = vec![];
            for m in 0..EACH {
                let body = json!({"recipientId": bob.id, "content": "hello", "clientMessageId": format!("{n}-{m}")});
                // As a client would: again until it is answered.
                loop {
                    let answer = alice.post("/api/messenger/messages", body.clone()).await;
                    if answer.status == 201 {
                        acknowledged.push(answer.body["message"]["id"].as_str().unwrap().to_owned());
                        break;
                    }
                    assert_eq!(answer.status, 503, "{}", answer.body);
                }
            }
            acknowledged
        });
    }
    let mut acknowledged = vec![];
    while let Some(sent) = tasks.join_next().await {
        acknowledged.extend(sent.unwrap());
        log.cut_connections();
    }
    until_current(&world.server.url).await;
    let path = "/api/audit/events?type=MessageSent&limit=1000";
    let found = world.admin.get(path).await.expect(200).body;
    let mut in_log: Vec<&str> =
        found["events"].as_array().unwrap().iter().map(|event| event["data"]["messageId"].as_str().unwrap()).collect();
    in_log.sort_unstable();
    acknowledged.sort_unstable();
    assert_eq!(in_log, acknowledged);
    let missed = bob.get("/api/messenger/events/since?position=0&limit=1000").await.expect(200).body;
    let received = missed["events"].as_array().unwrap().iter().filter(|event| event["type"] == "message:received");
    assert_eq!(received.count(), SENDERS * EACH);
    let (is_right, said) = verify(&world.database, &env).await;
    assert!(is_right, "{said}");
}

#[tokio::test]
async fn two_nodes_share_it() {
    let log = KurrentDb::start().await;
    let env = on(&log.url());
    let (world, alice, bob) = world(&env).await;
    let other_node = Server::start_with(&world.database, Settings { env, ..Settings::default() }).await;
    let bob = bob.at(&other_node.url);
    let mut stream = EventStream::connect(&bob, None).await;
    stream.expect("feed:caught-up").await;
    alice.send_text(&bob, "from node to node").await.expect(201);
    assert_eq!(stream.expect("message:received").await.data["content"], "from node to node");
}

#[tokio::test]
async fn read_models_of_another_log_are_left_alone() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    alice.send_text(&bob, "on Postgres").await.expect(201);
    until_current(&world.server.url).await;
    let World { server, database, .. } = world;
    assert!(server.stop().await);
    let log = KurrentDb::start().await;
    let database = vec![("DATABASE_URL", database.url()), ("SWITCHBOARD_MASTER_KEY", "5a".repeat(32))];
    let env = [on(&log.url()), database.clone()].concat();
    let Err(lines) = Server::run(&Settings { env, ..Settings::default() }).await else { panic!("it serves") };
    assert!(lines.iter().any(|line| line.contains("built from another log")), "{lines:?}");
    let env = [on("cassandra"), database].concat();
    let Err(lines) = Server::run(&Settings { env, ..Settings::default() }).await else { panic!("it serves") };
    assert!(lines.iter().any(|line| line.contains("SWITCHBOARD_EVENT_STORE must be")), "{lines:?}");
}
