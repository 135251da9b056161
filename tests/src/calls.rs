//! Calls, from the first ring to the history.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, PlainSocket, Server, Settings, Socket, Transports, World};

fn path(call: &str, what: &str) -> String {
    format!("/api/messenger/calls/{call}{what}")
}

#[tokio::test]
async fn a_call_is_made_answered_and_ended() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let picture = |name: &str| json!(format!("https://example.com/{name}.png"));
    for (person, name) in [(&alice, "alice"), (&bob, "bob")] {
        let me = json!({"avatar": picture(name)});
        person.request(Method::PATCH, "/api/messenger/me", Some(me), &[]).await.expect(200);
    }
    let mut phone = PlainSocket::connect(&bob, None).await;
    let mut laptop = PlainSocket::connect(&bob, None).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let body = json!({"recipientId": bob.id, "callType": "video", "roomId": "room_123"});
    let started = alice.post("/api/messenger/calls", body).await.expect(201).body["call"].clone();
    for (key, expected) in [
        ("callerId", json!(alice.id)),
        ("callerName", json!("Alice")),
        ("receiverId", json!(bob.id)),
        ("receiverName", json!("Bob")),
        ("receiverAvatar", picture("bob")),
        ("callType", json!("video")),
        ("roomId", json!("room_123")),
        ("status", json!("ringing")),
    ] {
        assert_eq!(started[key], expected, "{key}");
    }
    let created_at = started["createdAt"].as_str().unwrap();
    assert!(created_at.len() == 24 && created_at.ends_with('Z'), "{created_at}");
    let id = started["id"].as_str().unwrap();
    for device in [&mut phone, &mut laptop] {
        let incoming = device.expect("call:incoming").await.data;
        assert_eq!(incoming["callId"], id);
        assert_eq!((&incoming["callerId"], &incoming["callerName"]), (&json!(alice.id), &json!("Alice")));
        assert_eq!((&incoming["callerAvatar"], &incoming["callType"]), (&picture("alice"), &json!("video")));
        assert_eq!(incoming["roomId"], "room_123");
    }
    assert_eq!(phone.emit("call:accept", json!({"callId": id})).await["status"], "active");
    for device in [&mut phone, &mut laptop, &mut alices] {
        let accepted = device.expect("call:accepted").await.data;
        assert_eq!((&accepted["callId"], &accepted["by"]), (&json!(id), &json!(bob.id)));
        assert!(accepted["at"].is_string());
    }
    assert_eq!(alices.emit("call:end", json!({"callId": id})).await["success"], true);
    for device in [&mut phone, &mut laptop, &mut alices] {
        let ended = device.expect("call:ended").await.data;
        assert_eq!((&ended["by"], &ended["reason"]), (&json!(alice.id), &json!("hung_up")));
    }
    for party in [&alice, &bob] {
        let call = party.get(&path(id, "")).await.expect(200).body["call"].clone();
        assert_eq!((&call["status"], &call["endedBy"]), (&json!("ended"), &json!(alice.id)));
        assert!(call["durationMs"].is_u64() && call["acceptedAt"].is_string() && call["endedAt"].is_string());
    }
}

#[tokio::test]
async fn a_call_is_declined_or_given_up() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let declined = alice.call(&bob).await;
    let rejected = bob.post(&path(&declined, "/reject"), json!(null)).await.expect(200);
    assert_eq!(rejected.body["call"]["status"], "rejected");
    assert_eq!(alices.expect("call:rejected").await.data["by"], *bob.id);
    let body = json!({"recipientId": bob.id, "callType": "audio", "roomId": "room_123"});
    let audio = alice.post("/api/messenger/calls", body).await.expect(201).body["call"].clone();
    assert_eq!(audio["callType"], "audio");
    let given_up = audio["id"].as_str().unwrap().to_owned();
    let cancelled = alice.post(&path(&given_up, "/end"), json!(null)).await.expect(200);
    assert_eq!(cancelled.body["call"]["status"], "cancelled");
    assert_eq!(alices.expect("call:cancelled").await.data["by"], *alice.id);
    let other_way = alice.call(&bob).await;
    let ended = bob.post(&path(&other_way, "/end"), json!(null)).await.expect(200);
    assert_eq!(ended.body["call"]["status"], "rejected", "the callee ends a ringing call by declining it");
}

#[tokio::test]
async fn only_the_callee_answers_and_nobody_answers_twice() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let call = alice.call(&bob).await;
    let before = world.all_events().await;
    for what in ["/accept", "/reject"] {
        alice.post(&path(&call, what), json!(null)).await.expect_error(403, "FORBIDDEN");
    }
    for what in ["/accept", "/reject", "/end"] {
        carol.post(&path(&call, what), json!(null)).await.expect_error(404, "NOT_FOUND");
        alice.post(&path("nonsense", what), json!(null)).await.expect_error(404, "NOT_FOUND");
    }
    carol.get(&path(&call, "")).await.expect_error(404, "NOT_FOUND");
    assert_eq!(world.all_events().await, before);
    bob.post(&path(&call, "/accept"), json!(null)).await.expect(200);
    for what in ["/accept", "/reject"] {
        bob.post(&path(&call, what), json!(null)).await.expect_error(409, "CONFLICT");
    }
    bob.post(&path(&call, "/end"), json!(null)).await.expect(200);
    bob.post(&path(&call, "/end"), json!(null)).await.expect_error(409, "CONFLICT");
}

#[tokio::test]
async fn who_is_in_a_call_is_busy() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let mut bobs = PlainSocket::connect(&bob, None).await;
    let first = alice.call(&bob).await;
    bobs.expect("call:incoming").await;
    let body = json!({"recipientId": bob.id, "callType": "audio"});
    let second = carol.post("/api/messenger/calls", body.clone()).await.expect(201).body["call"].clone();
    assert_eq!(second["status"], "busy");
    let missed = bobs.expect("call:missed").await.data;
    assert_eq!((&missed["callId"], &missed["reason"]), (&second["id"], &json!("busy")));
    bob.post(&path(&first, "/reject"), json!(null)).await.expect(200);
    let third = carol.post("/api/messenger/calls", body).await.expect(201).body["call"].clone();
    assert_eq!(third["status"], "ringing");
}

#[tokio::test]
async fn bad_calls_are_refused_and_change_nothing() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    let before = world.all_events().await;
    let long = "r".repeat(201);
    for (recipient, kind, room) in [
        (json!(alice.id), json!("video"), json!("r")),
        (json!(bob.id), json!("hologram"), json!("r")),
        (json!(bob.id), json!(null), json!("r")),
        (json!(bob.id), json!("video"), json!("")),
        (json!(bob.id), json!("video"), json!(long)),
        (json!(bob.id), json!("video"), json!("a\u{0}b")),
        (json!(5), json!("video"), json!("r")),
    ] {
        let body = json!({"recipientId": recipient, "callType": kind, "roomId": room});
        alice.post("/api/messenger/calls", body).await.expect_error(422, "VALIDATION_ERROR");
    }
    for nobody in ["nonsense", "00000000-0000-4000-8000-000000000000", &mallory.id] {
        let body = json!({"recipientId": nobody, "callType": "video"});
        alice.post("/api/messenger/calls", body).await.expect_error(404, "NOT_FOUND");
    }
    for query in ["limit=0", "limit=101", "limit=-1", "status=lost", "direction=up", "cursor=x"] {
        alice.get(&format!("/api/messenger/calls?{query}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(world.all_events().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_answer_and_decline_at_once_on_two_nodes_one_wins() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let other_node = Server::start(&world.database).await;
    let elsewhere = bob.at(&other_node.url);
    for _ in 0..20 {
        let call = alice.call(&bob).await;
        let tries = (0..8).map(|n| {
            let bob = if n % 2 == 0 { &bob } else { &elsewhere };
            let what = if n % 4 < 2 { "/accept" } else { "/reject" };
            let path = path(&call, what);
            async move { bob.post(&path, json!(null)).await }
        });
        let by_http: Vec<Answer> = futures_util::future::join_all(tries.collect::<Vec<_>>()).await;
        let statuses: Vec<u16> = by_http.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
        // It may have been accepted.
        alice.post(&path(&call, "/end"), json!(null)).await;
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_missed_even_if_the_server_dies_meanwhile() {
    let ring = ("SWITCHBOARD_RING_TIMEOUT", "1s".to_owned());
    let world = World::with(vec![ring.clone()]).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let since = alice.feed_position().await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let call = alice.call(&bob).await;
    let missed = alices.expect("call:missed").await.data;
    assert_eq!((&missed["callId"], &missed["by"], &missed["reason"]), (&json!(call), &json!(null), &json!("timeout")));
    let second = alice.call(&bob).await;
    world.server.kill();
    // Long after it would have been missed, or just before: the outcome is the same.
    let settings = || Settings { env: vec![ring.clone()], ..Settings::default() };
    let nodes =
        [Server::start_with(&world.database, settings()).await, Server::start_with(&world.database, settings()).await];
    let alice = alice.at(&nodes[0].url);
    let mut alices = PlainSocket::connect(&alice, Some(since)).await;
    for expected in [&call, &second] {
        assert_eq!(alices.expect("call:missed").await.data["callId"], **expected);
    }
    let answered_late = bob.at(&nodes[1].url).post(&path(&second, "/accept"), json!(null)).await;
    answered_late.expect_error(409, "CONFLICT");
    let pool = world.database.pool().await;
    let missed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM log WHERE event_type = 'CallMissed'").fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(missed, 2, "once each, whatever the number of nodes");
}

#[tokio::test]
async fn a_call_whose_parties_are_both_gone_ends_by_itself() {
    let env =
        vec![("SWITCHBOARD_LOST_CALL_TIMEOUT", "2s".to_owned()), ("SWITCHBOARD_PRESENCE_GRACE", "200ms".to_owned())];
    let world = World::with(env).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let since = alice.feed_position().await;
    let alices = PlainSocket::connect(&alice, None).await;
    let bobs = PlainSocket::connect(&bob, None).await;
    let call = alice.call(&bob).await;
    bob.post(&path(&call, "/accept"), json!(null)).await.expect(200);
    drop(alices);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(alice.get(&path(&call, "")).await.expect(200).body["call"]["status"], "active", "Bob is there");
    drop(bobs);
    world.wait_for_events("CallEnded", 1).await;
    let mut alices = PlainSocket::connect(&alice, Some(since)).await;
    let ended = alices.expect("call:ended").await.data;
    assert_eq!((&ended["by"], &ended["reason"]), (&json!(null), &json!("connection_lost")));
}

#[tokio::test]
async fn the_history_is_paged_and_filtered() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let mut ids = vec![];
    for n in 0..5 {
        let (from, to) = if n % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        let call = from.call(to).await;
        to.post(&path(&call, if n < 3 { "/reject" } else { "/accept" }), json!(null)).await.expect(200);
        if n >= 3 {
            from.post(&path(&call, "/end"), json!(null)).await.expect(200);
        }
        ids.push(call);
    }
    ids.reverse();
    let mut listed: Vec<String> = vec![];
    let mut cursor = String::new();
    loop {
        let page = alice.get(&format!("/api/messenger/calls?limit=2{cursor}")).await.expect(200).body;
        let calls = page["calls"].as_array().unwrap();
        listed.extend(calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ids);
    let count = async |query: &str| {
        let answer = alice.get(&format!("/api/messenger/calls?{query}")).await.expect(200);
        answer.body["calls"].as_array().unwrap().len()
    };
    assert_eq!(count("status=rejected").await, 3);
    assert_eq!(count("direction=outgoing").await, 3);
    assert_eq!(count("direction=incoming&status=ended").await, 1);
    assert_eq!(carol.get("/api/messenger/calls").await.expect(200).body["calls"], json!([]));
}

#[tokio::test]
async fn signals_go_to_the_other_party_of_a_live_call_and_nowhere_else() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let other_node = Server::start(&world.database).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let mut bobs = PlainSocket::connect(&bob.at(&other_node.url), None).await;
    let mut carols = PlainSocket::connect(&carol, None).await;
    let call = alice.call(&bob).await;
    bobs.expect("call:incoming").await;
    let before = world.all_events().await;
    // Longer than a notice between nodes may be.
    let sdp = "v=0 ü".repeat(2_000);
    let offer = json!({"callId": call, "kind": "offer", "payload": {"sdp": sdp}});
    assert_eq!(alices.emit("call:signal", offer.clone()).await["success"], true);
    assert_eq!(bobs.expect("call:signal").await.data, offer);
    let answer = json!({"callId": call, "kind": "answer", "payload": {"sdp": "x"}});
    assert_eq!(bobs.emit("call:signal", answer.clone()).await["success"], true);
    assert_eq!(alices.expect("call:signal").await.data, answer);
    for (who, signal, status) in [
        (&mut carols, offer.clone(), 404),
        (&mut alices, json!({"callId": "nonsense", "kind": "offer", "payload": {}}), 404),
        (&mut bobs, json!({"callId": call, "kind": "offer", "payload": {"sdp": "x".repeat(70_000)}}), 413),
    ] {
        assert_eq!(who.emit("call:signal", signal).await["statusCode"], status);
    }
    let gossip = json!({"callId": call, "kind": "gossip", "payload": {}});
    assert_eq!(bobs.emit("call:signal", gossip).await["statusCode"], 422);
    assert_eq!(world.all_events().await, before, "none of it is stored");
    alice.post(&path(&call, "/end"), json!(null)).await.expect(200);
    assert_eq!(alices.emit("call:signal", offer).await["statusCode"], 409);
}

#[tokio::test]
async fn a_flood_of_signals_is_limited() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let call = alice.call(&bob).await;
    let mut refused: Option<Value> = None;
    for _ in 0..2000 {
        let signal = json!({"callId": call, "kind": "candidate", "payload": {}});
        let ack = alices.emit("call:signal", signal).await;
        if ack["success"] == false {
            refused = Some(ack);
            break;
        }
    }
    crate::support::assert_is_standard_error(&refused.expect("a limit"), 429, "RATE_LIMIT");
}

#[tokio::test]
async fn a_call_that_rings_reaches_those_who_come_later_and_one_that_does_not_ring_does_not() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let since = bob.feed_position().await;
    let over = alice.call(&bob).await;
    alice.post(&path(&over, "/end"), json!(null)).await.expect(200);
    let ringing = alice.call(&bob).await;
    let auth = json!({"token": bob.token, "since": since});
    let mut phone = Socket::open(&world.server.url, Transports::WebSocket, auth, json!({}));
    assert_eq!(phone.expect("call:incoming").await["callId"], ringing);
    assert_eq!(phone.expect("call:cancelled").await["callId"], over);
    phone.expect("feed:caught-up").await;
    assert!(phone.received("call:incoming").is_empty());
}
