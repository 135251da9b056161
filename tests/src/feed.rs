//! One cursor over every transport: what happened while somebody was away comes in order and once, then what happens.

use serde_json::{Value, json};

use crate::support::{DEADLINE, Event, EventStream, Person, PlainSocket, Server, Settings, Socket, Transports, World};

/// What the polled feed says after a position, page by page.
async fn poll(person: &Person, mut position: u64, limit: u32) -> Vec<(u64, String, Value)> {
    let mut events = vec![];
    loop {
        let path = format!("/api/messenger/events/since?position={position}&limit={limit}");
        let page = person.get(&path).await.expect(200).body;
        for event in page["events"].as_array().unwrap() {
            let name = event["type"].as_str().unwrap().to_owned();
            events.push((event["position"].as_u64().unwrap(), name, event["data"].clone()));
        }
        position = page["position"].as_u64().unwrap();
        if page["caughtUp"] == true {
            return events;
        }
    }
}

/// Messages both ways, a read, and a call.
async fn some_history(alice: &Person, bob: &Person) {
    for n in 0..12 {
        let (from, to) = if n % 3 == 0 { (bob, alice) } else { (alice, bob) };
        from.send_text(to, &n.to_string()).await.expect(201);
    }
    let last = alice.send_text(bob, "read this").await.expect(201).body["message"].clone();
    let path = format!("/api/messenger/conversations/{}/read", last["conversationId"].as_str().unwrap());
    bob.post(&path, json!({"upTo": last["id"]})).await.expect(200);
    let call = alice.call(bob).await;
    alice.post(&format!("/api/messenger/calls/{call}/end"), json!(null)).await.expect(200);
}

#[tokio::test]
async fn every_transport_tells_the_same_from_any_place_on() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    some_history(&alice, &bob).await;
    let all = poll(&alice, 0, 1000).await;
    assert_eq!(all.len(), 15, "13 messages, a read, and the end of a call: {all:?}");
    assert!(all.is_sorted_by_key(|(position, ..)| *position));
    assert_eq!(poll(&alice, 0, 3).await, all, "whatever the size of a page");
    for skip in [0, 4, 14, 15] {
        let since = if skip == 0 { 0 } else { all[skip - 1].0 };
        let expected = &all[skip..];
        assert_eq!(poll(&alice, since, 1000).await, expected);

        let mut socket = PlainSocket::connect(&alice, Some(since)).await;
        let mut stream = EventStream::connect(&alice, Some(since)).await;
        let last_event_id = alice.http.get(format!("{}/api/messenger/events?since=0", alice.url));
        let last_event_id = last_event_id.bearer_auth(&alice.token).header("Last-Event-ID", since.to_string());
        let mut resumed = EventStream::of(last_event_id.send().await.unwrap());
        for (position, name, data) in expected {
            let event = Event { position: Some(*position), name: name.clone(), data: data.clone() };
            assert_eq!(socket.next().await, event);
            assert_eq!(stream.next().await.unwrap(), event);
            assert_eq!(resumed.next().await.unwrap(), event);
        }
        assert_eq!(socket.next().await.name, "users:online");
        let caught_up = socket.next().await;
        assert_eq!(caught_up.name, "feed:caught-up");
        assert!(caught_up.data["position"].as_u64().unwrap() >= all[14].0);
        for name in ["users:online", "feed:caught-up"] {
            assert_eq!(stream.next().await.unwrap().name, name);
            assert_eq!(resumed.next().await.unwrap().name, name);
        }

        for transports in Transports::ALL {
            let auth = json!({"token": alice.token, "since": since});
            let mut client = Socket::open(&world.server.url, transports, auth, json!({}));
            for (position, name, data) in expected {
                let received = client.expect(name).await;
                assert_eq!((&received, &received["position"]), (data, &json!(position)));
            }
            client.expect("feed:caught-up").await;
        }
    }
}

#[tokio::test]
async fn what_is_live_follows_on_what_was_missed_without_a_gap() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let since = bob.feed_position().await;
    let sender = tokio::spawn({
        let (alice, bob) = (alice.clone(), bob.clone());
        async move {
            for n in 0..400 {
                alice.send_text(&bob, &n.to_string()).await.expect(201);
            }
        }
    });
    // Clients that come and go while it goes on.
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let bob = bob.clone();
        clients.spawn(async move {
            let (mut since, mut seen) = (since, vec![]);
            while seen.len() < 400 {
                let mut socket = PlainSocket::connect(&bob, Some(since)).await;
                for _ in 0..37 {
                    let event = socket.next().await;
                    if let Some(position) = event.position {
                        since = position;
                        seen.extend((event.name == "message:received").then(|| event.data["content"].clone()));
                    }
                    if seen.len() == 400 {
                        break;
                    }
                }
            }
            seen
        });
    }
    sender.await.unwrap();
    let expected: Vec<Value> = (0..400).map(|n: u32| json!(n.to_string())).collect();
    for seen in clients.join_all().await {
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_place_that_the_feed_never_got_to_is_a_reset_and_nonsense_is_refused() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    alice.send_text(&bob, "x").await.expect(201);
    let events = poll(&bob, 999_999, 100).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].1.as_str(), &events[0].2["position"]), ("feed:reset", &json!(events[0].0)));
    let mut socket = PlainSocket::connect(&bob, Some(999_999)).await;
    for name in ["feed:reset", "users:online", "feed:caught-up"] {
        assert_eq!(socket.next().await.name, name);
    }
    alice.send_text(&bob, "y").await.expect(201);
    assert_eq!(socket.expect("message:received").await.data["content"], "y");
    for query in ["position=-1", "position=x", "position=1&limit=0", "position=1&limit=1001"] {
        bob.get(&format!("/api/messenger/events/since?{query}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    for query in ["?since=-1", "?since=x", "?colour=1"] {
        assert_eq!(PlainSocket::open(&bob.url, query, Some(&bob.token)).await.err().unwrap().as_u16(), 422);
        bob.get(&format!("/api/messenger/events{query}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    for token in [None, Some("nonsense")] {
        assert_eq!(PlainSocket::open(&bob.url, "", token).await.err().unwrap().as_u16(), 401);
    }
    bob.get("/api/messenger/events/ws").await.expect_error(422, "VALIDATION_ERROR");
}

#[tokio::test]
async fn what_is_older_than_the_feed_keeps_is_a_reset_and_never_a_part() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    alice.send_text(&bob, "long ago").await.expect(201);
    let position = bob.feed_position().await;
    // As if all of this had been two days ago.
    let pool = world.database.pool().await;
    sqlx::query("UPDATE feed_days SET day = day - 2").execute(&pool).await.unwrap();
    let recent = alice.send_text(&bob, "just now").await.expect(201).body["message"]["id"].clone();
    bob.feed_position().await;
    let World { server, database, .. } = world;
    server.kill();
    let env = vec![("SWITCHBOARD_FEED_RETENTION", "1d".to_owned())];
    let server = Server::start_with(&database, Settings { env, ..Settings::default() }).await;
    let bob = bob.at(&server.url);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while sqlx::query_scalar::<_, i64>("SELECT position FROM feed_horizon").fetch_one(&pool).await.unwrap() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "the old events are forgotten");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    pool.close().await;
    let events = poll(&bob, 1, 100).await;
    assert_eq!(events.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>(), ["feed:reset"]);
    let events = poll(&bob, position, 100).await;
    assert_eq!(events.iter().map(|(_, _, data)| &data["id"]).collect::<Vec<_>>(), [&recent]);
}

#[tokio::test]
async fn a_ticket_opens_one_stream() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let ticket = async || {
        let issued = bob.post("/api/messenger/events/ticket", json!(null)).await.expect(201);
        assert!(issued.body["expiresAt"].is_string());
        format!("?ticket={}", issued.body["ticket"].as_str().unwrap())
    };
    let first = ticket().await;
    let mut socket = PlainSocket::open(&bob.url, &first, None).await.unwrap();
    let second = ticket().await;
    let get =
        async |query: &str| bob.http.get(format!("{}/api/messenger/events{query}", bob.url)).send().await.unwrap();
    let mut stream = EventStream::of(get(&second).await);
    alice.send_text(&bob, "hello").await.expect(201);
    assert_eq!(socket.expect("message:received").await.data["content"], "hello");
    assert_eq!(stream.expect("message:received").await.data["content"], "hello");
    for used in [first.as_str(), second.as_str(), "?ticket=", "?ticket=nonsense"] {
        assert_eq!(PlainSocket::open(&bob.url, used, None).await.err().unwrap().as_u16(), 401);
        assert_eq!(get(used).await.status().as_u16(), 401);
    }
    let third = ticket().await;
    bob.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    assert_eq!(get(&third).await.status().as_u16(), 401, "the session is over");
}

#[tokio::test]
async fn nobody_gets_anything_of_others() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    some_history(&alice, &bob).await;
    for stranger in [&carol, &mallory] {
        assert_eq!(poll(stranger, 0, 100).await, []);
        let mut socket = PlainSocket::connect(stranger, Some(0)).await;
        assert_eq!(socket.next().await.name, "users:online");
        assert_eq!(socket.next().await.name, "feed:caught-up");
    }
}
