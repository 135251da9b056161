//! Files: how many there are, and how slowly they come.

use std::cell::RefCell;

use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::neighbour;
use crate::support::{Answer, Person, World, eventually};

const MB: usize = 1024 * 1024;

async fn upload(person: &Person, bytes: usize) -> Answer {
    person.upload("x.bin", "application/x-mine", vec![7; bytes]).await
}

#[tokio::test]
async fn a_user_and_a_business_keep_so_much_and_are_told_how_much_it_is() {
    let quotas = vec![("SWITCHBOARD_USER_QUOTA_MB", "2".to_owned()), ("SWITCHBOARD_BUSINESS_QUOTA_MB", "3".to_owned())];
    let world = World::with(quotas.clone()).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let (nina, _) = neighbour(&world).await;
    let storage = async |person: &Person| person.get("/api/messenger/me").await.expect(200).body["storage"].clone();
    assert_eq!(storage(&alice).await, json!({"usedBytes": 0, "quotaBytes": 2 * MB}));
    upload(&alice, MB + MB / 2).await.expect(201);
    assert_eq!(storage(&alice).await, json!({"usedBytes": MB + MB / 2, "quotaBytes": 2 * MB}));
    let why = upload(&alice, MB).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert!(why.contains("this user") && why.contains(&(MB + MB / 2).to_string()), "{why}");
    upload(&bob, MB).await.expect(201);
    let why = upload(&bob, MB * 3 / 4).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert!(why.contains("this business"), "{why}");
    upload(&nina, MB).await.expect(201);
    alice.send_text(&bob, "everything else goes on").await.expect(201);
    // It is counted by what happened, and not by this process.
    let world = world.kill_and_restart_with(quotas).await;
    assert_eq!(storage(&alice.at(&world.server.url)).await["usedBytes"], MB + MB / 2);
    upload(&alice.at(&world.server.url), MB).await.expect_error(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_disk_that_gets_full_stops_uploads_and_nothing_else() {
    // More than any disk has.
    let world = World::with(vec![("SWITCHBOARD_DISK_RESERVE_MB", "1000000000".to_owned())]).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    upload(&alice, 10).await.expect_error(503, "UNAVAILABLE");
    alice.send_text(&bob, "everything else goes on").await.expect(201);
}

/// An upload that begins and doesn't end.
fn trickle(person: &Person) -> tokio::task::JoinHandle<Answer> {
    let beginning = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7; 100])]);
    let body = Body::wrap_stream(futures_util::StreamExt::chain(beginning, futures_util::stream::pending()));
    let form = Form::new().part("file", Part::stream(body).file_name("x"));
    let request = person.http.post(format!("{}/api/messenger/files", person.url)).bearer_auth(&person.token);
    let request = request.multipart(form);
    tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await.unwrap() })
}

#[tokio::test]
async fn uploads_that_trickle_take_a_users_own_places_only() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let (nina, _) = neighbour(&world).await;
    let trickles = RefCell::new((0..32).map(|_| trickle(&alice)).collect::<Vec<_>>());
    eventually("a user's places are taken", async || {
        // The upload before may have had the place that this one is to take.
        trickles.borrow_mut().push(trickle(&alice));
        upload(&alice, 10).await.status == 429
    })
    .await;
    upload(&bob, 10).await.expect(201);
    upload(&nina, 10).await.expect(201);
    for trickle in trickles.into_inner() {
        trickle.abort();
    }
    eventually("whoever hangs up gives the place back", async || upload(&alice, 10).await.status == 201).await;
}
