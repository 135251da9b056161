//! Things said wrongly, and in order.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::scene::{EVENTS, Scene};
use crate::support::{Protocol, RawStream, World, assert_is_standard_error};

/// Payloads that are none of any event.
fn wrong_payloads() -> Vec<Value> {
    let mut deep = json!({});
    for _ in 0..50 {
        deep = json!({"payload": deep});
    }
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5e300),
        json!("text"),
        json!([]),
        json!([{}]),
        json!([["x", "y"], "z"]),
        json!({}),
        json!({"": {}}),
        json!({"__proto__": {"x": 1}}),
        json!({"messageId": null, "callId": null, "recipientId": null}),
        json!({"messageId": 5}),
        json!({"callId": ["x"], "kind": "offer", "payload": {}}),
        json!({"callId": "x", "kind": "bye", "payload": {}}),
        json!({"recipientId": {"id": "x"}, "content": ["x"]}),
        json!({"recipientId": "x", "content": {"toString": "x"}}),
        json!({"recipientId": "x", "content": "x", "type": {"text": null}}),
        json!({"recipientId": "x", "content": "x", "attachments": "x"}),
        json!({"recipientId": "x", "extra": 1}),
        json!({"callId": "x", "messageId": "x"}),
        deep,
    ]
}

/// Payloads of the right form about what isn't there, in the order of [`EVENTS`].
pub(super) fn about_nothing(id: &str) -> [Value; 8] {
    let call = json!({"callId": id});
    [
        json!({"recipientId": id, "content": "x"}),
        json!({"messageId": id}),
        call.clone(),
        call.clone(),
        call,
        json!({"callId": id, "kind": "offer", "payload": {"sdp": "x"}}),
        json!({"recipientId": id}),
        json!({"recipientId": id}),
    ]
}

#[tokio::test]
async fn whatever_is_emitted_wrongly_is_acknowledged_with_the_standard_error() {
    let mut scene = Scene::start().await;
    for protocol in Protocol::BOTH {
        let mut stream = RawStream::connect(&scene.mallory, protocol).await;
        for event in EVENTS {
            for payload in wrong_payloads() {
                let ack = stream.emit(event, &payload).await;
                assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
            }
        }
        for id in ["x", "", "00000000-0000-4000-8000-000000000000", "\0", "ä".repeat(1000).as_str()] {
            for (event, payload) in EVENTS.into_iter().zip(about_nothing(id)) {
                let ack = stream.emit(event, &payload).await;
                assert_is_standard_error(&ack, 404, "NOT_FOUND");
            }
        }
        for event in
            ["no:such:event", "", "connect", "disconnect", "error", "__proto__", "message:send ", "MESSAGE:SEND", "\0"]
        {
            if event == "\0" && protocol == Protocol::SocketIo {
                // The library ends connections over names that JSON writes with an escape.
                continue;
            }
            let ack = stream.emit(event, &json!({})).await;
            assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
        }
        let long = "x".repeat(100_000);
        let ack = stream.emit(&long, &json!({})).await;
        assert!(assert_is_standard_error(&ack, 422, "VALIDATION_ERROR").len() < 1000);
        // What a text may be, but for what Postgres has no room for, and for its length.
        for content in [json!("\0"), json!("x".repeat(20_000)), json!("")] {
            let ack = stream.emit("message:send", &json!({"recipientId": scene.bob.id, "content": content})).await;
            assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
        }
        let signal = json!({"callId": "x", "kind": "offer", "payload": "x".repeat(70_000)});
        assert_is_standard_error(&stream.emit("call:signal", &signal).await, 413, "PAYLOAD_TOO_LARGE");
    }
    scene.nothing_has_come_of_it(0).await;
}

/// Serde's own way takes `{"offer": null}` for `"offer"`.
#[tokio::test]
async fn a_signal_is_of_no_kind_that_only_looks_like_one() {
    let (_world, alice, _) = World::with_alice_and_bob().await;
    for protocol in Protocol::BOTH {
        let mut stream = RawStream::connect(&alice, protocol).await;
        let signal = json!({"callId": "x", "kind": {"offer": null}, "payload": {}});
        assert_is_standard_error(&stream.emit("call:signal", &signal).await, 422, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn events_with_too_few_or_too_many_arguments_are_acknowledged_with_the_standard_error() {
    let mut scene = Scene::start().await;
    let mut stream = RawStream::connect(&scene.mallory, Protocol::SocketIo).await;
    for event in EVENTS {
        for arguments in ["", ",{},{}", ",null,null", ",[],{}", ",{\"x\":\"x\"},1,2,3"] {
            stream.say(format!("427[\"{event}\"{arguments}]"));
            let (id, ack) = stream.any_ack().await;
            assert_eq!(id, 7);
            assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
        }
        // With something binary in it.
        stream.say(format!("451-7[\"{event}\",{{\"_placeholder\":true,\"num\":0}}]"));
        stream.send(Message::binary(vec![0, 159, 146, 150]));
        assert_is_standard_error(&stream.any_ack().await.1, 422, "VALIDATION_ERROR");
    }
    drop(stream);
    let mut stream = RawStream::connect(&scene.mallory, Protocol::Plain).await;
    for frame in [
        "",
        "x",
        "null",
        "[]",
        "{}",
        "{\"emit\":5}",
        "{\"id\":1,\"data\":{}}",
        "{\"emit\":\"x\",\"extra\":1}",
        "{\"id\":",
    ] {
        stream.say(frame);
        let (id, ack) = stream.any_ack().await;
        assert_eq!(id, json!(null), "{frame}");
        assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
    }
    drop(stream);
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_its_own_stream_only() {
    let mut scene = Scene::start().await;
    for protocol in Protocol::BOTH {
        for is_text in [true, false] {
            let mut stream = RawStream::connect(&scene.mallory, protocol).await;
            let huge = "x".repeat(20_000_000);
            stream.send(if is_text { Message::text(huge) } else { Message::binary(huge) });
            stream.end().await;
            scene.reach_bob().await;
            scene.before.events += 1;
        }
    }
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test]
async fn binary_frames_harm_nobody() {
    let mut scene = Scene::start().await;
    let mut stream = RawStream::connect(&scene.mallory, Protocol::Plain).await;
    stream.send(Message::binary(vec![0xff; 1000]));
    assert_is_standard_error(&stream.any_ack().await.1, 422, "VALIDATION_ERROR");
    assert_is_standard_error(&stream.emit("no:such:event", &json!({})).await, 422, "VALIDATION_ERROR");
    drop(stream);

    // Nobody has said that it would come.
    let mut stream = RawStream::connect(&scene.mallory, Protocol::SocketIo).await;
    for length in [0, 1, 1000] {
        stream.send(Message::binary(vec![0xff; length]));
    }
    stream.send(Message::Close(None));
    stream.end().await;
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test]
async fn what_one_stream_says_is_done_in_the_order_in_which_it_is_said() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    for protocol in Protocol::BOTH {
        let mut alices = RawStream::connect(&alice, protocol).await;
        let mut bobs = RawStream::connect(&bob, protocol).await;
        let call = json!({"recipientId": bob.id, "callType": "audio"});
        let call = alice.post("/api/messenger/calls", call).await.expect(201).body["call"]["id"].clone();
        assert_eq!(bobs.emit("call:accept", &json!({"callId": call})).await["success"], true);
        // As a browser does: it says what it has found as soon as it has, and an answer to one isn't needed for the next. No more
        // at once than a stream may.
        for n in 0..15 {
            alices.emit_ahead("call:signal", &json!({"callId": call, "kind": "candidate", "payload": n}));
            alices.emit_ahead("message:send", &json!({"recipientId": bob.id, "content": n.to_string()}));
        }
        let (mut signals, mut messages, mut acks) = (vec![], vec![], vec![]);
        for n in 0..15 {
            signals.push(bobs.expect("call:signal").await["payload"].as_u64().unwrap());
            messages.push(bobs.expect("message:received").await["content"].as_str().unwrap().to_owned());
            for _ in 0..2 {
                let (id, ack) = alices.any_ack().await;
                assert_eq!(ack["success"], true, "{n}: {ack}");
                acks.push(id);
            }
        }
        println!("{protocol:?} {signals:?} {messages:?} {acks:?}");
        assert!(signals.is_sorted(), "{signals:?}");
        assert!(messages.iter().map(|n| n.parse::<u64>().unwrap()).is_sorted(), "{messages:?}");
        alice.post(&format!("/api/messenger/calls/{}/end", call.as_str().unwrap()), json!(null)).await.expect(200);
    }
    drop(world);
}
