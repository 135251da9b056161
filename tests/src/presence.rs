//! Who is online.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Business, DEADLINE, Person, PlainSocket, Server, Settings, World};

fn grace(ms: u32) -> (&'static str, String) {
    ("SWITCHBOARD_PRESENCE_GRACE", format!("{ms}ms"))
}

async fn world(grace_ms: u32) -> (World, Business, Person, Person) {
    let world = World::with(vec![grace(grace_ms)]).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    (world, acme, alice, bob)
}

async fn colleague(who: &Person, of: &Person) -> Value {
    let users = of.get("/api/messenger/users").await.expect(200).body["users"].clone();
    users.as_array().unwrap().iter().find(|user| user["id"] == *who.id).unwrap().clone()
}

#[tokio::test]
async fn who_connects_is_online_and_who_leaves_is_offline() {
    let (world, _, alice, bob) = world(200).await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    let mut mallorys = PlainSocket::connect(&mallory, None).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    assert_eq!(alices.expect("users:online").await.data, json!({"users": [alice.id]}), "one's own business only");
    let mut bobs = PlainSocket::connect(&bob, None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(bob.id));
    let online = bobs.expect("users:online").await.data["users"].clone();
    for person in [&alice, &bob] {
        assert!(online.as_array().unwrap().contains(&json!(person.id)));
    }
    assert_eq!(colleague(&bob, &alice).await["online"], true);
    drop(bobs);
    assert_eq!(alices.expect("user:offline").await.data, json!(bob.id));
    let bob_now = colleague(&bob, &alice).await;
    assert_eq!(bob_now["online"], false);
    // The table is written a moment after the event.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !colleague(&bob, &alice).await["lastSeenAt"].as_str().is_some_and(|at| at.ends_with('Z')) {
        assert!(tokio::time::Instant::now() < deadline);
    }
    mallory.send_text(&alice, "x").await.expect_error(404, "NOT_FOUND");
    assert_eq!(mallorys.emit("no:such", json!({})).await["statusCode"], 422);
    assert!(mallorys.is_quiet_about("user:online"), "nothing of another business");
}

#[tokio::test]
async fn who_has_two_tabs_is_online_until_the_second_is_closed() {
    let (_world, _, alice, bob) = world(100).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let first = PlainSocket::connect(&bob, None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(bob.id));
    let second = PlainSocket::connect(&bob, None).await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(colleague(&bob, &alice).await["online"], true);
    drop(second);
    assert_eq!(alices.expect("user:offline").await.data, json!(bob.id));
    assert!(alices.is_quiet_about("user:online"), "the second tab is no news");
}

#[tokio::test]
async fn who_flaps_is_never_offline() {
    let (world, _, alice, bob) = world(10_000).await;
    let other_node =
        Server::start_with(&world.database, Settings { env: vec![grace(10_000)], ..Settings::default() }).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let mut bobs = PlainSocket::connect(&bob, None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(bob.id));
    for n in 0..6 {
        drop(bobs);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let bob = if n % 2 == 0 { bob.at(&other_node.url) } else { bob.clone() };
        bobs = PlainSocket::connect(&bob, None).await;
    }
    // Whatever the node says of Bob comes before what it says of Carol.
    let carol = world.person(&alice.business, "Carol").await;
    let _carols = PlainSocket::connect(&carol, None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(carol.id));
    assert!(alices.is_quiet_about("user:offline"));
    drop(bobs);
    assert_eq!(alices.expect("user:offline").await.data, json!(bob.id));
}

#[tokio::test]
async fn a_node_that_dies_takes_its_people_along_and_no_others() {
    let (world, acme, alice, bob) = world(200).await;
    let carol = world.person(&acme, "Carol").await;
    let other_node = Server::start(&world.database).await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let _carols = PlainSocket::connect(&carol, None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(carol.id));
    let _bobs = PlainSocket::connect(&bob.at(&other_node.url), None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(bob.id), "from another node");
    let began = tokio::time::Instant::now();
    other_node.kill();
    assert_eq!(alices.expect("user:offline").await.data, json!(bob.id));
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    assert_eq!(colleague(&bob, &alice).await["online"], false);
    assert_eq!(colleague(&carol, &alice).await["online"], true);
    assert!(alices.is_quiet_about("user:offline"));
}

#[tokio::test]
async fn a_node_that_starts_later_knows_who_is_online() {
    let (world, _, alice, bob) = world(200).await;
    let _bobs = PlainSocket::connect(&bob, None).await;
    // Until it is written down where the other node finds it.
    let pool = world.database.pool().await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while sqlx::query_scalar::<_, i64>("SELECT count(*) FROM presence").fetch_one(&pool).await.unwrap() == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pool.close().await;
    let later = Server::start(&world.database).await;
    let alice = alice.at(&later.url);
    while colleague(&bob, &alice).await["online"] != true {
        assert!(tokio::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn colleagues_are_listed_page_by_page() {
    let (world, acme, alice, _) = world(200).await;
    for n in 0..3 {
        world.create(&acme, &format!("Person{n}"), "BUSINESS_USER").await;
    }
    let suspended = world.create(&acme, "Suspended", "BUSINESS_USER").await;
    world.admin.post(&format!("/api/admin/users/{suspended}/suspend"), json!(null)).await.expect(200);
    let mut names = vec![];
    let mut cursor = String::new();
    loop {
        let page = alice.get(&format!("/api/messenger/users?limit=2{cursor}")).await.expect(200).body;
        let users = page["users"].as_array().unwrap();
        names.extend(users.iter().map(|user| user["name"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["Alice", "Bob", "Person0", "Person1", "Person2"]);
    alice.get("/api/messenger/users?limit=0").await.expect_error(422, "VALIDATION_ERROR");
}
