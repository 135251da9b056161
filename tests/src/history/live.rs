//! The history as it goes on.

use futures_util::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::invented::Invented;
use super::log_of;
use crate::support::{DEADLINE, Database, EventStream, PASSWORD, Person, Random, World, seed};

/// Opens a stream, and comes back as long as the server is busy, as clients do.
async fn open(auditor: &Person, query: &str, last_event_id: Option<u64>) -> Response {
    let url = format!("{}/api/audit/events/stream{query}", auditor.url);
    super::until_ready(|| {
        let request = auditor.http.get(&url).bearer_auth(&auditor.token);
        match last_event_id {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        }
    })
    .await
}

/// The frames of a WebSocket; the status, if it is refused.
async fn open_socket(
    auditor: &Person,
    query: &str,
) -> Result<impl futures_util::Stream<Item = Result<Message, Error>> + Unpin, StatusCode> {
    let url = format!("{}/api/audit/events/ws{query}", auditor.url.replace("http", "ws"));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", auditor.token).parse().unwrap());
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_is_cut_all_the_time_misses_nothing_and_gets_nothing_twice_while_it_goes_on() {
    const EVENTS: usize = 3_000;
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let database = Database::create().await;
    let log = log_of(&database).await;
    let mut invented = Invented::new(random.fork());
    invented.happen(&log, EVENTS / 3, 64).await;
    let world = World::on(database).await;
    let writing = tokio::spawn(async move {
        invented.happen(&log, EVENTS, 16).await;
        log.head().await.unwrap()
    });
    let mut readers = vec![];
    for filter in ["", "&type=MessageSent"] {
        let (auditor, mut random) = (world.admin.clone(), random.fork());
        readers.push(tokio::spawn(async move {
            let mut read: Vec<u64> = vec![];
            let (mut last, mut cuts) = (0, 0);
            // Cut until nothing new has come for as long as it takes to catch up twice.
            let mut caught_up = 0;
            while caught_up < 40 {
                let mut stream = EventStream::of(open(&auditor, &format!("?after=0{filter}"), Some(last)).await);
                for _ in 0..=random.below(400) {
                    let event = stream.next().await.unwrap();
                    last = event.position.unwrap();
                    if event.name == "audit:caught-up" {
                        caught_up += 1;
                        break;
                    }
                    assert_eq!(event.data["position"], last);
                    read.push(last);
                }
                cuts += 1;
            }
            (filter, read, cuts)
        }));
    }
    let head = writing.await.unwrap();
    for reader in readers {
        let (filter, mut read, cuts) = reader.await.unwrap();
        // What came after the last cut is read at once.
        let mut stream = EventStream::of(
            open(&world.admin, &format!("?{}", &filter.trim_start_matches('&')), read.last().copied()).await,
        );
        while read.last().is_none_or(|last| *last < head) {
            let event = stream.next().await.unwrap();
            if event.name == "audit:caught-up" {
                break;
            }
            read.push(event.position.unwrap());
        }
        let page = format!("?after=0{filter}");
        let expected = super::read_lines(super::ask_for_lines(&world.admin, &page).await, usize::MAX).await.0;
        let expected: Vec<u64> = super::positions(&expected).into_iter().filter(|position| *position <= head).collect();
        read.retain(|position| *position <= head);
        println!("{} events over {cuts} connections", read.len());
        assert_eq!(read, expected, "{filter}");
    }
}

#[tokio::test]
async fn over_a_websocket_it_is_the_same() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let id = alice.send_text(&bob, "one").await.expect(201).body["message"]["id"].clone();
    let mut socket = open_socket(&world.admin, "?type=MessageSent").await.unwrap();
    let mut next = async || loop {
        match tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str::<Value>(&text).unwrap(),
            Message::Close(frame) => panic!("{frame:?}"),
            _ => {}
        }
    };
    let first = next().await;
    assert_eq!((&first["type"], &first["data"]["messageId"]), (&json!("MessageSent"), &id));
    assert_eq!(next().await["type"], "audit:caught-up");
    let id = alice.send_text(&bob, "two").await.expect(201).body["message"]["id"].clone();
    assert_eq!(next().await["data"]["messageId"], id);
    assert_eq!(open_socket(&alice, "").await.err(), Some(StatusCode::UNAUTHORIZED));
    assert_eq!(open_socket(&world.admin, "?after=x").await.err(), Some(StatusCode::UNPROCESSABLE_ENTITY));
}

#[tokio::test]
async fn whoever_may_not_read_any_more_is_told_so_within_two_seconds() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    for (n, out) in ["suspend", "log out", "demote"].into_iter().enumerate() {
        let name = format!("Otto{n}");
        let id = world.create(&alice.business, &name, "BUSINESS_AUDITOR").await;
        let email = format!("{}@example.com", name.to_lowercase());
        let auditor = Person::log_in_as_admin(&world.server.url, &email, PASSWORD).await;
        let mut stream = EventStream::of(open(&auditor, "", None).await);
        stream.expect("audit:caught-up").await;
        let mut socket = open_socket(&auditor, "").await.unwrap();
        let path = format!("/api/admin/users/{id}");
        let began = std::time::Instant::now();
        match out {
            "suspend" => world.admin.post(&format!("{path}/suspend"), Value::Null).await.expect(200),
            "log out" => auditor.post("/api/admin/auth/logout", Value::Null).await.expect(200),
            _ => {
                world.admin.request(Method::PATCH, &path, Some(json!({"role": "BUSINESS_USER"})), &[]).await.expect(200)
            }
        };
        let code = if out == "demote" { "FORBIDDEN" } else { "UNAUTHORIZED" };
        assert_eq!(stream.expect("error").await.data["errorCode"], code, "{out}");
        while stream.next().await.is_some() {}
        let closed = loop {
            let message = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
            if let Message::Close(Some(frame)) = message {
                break u16::from(frame.code);
            }
        };
        assert_eq!(closed, if out == "demote" { 4403 } else { 4401 });
        println!("{out}: told after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_stream_is_opened_by_those_who_may_with_words_that_mean_something() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let url = format!("{}/api/audit/events/stream", world.server.url);
    for token in [None, Some("nonsense"), Some(alice.token.as_str())] {
        let mut request = world.admin.http.get(&url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    for wrong in ["?since=1", "?after=-1", "?to=2100-01-01T00:00:00Z", "?type=Nothing", "?from=now", "?limit=5"] {
        world.admin.get(&format!("/api/audit/events/stream{wrong}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    let headers = [("Last-Event-ID", "x")];
    world
        .admin
        .request(Method::GET, "/api/audit/events/stream", None, &headers)
        .await
        .expect_error(422, "VALIDATION_ERROR");
    world.admin.get("/api/audit/events/stream?businessId=acme").await.expect_error(404, "NOT_FOUND");
    world.admin.get("/api/audit/events/ws").await.expect_error(422, "VALIDATION_ERROR");
}
