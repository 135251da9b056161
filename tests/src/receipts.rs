//! What was delivered, and what was read.

use serde_json::{Value, json};

use crate::support::{Person, PlainSocket, World};

async fn message(reader: &Person, id: &Value) -> Value {
    reader.get(&format!("/api/messenger/messages/{}", id.as_str().unwrap())).await.expect(200).body["message"].clone()
}

#[tokio::test]
async fn the_sender_learns_that_a_device_has_the_message_live_or_later() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let since = bob.feed_position().await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let sent = alice.send_text(&bob, "later").await.expect(201).body["message"].clone();
    assert_eq!(message(&alice, &sent["id"]).await["delivered"], false);
    let mut phone = PlainSocket::connect(&bob, Some(since)).await;
    phone.expect("message:received").await;
    let delivered = alices.expect("message:delivered").await;
    assert_eq!(delivered.data["messageId"], sent["id"]);
    assert_eq!(delivered.data["recipientId"], *bob.id);
    assert_eq!(delivered.data["conversationId"], sent["conversationId"]);
    assert!(delivered.data["at"].as_str().unwrap().ends_with('Z'));
    assert!(delivered.position.is_some());
    let live = alice.send_text(&bob, "live").await.expect(201).body["message"].clone();
    assert_eq!(alices.expect("message:delivered").await.data["messageId"], live["id"]);
    assert_eq!(message(&alice, &live["id"]).await["delivered"], true);
    // Another device, and the same once more: that is no news.
    let mut laptop = PlainSocket::connect(&bob, Some(since)).await;
    laptop.expect("feed:caught-up").await;
    assert_eq!(world.events("MessagesDelivered").await, 2);
}

#[tokio::test]
async fn however_many_messages_arrive_one_event_a_second_says_so() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let mut phone = PlainSocket::connect(&bob, None).await;
    let began = tokio::time::Instant::now();
    let mut last = json!(null);
    for n in 0..200 {
        let from = if n % 2 == 0 { &alice } else { &carol };
        last = from.send_text(&bob, &n.to_string()).await.expect(201).body["message"]["id"].clone();
    }
    while phone.expect("message:received").await.data["id"] != last {}
    let mut carols = PlainSocket::connect(&carol, Some(0)).await;
    while carols.expect("message:delivered").await.data["messageId"] != last {}
    let events = world.events("MessagesDelivered").await;
    let seconds = i64::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!(events <= seconds + 1, "{events} events in {seconds} s");
}

#[tokio::test]
async fn reading_a_conversation_reads_all_before_and_is_delivered_too() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let mut ids = vec![];
    let mut conversation = json!(null);
    for text in ["one", "two", "three"] {
        let sent = alice.send_text(&bob, text).await.expect(201).body["message"].clone();
        conversation = sent["conversationId"].clone();
        ids.push(sent["id"].clone());
    }
    let path = format!("/api/messenger/conversations/{}/read", conversation.as_str().unwrap());
    for up_to in [&ids[1], &ids[1], &ids[0]] {
        let read = bob.post(&path, json!({"upTo": up_to})).await.expect(200);
        assert_eq!(read.body["conversationId"], conversation);
    }
    let read = alices.expect("message:read").await.data;
    assert_eq!((&read["messageId"], &read["readerId"]), (&ids[1], &json!(bob.id)));
    for (id, is_read) in ids.iter().zip([true, true, false]) {
        let message = message(&alice, id).await;
        assert_eq!((&message["read"], &message["delivered"]), (&json!(is_read), &json!(is_read)));
    }
    assert_eq!(world.events("MessagesRead").await, 1);
    // What has been read needs no receipt that it was delivered.
    let mut phone = PlainSocket::connect(&bob, Some(0)).await;
    phone.expect("feed:caught-up").await;
    assert_eq!(alices.expect("message:delivered").await.data["messageId"], ids[2]);
}

#[tokio::test]
async fn nobody_reads_what_is_not_theirs() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let sent = alice.send_text(&bob, "x").await.expect(201).body["message"].clone();
    let others = carol.send_text(&bob, "y").await.expect(201).body["message"].clone();
    let before = world.all_events().await;
    let path = |conversation: &str| format!("/api/messenger/conversations/{conversation}/read");
    let conversation = sent["conversationId"].as_str().unwrap();
    carol.post(&path(conversation), json!({"upTo": sent["id"]})).await.expect_error(404, "NOT_FOUND");
    bob.post(&path(conversation), json!({"upTo": others["id"]})).await.expect_error(404, "NOT_FOUND");
    bob.post(&path("nonsense"), json!({"upTo": sent["id"]})).await.expect_error(404, "NOT_FOUND");
    for body in [json!({}), json!({"upTo": 5}), json!({"upTo": sent["id"], "more": 1})] {
        bob.post(&path(conversation), body).await.expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(world.all_events().await, before);
}
