//! What was missed: reading it costs more than anything else that one may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::{flood, neighbour};
use crate::support::{World, full_scale};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_who_catches_up_many_times_at_once_delays_no_other_tenant() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let (nina, ned) = neighbour(&world).await;
    nina.send_text(&ned, "hi").await.expect(201);
    for n in 0..if full_scale() { 1000 } else { 300 } {
        alice.send_text(&bob, &n.to_string()).await.expect(201);
    }
    let (answered, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut attack = JoinSet::new();
    for _ in 0..150 {
        let (bob, answered, refused) = (bob.clone(), answered.clone(), refused.clone());
        attack.spawn(async move {
            let answer = bob.get("/api/messenger/events/since?position=0&limit=1000").await;
            if answer.status == 429 {
                answer.expect_error(429, "RATE_LIMIT");
                refused.fetch_add(1, Ordering::Relaxed);
            } else {
                answer.expect(200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    // One at a time, and a few that wait.
    let caught_up = ned.get("/api/messenger/events/since?position=0").await.expect(200);
    assert!(!caught_up.body["events"].as_array().unwrap().is_empty());
    attack.join_all().await;
    let (answered, refused) = (answered.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    println!("{answered} answered, {refused} refused");
    assert!(answered >= 9 && refused > 0, "{answered} answered, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_what_was_missed_is_bounded_by_bytes_and_nothing_is_left_out() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let since = bob.feed_position().await;
    flood(&alice, &bob, 60).await;
    let (mut position, mut contents, mut pages) = (since, vec![], 0);
    loop {
        let path = format!("/api/messenger/events/since?position={position}&limit=1000");
        let page = bob.get(&path).await.expect(200).body;
        assert!(page.to_string().len() < 1_000_000, "{} bytes", page.to_string().len());
        for event in page["events"].as_array().unwrap() {
            if event["type"] == "message:received" {
                contents.push(event["data"]["content"].as_str().unwrap().split(' ').next().unwrap().to_owned());
            }
        }
        position = page["position"].as_u64().unwrap();
        pages += 1;
        if page["caughtUp"] == true {
            break;
        }
    }
    assert_eq!(contents, (0..60).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(pages > 2, "{pages}");
    drop(world);
}
