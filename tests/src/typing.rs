//! Typing.

use serde_json::json;

use crate::support::{PlainSocket, Server, World, assert_is_standard_error};

#[tokio::test]
async fn the_recipient_sees_that_somebody_types_and_that_they_stop() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let other_node = Server::start(&world.database).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let mut here = PlainSocket::connect(&bob, None).await;
    let mut elsewhere = PlainSocket::connect(&bob.at(&other_node.url), None).await;
    let mut carols = PlainSocket::connect(&carol, None).await;
    let before = world.all_events().await;
    let to_bob = json!({"recipientId": bob.id});
    for _ in 0..3 {
        assert_eq!(alices.emit("typing:start", to_bob.clone()).await["success"], true);
    }
    assert_eq!(alices.emit("typing:stop", to_bob.clone()).await["success"], true);
    for device in [&mut here, &mut elsewhere] {
        assert_eq!(device.expect("typing:indicator").await.data, json!({"userId": alice.id}));
        assert_eq!(device.expect("typing:stopped").await.data, json!({"userId": alice.id}));
        assert!(device.is_quiet_about("typing:indicator"), "once, however often it is said");
    }
    // Whoever says nothing more has stopped.
    alices.emit("typing:start", to_bob).await;
    here.expect("typing:indicator").await;
    here.expect("typing:stopped").await;
    assert_eq!(carols.emit("no:such", json!({})).await["statusCode"], 422);
    assert!(carols.is_quiet_about("typing:indicator"), "it is for the recipient only");
    assert_eq!(world.all_events().await, before, "none of it is stored");
}

#[tokio::test]
async fn nobody_types_to_strangers_or_to_themselves_or_all_the_time() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    for stranger in [mallory.id.as_str(), "nonsense", "00000000-0000-4000-8000-000000000000"] {
        let ack = alices.emit("typing:start", json!({"recipientId": stranger})).await;
        assert_is_standard_error(&ack, 404, "NOT_FOUND");
    }
    let ack = alices.emit("typing:start", json!({"recipientId": alice.id})).await;
    assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
    for n in 0.. {
        let ack = alices.emit("typing:stop", json!({"recipientId": mallory.id})).await;
        if ack["statusCode"] == 429 {
            assert_is_standard_error(&ack, 429, "RATE_LIMIT");
            break;
        }
        assert!(n < 500, "there is a limit");
    }
}
