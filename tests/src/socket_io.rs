//! The official Socket.IO client, on every transport.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Person, Server, Settings, Socket, Transports, World, assert_is_standard_error, http_client};

#[tokio::test]
async fn a_message_goes_from_rest_to_the_official_client_and_its_receipt_back() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    for transports in Transports::ALL {
        let mut alices_phone = Socket::connect(&alice, transports).await;
        let mut bobs_phone = Socket::connect(&bob, transports).await;
        let mut bobs_laptop = Socket::connect(&bob, Transports::WebSocket).await;

        let sent = alice.send_text(&bob, "Hello!").await.expect(201).body["message"].clone();
        for device in [&mut bobs_phone, &mut bobs_laptop] {
            let received = device.expect("message:received").await;
            for key in ["id", "senderId", "content", "timestamp", "conversationId", "position"] {
                assert_eq!(received[key], sent[key], "{key} over {transports:?}");
            }
            assert_eq!(received["senderName"], "Alice");
        }
        assert_eq!(alices_phone.expect("message:sent").await["id"], sent["id"]);

        let ack = bobs_phone.emit("message:read", json!({"messageId": sent["id"]})).await;
        assert_eq!(ack["success"], true, "{ack}");
        let read = alices_phone.expect("message:read").await;
        assert_eq!((&read["messageId"], &read["readerId"]), (&sent["id"], &json!(bob.id)));
        assert!(read["readAt"].as_str().unwrap().ends_with('Z'));

        let path = format!("/api/messenger/messages/{}", sent["id"].as_str().unwrap());
        assert_eq!(alice.get(&path).await.expect(200).body["message"]["read"], true);
        assert_eq!(bobs_laptop.received("message:sent").len(), 0, "only the sender's own devices are told");
    }
}

#[tokio::test]
async fn reading_again_succeeds_and_changes_nothing() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let mut phone = Socket::connect(&bob, Transports::WebSocket).await;
    let mut ids = vec![];
    for text in ["one", "two"] {
        ids.push(alice.send_text(&bob, text).await.expect(201).body["message"]["id"].clone());
    }
    // Reading the second reads the first.
    for id in [&ids[1], &ids[1], &ids[0]] {
        assert_eq!(phone.emit("message:read", json!({"messageId": id})).await["success"], true);
    }
    assert_eq!(world.events("MessagesRead").await, 1);
    let path = format!("/api/messenger/messages/{}", ids[0].as_str().unwrap());
    assert_eq!(alice.get(&path).await.expect(200).body["message"]["read"], true);
}

#[tokio::test]
async fn what_cannot_be_done_is_acknowledged_with_the_standard_error() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let mut phone = Socket::connect(&carol, Transports::WebSocket).await;
    let others = alice.send_text(&bob, "not for Carol").await.expect(201).body["message"]["id"].clone();
    let before = world.all_events().await;
    for id in [others, json!("nonsense"), json!("00000000-0000-4000-8000-000000000000")] {
        let ack = phone.emit("message:read", json!({"messageId": id})).await;
        assert_is_standard_error(&ack, 404, "NOT_FOUND");
    }
    for payload in [json!({}), json!(null), json!("x"), json!({"messageId": 1}), json!({"messageId": "x", "extra": 1})]
    {
        let ack = phone.emit("message:read", payload).await;
        assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
    }
    let ack = phone.emit("no:such:event", json!({})).await;
    assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
    phone.emit_without_ack("message:read", json!({"messageId": "nonsense"})).await;
    assert_is_standard_error(&phone.expect("error").await, 404, "NOT_FOUND");
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn nobody_connects_without_a_token_of_the_messenger() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let expired = forged(&alice, |claims| claims["exp"] = json!(1));
    for token in [json!(null), json!(""), json!("nonsense"), json!(5), json!(world.admin.token), json!(expired)] {
        for transports in [Transports::Polling, Transports::WebSocket] {
            let mut socket = Socket::open(&world.server.url, transports, json!({"token": token}), json!({}));
            assert!(!socket.expect("connect_error").await.as_str().unwrap().is_empty(), "{token}");
        }
    }
}

/// A token like somebody's own, changed and signed with another key.
fn forged(person: &Person, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(&person.token).unwrap().claims;
    change(&mut claims);
    let key = jsonwebtoken::EncodingKey::from_secret(&[1; 32]);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

#[tokio::test]
async fn who_is_shut_out_is_cut_off() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let bobs_laptop = world.log_in(&bob.business, "Bob").await;
    let mut phone = Socket::connect(&bob, Transports::WebSocket).await;
    let mut laptop = Socket::connect(&bobs_laptop, Transports::Polling).await;

    bob.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    phone.expect("disconnect").await;
    alice.send_text(&bob, "still there?").await.expect(201);
    laptop.expect("message:received").await;
    assert_eq!(laptop.received("disconnect").len(), 0, "that was another session");

    world.admin.post(&format!("/api/admin/users/{}/suspend", bob.id), json!(null)).await.expect(200);
    laptop.expect("disconnect").await;
}

#[tokio::test]
async fn messages_reach_people_on_other_nodes() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let other_node = Server::start(&world.database).await;
    let mut phone = Socket::connect(&bob.at(&other_node.url), Transports::WebSocket).await;
    for n in 0..20 {
        let sent = alice.send_text(&bob, &format!("message {n}")).await.expect(201);
        assert_eq!(phone.expect("message:received").await["id"], sent.body["message"]["id"]);
    }
    let sent = alice.at(&other_node.url).send_text(&bob, "from here").await.expect(201);
    let path = format!("/api/messenger/messages/{}", sent.body["message"]["id"].as_str().unwrap());
    let position = sent.headers["x-position"].to_str().unwrap();
    alice.request(Method::GET, &path, None, &[("X-Min-Position", position)]).await.expect(200);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_they_are_listed() {
    let database = crate::support::Database::create().await;
    let allowed = ("SWITCHBOARD_ALLOWED_ORIGINS", "https://app.example.com".to_owned());
    let server = Server::start_with(&database, Settings { env: vec![allowed], ..Settings::default() }).await;
    let own = server.url.clone();
    for (origin, is_fine) in
        [(own.as_str(), true), ("https://app.example.com", true), ("https://evil.example", false), ("null", false)]
    {
        for path in ["/socket.io/?EIO=4&transport=polling", "/openapi.json"] {
            let response = http_client().get(format!("{own}{path}")).header("Origin", origin).send().await.unwrap();
            let expected = if is_fine { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(response.status(), expected, "{origin} at {path}");
            let is_listed = origin == "https://app.example.com";
            assert_eq!(response.headers().contains_key("access-control-allow-origin"), is_listed, "{origin} at {path}");
        }
        let handshake = http_client()
            .get(format!("{own}/socket.io/?EIO=4&transport=websocket"))
            .header("Origin", origin)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let status = handshake.send().await.unwrap().status();
        let expected = if is_fine { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{origin}");
    }
    let preflight = http_client()
        .request(Method::OPTIONS, format!("{own}/api/messenger/messages"))
        .header("Origin", "https://app.example.com")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type");
    assert_eq!(preflight.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection_and_no_other() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    for transports in [Transports::WebSocket, Transports::Polling] {
        let mut hostile = Socket::connect(&alice, transports).await;
        let mut phone = Socket::connect(&bob, transports).await;
        hostile.emit_without_ack("message:read", json!({"messageId": "x".repeat(20_000_000)})).await;
        hostile.expect("disconnect").await;
        alice.send_text(&bob, "unharmed").await.expect(201);
        phone.expect("message:received").await;
    }
}
