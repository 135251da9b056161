//! More than anybody can listen to.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::emits::about_nothing;
use super::scene::{AT_ONCE, EVENTS, Scene, events, scaled};
use crate::support::{Protocol, RawStream, assert_is_standard_error};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_emits_as_fast_as_possible_keeps_nobody_else_from_writing() {
    let count = scaled(10_000);
    let mut scene = Scene::start().await;
    let mut alices_phone = RawStream::connect(&scene.alice, Protocol::SocketIo).await;
    for protocol in Protocol::BOTH {
        for is_valid in [false, true] {
            let events_before = events(&scene.world).await.len();
            let mut stream = RawStream::connect(&scene.mallory, protocol).await;
            let began = Instant::now();
            let bob = scene.bob.id.clone();
            let flood = tokio::spawn(async move {
                for n in 0..count {
                    let at = if is_valid { 0 } else { n % EVENTS.len() };
                    let id = if is_valid { &bob } else { "00000000-0000-4000-8000-000000000000" };
                    stream.emit_ahead(EVENTS[at], &about_nothing(id)[at]);
                }
                all_acks(stream).await
            });
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !flood.is_finished() || rounds == 0 {
                let began = Instant::now();
                let message = json!({"recipientId": scene.alice.id, "content": "Here I am"});
                let ack = scene.phones[rounds % 2].emit("message:send", &message).await;
                assert_eq!(ack["success"], true, "{ack}");
                assert_eq!(alices_phone.expect("message:received").await["id"], ack["message"]["id"]);
                longest = longest.max(began.elapsed());
                let sent = scene.alice.send_text(&scene.bob, "Are you there?").await.expect(201);
                for phone in &mut scene.phones {
                    // Mallory's come as well.
                    while phone.expect("message:received").await["id"] != sent.body["message"]["id"] {}
                }
                longest = longest.max(began.elapsed());
                rounds += 1;
            }
            let acks = flood.await.unwrap();
            let done = acks.iter().filter(|ack| ack["success"] == true).count();
            for ack in &acks {
                match ack["statusCode"].as_u64() {
                    None => assert_eq!((is_valid, &ack["success"]), (true, &json!(true)), "{ack}"),
                    Some(404) => drop(assert_is_standard_error(ack, 404, "NOT_FOUND")),
                    _ => drop(assert_is_standard_error(ack, 429, "RATE_LIMIT")),
                }
            }
            println!(
                "{protocol:?}: {count} emits in {:?}, {} acknowledged, {done} of them done; {rounds} rounds of others \
                 meanwhile, the longest took {longest:?}",
                began.elapsed(),
                acks.len()
            );
            assert!(longest < AT_ONCE * 2, "{longest:?}");
            // Others have sent two messages in each round.
            let appended = events(&scene.world).await.len() - events_before - 2 * rounds;
            println!("{appended} appended");
            assert_eq!(acks.len(), count, "each is answered");
            assert_eq!(appended, if is_valid { done } else { 0 });
        }
    }
    drop(alices_phone);
    scene.before.events = events(&scene.world).await.len();
    scene.nothing_has_come_of_it(0).await;
}

/// All acknowledgements that come.
async fn all_acks(mut stream: RawStream) -> Vec<Value> {
    let (mut acks, mut lasts) = (vec![], vec![]);
    // The last one may be refused, and is repeated until it isn't.
    loop {
        let last = stream.emit_ahead("no:such:event", &json!({}));
        lasts.push(last.clone());
        let until_the_last = async {
            loop {
                let (id, ack) = stream.any_ack().await;
                if id == last {
                    break ack;
                }
                // Not one of the flood when it comes of an earlier one of these.
                if !lasts.contains(&id) {
                    acks.push(ack);
                }
            }
        };
        if let Ok(ack) = tokio::time::timeout(Duration::from_secs(2), until_the_last).await
            && ack["statusCode"] == 422
        {
            return acks;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_emits_and_reads_no_answers_keeps_nobody_else_from_writing() {
    let count = scaled(10_000);
    let mut scene = Scene::start().await;
    for protocol in Protocol::BOTH {
        let bearer = format!("Bearer {}", scene.mallory.token);
        let mut stream = protocol.open(&scene.mallory.url, &[("authorization", &bearer)]).await.unwrap();
        if protocol == Protocol::SocketIo {
            stream.send(Message::text(format!("40{}", json!({"token": scene.mallory.token})))).await.unwrap();
            while !stream.next().await.unwrap().unwrap().to_text().unwrap().starts_with("40") {}
        }
        let flood = tokio::spawn(async move {
            for n in 0..count as u64 {
                let emit = protocol.emit(n, &"x".repeat(100), &json!({"x": "x".repeat(1000)}));
                // The server may stop listening to who doesn't listen to it.
                let sending = tokio::time::timeout(Duration::from_secs(1), stream.send(Message::text(emit))).await;
                if !matches!(sending, Ok(Ok(()))) {
                    return (n, stream);
                }
            }
            (count as u64, stream)
        });
        let mut longest = Duration::ZERO;
        while !flood.is_finished() {
            longest = longest.max(scene.reach_bob().await);
            scene.before.events += 1;
        }
        println!("{protocol:?}: {} emits were taken; others took {longest:?} at most", flood.await.unwrap().0);
    }
    scene.nothing_has_come_of_it(0).await;
}
