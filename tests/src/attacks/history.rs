//! The history: what is recorded of those who read it, and how much they may read.

use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{flood, is_too_many};
use crate::support::{Answer, PASSWORD, Person, World, assert_is_standard_error};

async fn auditor(world: &World, person: &Person, name: &str) -> Person {
    world.create(&person.business, name, "BUSINESS_AUDITOR").await;
    Person::log_in_as_admin(&world.server.url, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
}

async fn recorded(world: &World) -> Vec<Value> {
    let pool = world.database.pool().await;
    let data = "SELECT convert_from(data, 'UTF8') FROM log WHERE event_type = 'AuditRead' ORDER BY position";
    let data: Vec<String> = sqlx::query_scalar(data).fetch_all(&pool).await.unwrap();
    pool.close().await;
    data.iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn what_is_recorded_of_a_query_is_what_it_means_and_readings_are_summed_up() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let otto = auditor(&world, &alice, "Otto").await;
    let long = format!("2026-01-01T00:00:00.{}Z", "0".repeat(30_000));
    let path = format!("/api/audit/events?type=UserCreated&from={long}");
    let answer = otto.get(&path).await;
    assert!(matches!(answer.status.as_u16(), 200 | 414 | 422 | 431), "{}", answer.status);
    for n in 0..50 {
        // Pages of one query.
        let path = format!("/api/audit/events?type=UserCreated&from=2020-01-01T00:00:00Z&after={n}&limit=1");
        otto.get(&path).await.expect(200);
    }
    let events = recorded(&world).await;
    assert!(events.len() <= 2, "{events:?}");
    for event in &events {
        assert!(event.to_string().len() < 1_000, "{} bytes", event.to_string().len());
    }
    let last = events.last().unwrap();
    assert_eq!(last["query"], "type=UserCreated&from=2020-01-01T00:00:00.000Z");
    assert_eq!((&last["reads"], &last["readerId"]), (&json!(1), &json!(otto.id)));
    // What was only counted is recorded when the server stops, if a minute hasn't passed before.
    let World { server, database, .. } = world;
    assert!(server.stop().await);
    let pool = database.pool().await;
    let sum =
        "SELECT convert_from(data, 'UTF8') FROM log WHERE event_type = 'AuditRead' ORDER BY position DESC LIMIT 1";
    let sum: String = sqlx::query_scalar(sum).fetch_one(&pool).await.unwrap();
    pool.close().await;
    let sum: Value = serde_json::from_str(&sum).unwrap();
    assert_eq!(sum["reads"], 49, "{sum}");
    assert!(sum["firstReadAt"].as_str() <= sum["lastReadAt"].as_str());
}

#[tokio::test]
async fn a_reader_asks_only_so_many_different_queries_a_minute() {
    let world = World::with(vec![("SWITCHBOARD_AUDIT_QUERY_LIMIT", "60".to_owned())]).await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let otto = auditor(&world, &alice, "Otto").await;
    let olga = auditor(&world, &alice, "Olga").await;
    let mut refused = 0;
    for n in 0..100 {
        let answer = otto.get(&format!("/api/audit/events?from=2026-01-01T00:00:{:02}.{n:03}Z", n % 60)).await;
        if answer.status == 429 {
            answer.expect_error(429, "RATE_LIMIT");
            refused += 1;
        } else {
            answer.expect(200);
        }
    }
    assert_eq!(refused, 40);
    assert_eq!(recorded(&world).await.len(), 60);
    olga.get("/api/audit/events").await.expect(200);
}

async fn export(person: &Person) -> reqwest::Response {
    let request = person.http.get(format!("{}/api/audit/events", person.url)).bearer_auth(&person.token);
    request.header("accept", "application/x-ndjson").send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_exports_twice_at_the_same_time_and_others_are_answered() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    flood(&alice, &bob, 200).await;
    let otto = auditor(&world, &alice, "Otto").await;
    let olga = auditor(&world, &alice, "Olga").await;
    // Nobody takes what they export: they go on.
    let exports: Vec<_> = join_all((0..40).map(|_| export(&otto))).await;
    let (going, refused): (Vec<_>, Vec<_>) = exports.into_iter().partition(|answer| answer.status() == 200);
    assert_eq!(going.len(), 2);
    let refused = Answer::of(refused.into_iter().next().unwrap()).await.unwrap();
    assert_is_standard_error(&refused.body, 429, "RATE_LIMIT");
    olga.get("/api/audit/events?type=UserCreated").await.expect(200);
    assert_eq!(export(&olga).await.status(), 200);
    // They are whole.
    for export in going {
        let lines = export.text().await.unwrap();
        assert!(lines.lines().count() > 200);
    }
    assert_eq!(export(&otto).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_bounded_by_bytes_and_says_how_to_go_on() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    flood(&alice, &bob, 150).await;
    let otto = auditor(&world, &alice, "Otto").await;
    let (mut after, mut seen, mut pages) = ("0".to_owned(), 0, 0);
    loop {
        let page = otto.get(&format!("/api/audit/events?type=MessageSent&limit=1000&after={after}")).await.expect(200);
        let events = page.body["events"].as_array().unwrap();
        seen += events.len();
        pages += 1;
        assert!(page.body.to_string().len() < 7_000_000, "{} bytes", page.body.to_string().len());
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert_eq!(seen, 150);
    assert!(pages > 1);
}

#[tokio::test]
async fn an_auditor_follows_the_history_so_often_at_the_same_time() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let otto = auditor(&world, &alice, "Otto").await;
    let mut held = vec![];
    let refused = loop {
        let request = otto.http.get(format!("{}/api/audit/events/stream", otto.url)).bearer_auth(&otto.token);
        let response = request.send().await.unwrap();
        if response.status() != 200 {
            break Answer::of(response).await.unwrap();
        }
        let mut stream = response.bytes_stream();
        stream.next().await.unwrap().unwrap();
        held.push(stream);
        assert!(held.len() < 50, "without end");
    };
    assert!(is_too_many(&refused.body), "{}", refused.body);
    otto.request(Method::GET, "/api/audit/events", None, &[]).await.expect(200);
}
