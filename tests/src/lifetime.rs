//! When streams end, and why.

use std::time::Duration;

use serde_json::json;

use crate::support::{Devices, World};

#[tokio::test]
async fn streams_end_when_their_token_does() {
    let world = World::with(vec![("SWITCHBOARD_TOKEN_LIFE", "6s".to_owned())]).await;
    let acme = world.business("Acme").await;
    let bob = world.person(&acme, "Bob").await;
    let issued = tokio::time::Instant::now();
    Devices::connect(&bob).await.expect_closed("The token has expired").await;
    let lasted = issued.elapsed();
    assert!(lasted > Duration::from_secs(4), "{lasted:?}");
}

#[tokio::test]
async fn streams_end_when_somebody_may_not_be_here_any_longer() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let devices = Devices::connect(&bob).await;
    bob.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    devices.expect_closed("The session is over").await;

    let bob = world.log_in(&bob.business, "Bob").await;
    let devices = Devices::connect(&bob).await;
    world.admin.post(&format!("/api/admin/users/{}/suspend", bob.id), json!(null)).await.expect(200);
    devices.expect_closed("The account or its business is suspended").await;

    let devices = Devices::connect(&alice).await;
    let path = format!("/api/admin/businesses/{}/suspend", alice.business.id);
    world.admin.post(&path, json!(null)).await.expect(200);
    devices.expect_closed("The account or its business is suspended").await;
}
