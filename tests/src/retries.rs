//! Sending a message again by mistake changes nothing.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Answer, Person, World};

async fn send(from: &Person, to: &Person, content: &str, key: &str) -> Answer {
    let body = json!({"recipientId": to.id, "content": content, "clientMessageId": key});
    from.post("/api/messenger/messages", body).await
}

async fn send_with_header(from: &Person, body: &Value, key: &str) -> Answer {
    from.request(Method::POST, "/api/messenger/messages", Some(body.clone()), &[("Idempotency-Key", key)]).await
}

#[tokio::test]
async fn an_exact_retry_gets_the_same_answer_and_another_message_a_conflict() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let first = send(&alice, &bob, "once", "key").await.expect(201);
    assert_eq!(send(&alice, &bob, "once", "key").await.expect(201).body, first.body);
    send(&alice, &bob, "twice", "key").await.expect_error(409, "CONFLICT");
    send(&alice, &alice, "once", "key").await.expect_error(409, "CONFLICT");
    assert_eq!(world.events("MessageSent").await, 1);
}

#[tokio::test]
async fn the_header_names_a_message_as_the_field_does() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let body = json!({"recipientId": bob.id, "content": "once"});
    let first = send_with_header(&alice, &body, "key").await.expect(201);
    assert_eq!(send_with_header(&alice, &body, "key").await.expect(201).body, first.body);
    assert_eq!(send(&alice, &bob, "once", "key").await.expect(201).body, first.body);
    let both = json!({"recipientId": bob.id, "content": "once", "clientMessageId": "other"});
    send_with_header(&alice, &both, "key").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(world.events("MessageSent").await, 1);
}

#[tokio::test]
async fn the_same_key_of_somebody_else_is_another_message() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    send(&alice, &bob, "from Alice", "key").await.expect(201);
    send(&bob, &alice, "from Bob", "key").await.expect(201);
    assert_eq!(world.events("MessageSent").await, 2);
}

#[tokio::test]
async fn of_many_retries_at_once_all_get_the_same_message() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let mut tries = JoinSet::new();
    for n in 0..64 {
        let (alice, bob) = (alice.clone(), bob.clone());
        tries.spawn(async move { (n % 4, send(&alice, &bob, if n % 4 == 0 { "other" } else { "once" }, "key").await) });
    }
    let answers = tries.join_all().await;
    let winner = answers.iter().find(|(_, answer)| answer.status == 201).unwrap().1.body.clone();
    for (n, answer) in answers {
        if (n == 0) == (winner["message"]["content"] == "other") {
            assert_eq!(answer.expect(201).body, winner);
        } else {
            answer.expect_error(409, "CONFLICT");
        }
    }
    assert_eq!(world.events("MessageSent").await, 1);
}

#[tokio::test]
async fn a_retry_is_recognised_after_a_restart_and_on_another_node() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let first = send(&alice, &bob, "once", "key").await.expect(201);
    let world = world.kill_and_restart().await;
    let alice = alice.at(&world.server.url);
    assert_eq!(send(&alice, &bob, "once", "key").await.expect(201).body, first.body);
    send(&alice, &bob, "twice", "key").await.expect_error(409, "CONFLICT");
    let other_node = crate::support::Server::start(&world.database).await;
    let alice = alice.at(&other_node.url);
    assert_eq!(send(&alice, &bob, "once", "key").await.expect(201).body, first.body);
    assert_eq!(world.events("MessageSent").await, 1);
}

#[tokio::test]
async fn a_retry_gets_its_answer_even_when_the_recipient_is_gone() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let first = send(&alice, &bob, "once", "key").await.expect(201);
    world.admin.post(&format!("/api/admin/users/{}/suspend", bob.id), json!(null)).await.expect(200);
    assert_eq!(send(&alice, &bob, "once", "key").await.expect(201).body, first.body);
    send(&alice, &bob, "twice", "other key").await.expect_error(422, "VALIDATION_ERROR");
}
