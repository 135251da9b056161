//! Calls that ring everywhere at once.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{World, full_scale};

#[tokio::test]
async fn a_user_rings_three_others_at_once_and_no_more() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let count = if full_scale() { 300 } else { 20 };
    let colleagues = join_all((0..count).map(|n| {
        let (world, business) = (&world, &alice.business);
        async move { world.create(business, &format!("Colleague{n}"), "BUSINESS_USER").await }
    }))
    .await;
    let call = |id: &str| alice.post("/api/messenger/calls", json!({"recipientId": id, "callType": "audio"}));
    let answers = join_all(colleagues.iter().map(|id| {
        let call = &call;
        async move { call(id).await }
    }))
    .await;
    let (rung, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(rung.len(), 3);
    for refused in refused {
        refused.expect_error(409, "CONFLICT");
    }
    assert_eq!(world.events("CallStarted").await, 3);
    // Whoever was not rung is free, and so is the caller again once a call is over.
    let is_free = |id: &&String| rung.iter().all(|answer| answer.body["call"]["receiverId"] != ***id);
    let free = colleagues.iter().find(is_free).unwrap();
    let id = rung[0].body["call"]["id"].as_str().unwrap();
    alice.post(&format!("/api/messenger/calls/{id}/end"), Value::Null).await.expect(200);
    let again = call(free).await.expect(201);
    assert_eq!(again.body["call"]["status"], "ringing", "{}", again.body);
}
