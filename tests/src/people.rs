//! Creating people, at the same time and in spite of crashes; finding them, and changing what is known of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Business, DEADLINE, PASSWORD, Person, PlainSocket, Server, World, full_scale};

#[tokio::test]
async fn of_two_who_create_the_same_login_exactly_one_succeeds() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let rounds = if full_scale() { 1000_i64 } else { 60 };
    let other_node = Server::start(&world.database).await;
    let admins = [world.admin.clone(), world.admin.at(&other_node.url)];
    for n in 0..rounds {
        let create = async |admin: usize, email: String| {
            let body = json!({"email": email, "name": "Twin", "password": PASSWORD, "role": "BUSINESS_USER", "businessId": acme.id});
            admins[admin].post("/api/admin/users", body).await.status.as_u16()
        };
        let (one, other) = tokio::join!(
            create(0, format!("twin{n}@example.com")),
            create(usize::from(n % 2 == 1), format!("TWIN{n}@Example.com"))
        );
        assert!(matches!((one, other), (201, 409) | (409, 201)), "round {n}: {one} and {other}");
    }
    let reserved = world.events("LoginReserved").await;
    let released = world.events("LoginReleased").await;
    assert_eq!(reserved - released, world.events("UserCreated").await, "no login is reserved for nobody");
    assert_eq!(world.events("UserCreated").await, rounds + 1);
}

#[tokio::test]
async fn a_login_that_was_reserved_for_nobody_is_free_again() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let john = world.create(&acme, "John", "BUSINESS_USER").await;
    // As if the server had died between reserving and creating, two minutes ago: the reservation of John stays, he himself is
    // another one.
    let nobody = Uuid::now_v7();
    let pool = world.database.pool().await;
    let rewritten = sqlx::query(
        "UPDATE log SET data = convert_to(replace(replace(convert_from(data, 'UTF8'), $1, $2), '\"reservedAt\":\"2', '\"reservedAt\":\"1'), 'UTF8')
         WHERE event_type = 'LoginReserved' AND convert_from(data, 'UTF8') LIKE '%' || $1 || '%'",
    )
    .bind(&john)
    .bind(nobody.to_string())
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(rewritten.rows_affected(), 1);
    pool.close().await;
    let world = world.kill_and_restart().await;
    let body = json!({"email": "john@example.com", "name": "John", "password": PASSWORD, "role": "BUSINESS_USER", "businessId": acme.id});
    world.admin.post("/api/admin/users", body.clone()).await.expect(201);
    world.admin.post("/api/admin/users", body).await.expect_error(409, "CONFLICT");
    assert_eq!(world.events("UserAbandoned").await, 1, "whoever was too slow can't create him any more");
}

#[tokio::test]
async fn the_same_email_in_two_businesses_is_two_people() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    let (one, other) = (world.person(&acme, "Ann").await, world.person(&globex, "Ann").await);
    assert_ne!(one.id, other.id);
}

#[tokio::test]
async fn who_is_suspended_is_out_at_once_and_back_when_reactivated() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let path = format!("/api/admin/users/{}", bob.id);
    let suspended = world.admin.post(&format!("{path}/suspend"), json!(null)).await.expect(200);
    assert_eq!(suspended.body["user"]["status"], "suspended");
    bob.send_text(&alice, "let me in").await.expect_error(401, "UNAUTHORIZED");
    alice.send_text(&bob, "where are you?").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(world.admin.get(&path).await.expect(200).body, suspended.body);
    world.admin.post(&format!("{path}/reactivate"), json!(null)).await.expect(200);
    bob.send_text(&alice, "thanks").await.expect_error(401, "UNAUTHORIZED");
    world.log_in(&acme, "Bob").await.send_text(&alice, "thanks").await.expect(201);
    let own = format!("/api/admin/users/{}/suspend", world.admin.id);
    world.admin.post(&own, json!(null)).await.expect_error(409, "CONFLICT");
}

const USERS: &str = "/api/admin/users";

fn path_of(id: &str) -> String {
    format!("{USERS}/{id}")
}

async fn change(admin: &Person, id: &str, changes: Value) -> Answer {
    admin.request(Method::PATCH, &path_of(id), Some(changes), &[]).await
}

/// Creates somebody of this role, and logs them in at the admin API.
async fn admin(world: &World, business: &Business, name: &str, role: &str) -> Person {
    world.create(business, name, role).await;
    Person::log_in_as_admin(&world.server.url, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
}

#[tokio::test]
async fn whatever_is_said_of_somebody_is_changed_and_nothing_else() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let jane = world.create(&acme, "Jane", "BUSINESS_USER").await;
    let created = world.admin.get(&path_of(&jane)).await.expect(200).body["user"].clone();
    let mut expected = created.clone();
    let before = world.all_events().await;
    for (changes, events) in [
        (json!({"name": "Jane Smith"}), 1),
        (json!({"avatar": "https://example.com/jane.png"}), 1),
        (json!({"role": "BUSINESS_AUDITOR"}), 1),
        (json!({"avatar": null}), 1),
        (json!({"name": "Jane", "avatar": "https://example.com/2.png", "role": "BUSINESS_ADMIN"}), 3),
        // What is so already.
        (json!({"name": "Jane", "avatar": "https://example.com/2.png", "role": "BUSINESS_ADMIN"}), 0),
        (json!({}), 0),
    ] {
        let so_far = world.all_events().await;
        let changed = change(&world.admin, &jane, changes.clone()).await.expect(200);
        for (field, value) in changes.as_object().unwrap() {
            expected[field] = value.clone();
        }
        assert_eq!(changed.body["user"], expected, "{changes}");
        assert_eq!(world.admin.get(&path_of(&jane)).await.expect(200).body, changed.body);
        assert_eq!(world.all_events().await - so_far, events, "{changes}");
    }
    assert_eq!(world.all_events().await - before, 7);
}

#[tokio::test]
async fn changes_that_are_wrong_are_refused_by_name_and_nothing_is_changed() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let jane = world.create(&acme, "Jane", "BUSINESS_USER").await;
    let before = world.all_events().await;
    for (changes, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "x".repeat(201)}), "name"),
        (json!({"name": 5}), "name"),
        (json!({"avatar": ""}), "avatar"),
        (json!({"avatar": "javascript:alert(1)"}), "avatar"),
        (json!({"avatar": 5}), "avatar"),
        (json!({"role": "KING"}), "role"),
        (json!({"role": "SYSTEM_AUDITOR", "name": "Not even this"}), "role"),
        (json!({"email": "other@example.com"}), "email"),
        (json!({"status": "suspended"}), "status"),
    ] {
        let error = change(&world.admin, &jane, changes.clone()).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains(field), "{changes}: {error}");
    }
    for nobody in ["01900000-0000-7000-8000-000000000000", "nonsense"] {
        change(&world.admin, nobody, json!({"name": "x"})).await.expect_error(404, "NOT_FOUND");
    }
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn nobody_gives_a_role_that_is_not_theirs_to_give() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    let system = world.admin.business.clone();
    let ann = admin(&world, &acme, "Ann", "BUSINESS_ADMIN").await;
    let auditor = admin(&world, &acme, "Otto", "BUSINESS_AUDITOR").await;
    let system_auditor = admin(&world, &system, "Audrey", "SYSTEM_AUDITOR").await;
    let jane = world.create(&acme, "Jane", "BUSINESS_USER").await;
    let gus = world.create(&globex, "Gus", "BUSINESS_USER").await;
    let before = world.all_events().await;

    for role in ["SYSTEM_SUPER_ADMIN", "SYSTEM_AUDITOR"] {
        for id in [&jane, &ann.id] {
            change(&ann, id, json!({"role": role})).await.expect_error(403, "FORBIDDEN");
            change(&world.admin, id, json!({"role": role})).await.expect_error(422, "VALIDATION_ERROR");
        }
    }
    for role in ["BUSINESS_ADMIN", "BUSINESS_AUDITOR", "BUSINESS_USER"] {
        for id in [&world.admin.id, &system_auditor.id] {
            change(&world.admin, id, json!({"role": role})).await.expect_error(422, "VALIDATION_ERROR");
        }
    }
    // What belongs to others: not to be seen, whatever is to be changed.
    for id in [&gus, &world.admin.id, &system_auditor.id] {
        for changes in [json!({"role": "BUSINESS_ADMIN"}), json!({"name": "Hers"}), json!({"avatar": null}), json!({})]
        {
            change(&ann, id, changes).await.expect_error(404, "NOT_FOUND");
        }
        for what in ["suspend", "reactivate"] {
            ann.post(&format!("{}/{what}", path_of(id)), json!(null)).await.expect_error(404, "NOT_FOUND");
        }
    }
    for reader in [&auditor, &system_auditor] {
        for changes in [json!({"role": "BUSINESS_ADMIN"}), json!({"name": "Theirs"}), json!({})] {
            change(reader, &jane, changes.clone()).await.expect_error(403, "FORBIDDEN");
            change(reader, &reader.id, changes).await.expect_error(403, "FORBIDDEN");
        }
    }
    change(&auditor, &gus, json!({"name": "x"})).await.expect_error(404, "NOT_FOUND");
    assert_eq!(world.all_events().await, before);
    change(&ann, &jane, json!({"role": "BUSINESS_ADMIN"})).await.expect(200);
    change(&world.admin, &system_auditor.id, json!({"role": "SYSTEM_SUPER_ADMIN"})).await.expect(200);
}

/// Creates somebody of this name and email, who isn't logged in.
async fn create(world: &World, business: &Business, name: &str, email: &str) -> String {
    let body = json!({
        "email": email, "name": name, "password": PASSWORD, "role": "BUSINESS_USER", "businessId": business.id,
    });
    world.admin.post(USERS, body).await.expect(201).body["user"]["id"].as_str().unwrap().to_owned()
}

/// As it stands in a query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}

/// The names on a page, and the total.
async fn listed(admin: &Person, query: &str) -> (Vec<String>, i64) {
    let body = admin.get(&format!("{USERS}?{query}")).await.expect(200).body;
    let users = body["users"].as_array().unwrap().iter();
    (users.map(|user| user["name"].as_str().unwrap().to_owned()).collect(), body["total"].as_i64().unwrap())
}

#[tokio::test]
async fn people_are_found_by_what_their_name_or_email_contains() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    for (name, email) in [
        ("Ann Smith", "a@example.com"),
        ("100% Bob", "b@example.com"),
        ("under_score", "c@example.com"),
        (r"back\slash", "d@example.com"),
        ("Dora", "SMITHY@example.com"),
        ("O'Hara \"x\"", "e@example.com"),
        ("王小明", "f@example.com"),
    ] {
        create(&world, &acme, name, email).await;
    }
    create(&world, &globex, "Another Smith", "a@example.com").await;
    for (search, found) in [
        ("smith", vec!["Ann Smith", "Dora"]),
        ("SMITH", vec!["Ann Smith", "Dora"]),
        ("n s", vec!["Ann Smith"]),
        ("%", vec!["100% Bob"]),
        ("0%", vec!["100% Bob"]),
        ("_", vec!["under_score"]),
        ("r_s", vec!["under_score"]),
        (r"\", vec![r"back\slash"]),
        (r"k\s", vec![r"back\slash"]),
        (r"\%", vec![]),
        ("a%h", vec![]),
        ("'", vec!["O'Hara \"x\""]),
        ("小", vec!["王小明"]),
        ("A@EXAMPLE", vec!["Ann Smith"]),
        ("nobody", vec![]),
        ("", vec!["Ann Smith", "100% Bob", "under_score", r"back\slash", "Dora", "O'Hara \"x\"", "王小明"]),
    ] {
        let query = format!("businessId={}&search={}", acme.id, encoded(search));
        let total = i64::try_from(found.len()).unwrap();
        assert_eq!(
            listed(&world.admin, &query).await,
            (found.iter().map(ToString::to_string).collect(), total),
            "{search}"
        );
    }
}

#[tokio::test]
async fn people_are_found_in_whatever_case_whatever_the_letters() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    for (n, name) in ["Éclair", "ΣΩΚΡΆΤΗΣ", "Жанна"].into_iter().enumerate() {
        create(&world, &acme, name, &format!("{n}@example.com")).await;
    }
    for (search, found) in
        [("éclair", "Éclair"), ("ÉCLAIR", "Éclair"), ("ωκρ", "ΣΩΚΡΆΤΗΣ"), ("жанна", "Жанна"), ("ЖАННА", "Жанна")]
    {
        let query = format!("businessId={}&search={}", acme.id, encoded(search));
        assert_eq!(listed(&world.admin, &query).await, (vec![found.to_owned()], 1), "{search}");
    }
}

#[tokio::test]
async fn people_are_listed_by_role_status_and_all_of_it_together_with_the_true_total() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    let ann = admin(&world, &acme, "Ann", "BUSINESS_ADMIN").await;
    world.create(&acme, "Otto", "BUSINESS_AUDITOR").await;
    for n in 0..4 {
        let id = world.create(&acme, &format!("User{n}"), "BUSINESS_USER").await;
        world.create(&globex, &format!("User{n}"), "BUSINESS_USER").await;
        if n < 2 {
            world.admin.post(&format!("{}/suspend", path_of(&id)), json!(null)).await.expect(200);
        }
    }
    for (query, names, total) in [
        ("role=BUSINESS_ADMIN", vec!["Ann"], 1),
        ("role=BUSINESS_AUDITOR", vec!["Otto"], 1),
        ("role=BUSINESS_USER", vec!["User0", "User1", "User2", "User3"], 4),
        ("role=SYSTEM_SUPER_ADMIN", vec![], 0),
        ("status=suspended", vec!["User0", "User1"], 2),
        ("status=active", vec!["Ann", "Otto", "User2", "User3"], 4),
        ("status=active&role=BUSINESS_USER", vec!["User2", "User3"], 2),
        ("status=active&role=BUSINESS_USER&search=r3", vec!["User3"], 1),
        ("role=BUSINESS_USER&limit=3", vec!["User0", "User1", "User2"], 4),
        ("role=BUSINESS_USER&limit=3&page=2", vec!["User3"], 4),
        ("role=BUSINESS_USER&limit=3&page=3", vec![], 4),
        ("status=suspended&page=4294967295&limit=100", vec![], 2),
        ("search=nobody&page=2", vec![], 0),
    ] {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        // She sees her own people anyway.
        assert_eq!(listed(&ann, query).await, (names.clone(), total), "{query}");
        let query = format!("{query}&businessId={}", acme.id);
        assert_eq!(listed(&world.admin, &query).await, (names, total), "{query}");
    }
    assert_eq!(listed(&world.admin, "role=BUSINESS_USER&limit=1").await.1, 8);
    ann.get(&format!("{USERS}?businessId={}&role=BUSINESS_USER", globex.id)).await.expect_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn people_are_sorted_either_way_and_paged_in_that_order() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    // The names in one order, the emails in another, the accounts in a third; two are called the same.
    for (name, email) in
        [("bob", "Z@example.com"), ("Alice", "m@example.com"), ("Bob", "a@example.com"), ("carol", "B@example.com")]
    {
        create(&world, &acme, name, email).await;
    }
    for (sort, names) in [
        ("", ["bob", "Alice", "Bob", "carol"]),
        ("&sort=createdAt", ["bob", "Alice", "Bob", "carol"]),
        ("&sort=-createdAt", ["carol", "Bob", "Alice", "bob"]),
        ("&sort=name", ["Alice", "bob", "Bob", "carol"]),
        ("&sort=-name", ["carol", "Bob", "bob", "Alice"]),
        ("&sort=email", ["Bob", "carol", "Alice", "bob"]),
        ("&sort=-email", ["bob", "Alice", "carol", "Bob"]),
    ] {
        let query = format!("businessId={}{sort}", acme.id);
        assert_eq!(listed(&world.admin, &query).await.0, names, "{sort}");
        let mut paged = vec![];
        for page in 1..=4 {
            paged.extend(listed(&world.admin, &format!("{query}&limit=1&page={page}")).await.0);
        }
        assert_eq!(paged, names, "{sort}, page by page");
    }
}

#[tokio::test]
async fn lists_of_people_that_make_no_sense_are_refused_by_name() {
    let world = World::start().await;
    for (name, value) in [
        ("role", "KING".to_owned()),
        ("role", "business_user".to_owned()),
        ("role", String::new()),
        ("status", "gone".to_owned()),
        ("status", String::new()),
        ("sort", "age".to_owned()),
        ("sort", "--name".to_owned()),
        ("sort", "-".to_owned()),
        ("sort", String::new()),
        ("search", "x".repeat(201)),
        ("search", "%00".to_owned()),
    ] {
        let error = world.admin.get(&format!("{USERS}?{name}={value}")).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains(name), "{name}={value} should be named: {error}");
    }
    let longest = encoded(&"ü".repeat(200));
    world.admin.get(&format!("{USERS}?search={longest}")).await.expect(200);
}

#[tokio::test]
async fn whoever_changes_their_own_name_is_called_that_everywhere() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    alice.send_text(&bob, "before").await.expect(201);
    let other_node = Server::start(&world.database).await;
    let bobs_elsewhere = bob.at(&other_node.url);
    let mut bobs = [PlainSocket::connect(&bob, None).await, PlainSocket::connect(&bobs_elsewhere, None).await];
    let picture = "https://example.com/alice.png";
    let change_me = async |changes: Value| alice.request(Method::PATCH, "/api/messenger/me", Some(changes), &[]).await;
    let changed = change_me(json!({"name": "Alice Cooper", "avatar": picture})).await.expect(200);
    let position = changed.headers["x-position"].to_str().unwrap();
    let me = changed.body["user"].clone();
    assert_eq!((&me["name"], &me["avatar"], &me["id"]), (&json!("Alice Cooper"), &json!(picture), &json!(alice.id)));
    assert_eq!(alice.get("/api/messenger/me").await.expect(200).body["user"], me);

    for reader in [&bob, &bobs_elsewhere] {
        let get = async |path: &str| {
            reader.request(Method::GET, path, None, &[("X-Min-Position", position)]).await.expect(200).body
        };
        let colleagues = get("/api/messenger/users").await;
        let colleague = colleagues["users"].as_array().unwrap().iter().find(|user| user["id"] == *alice.id).unwrap();
        let conversations = get("/api/messenger/conversations").await;
        for shown in [colleague, &conversations["conversations"][0]["user"]] {
            assert_eq!((&shown["name"], &shown["avatar"]), (&me["name"], &me["avatar"]));
        }
    }
    let user = world.admin.get(&path_of(&alice.id)).await.expect(200).body["user"].clone();
    assert_eq!((&user["name"], &user["avatar"]), (&me["name"], &me["avatar"]));
    alice.send_text(&bob, "after").await.expect(201);
    for socket in &mut bobs {
        let received = socket.expect("message:received").await.data;
        assert_eq!((&received["senderName"], &received["senderAvatar"]), (&me["name"], &me["avatar"]));
    }
    // What was sent before is shown with the name of now, too.
    let missed = bob.get("/api/messenger/events/since?position=0").await.expect(200).body["events"][0].clone();
    assert_eq!((&missed["data"]["content"], &missed["data"]["senderName"]), (&json!("before"), &me["name"]));

    let taken_away = change_me(json!({"avatar": null})).await.expect(200).body["user"].clone();
    assert_eq!((&taken_away["name"], &taken_away["avatar"]), (&me["name"], &Value::Null));
    let before = world.all_events().await;
    assert_eq!(change_me(json!({})).await.expect(200).body["user"], taken_away);
    for (changes, field) in [
        (json!({"name": ""}), "name"),
        (json!({"avatar": "nowhere"}), "avatar"),
        (json!({"role": "BUSINESS_ADMIN"}), "role"),
        (json!({"email": "other@example.com"}), "email"),
    ] {
        let error = change_me(changes).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains(field), "{error}");
    }
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn who_is_no_administrator_any_more_is_refused_on_every_node_and_never_logged_out() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let other_node = Server::start(&world.database).await;
    let rounds = if full_scale() { 50 } else { 5 };
    let ann = admin(&world, &acme, "Ann", "BUSINESS_ADMIN").await;
    let system_admin = admin(&world, &world.admin.business, "Sue", "SYSTEM_SUPER_ADMIN").await;
    let jane = world.create(&acme, "Jane", "BUSINESS_USER").await;
    let mut slowest = Duration::ZERO;
    for n in 0..rounds {
        for (person, role, demoted) in [
            (&ann, "BUSINESS_ADMIN", "BUSINESS_AUDITOR"),
            (&ann, "BUSINESS_ADMIN", "BUSINESS_USER"),
            (&system_admin, "SYSTEM_SUPER_ADMIN", "SYSTEM_AUDITOR"),
        ] {
            let devices = [person.clone(), person.at(&other_node.url)];
            // Remembered as an administrator everywhere. Another node learns a moment later that they are one again.
            for device in &devices {
                let deadline = tokio::time::Instant::now() + DEADLINE;
                loop {
                    let renamed = change(device, &jane, json!({"name": format!("Jane {n}")})).await;
                    if renamed.status == 200 {
                        break;
                    }
                    renamed.expect_error(403, "FORBIDDEN");
                    assert!(tokio::time::Instant::now() < deadline, "an administrator again");
                }
            }
            change(&world.admin, &person.id, json!({"role": demoted})).await.expect(200);
            let since = tokio::time::Instant::now();
            change(&devices[0], &jane, json!({"name": "Jane by nobody"})).await.expect_error(403, "FORBIDDEN");
            // The other node learns a moment later.
            loop {
                let renamed = change(&devices[1], &jane, json!({"name": "Jane by nobody"})).await;
                if renamed.status != 200 {
                    renamed.expect_error(403, "FORBIDDEN");
                    break;
                }
                slowest = slowest.max(since.elapsed());
                assert!(since.elapsed() < DEADLINE, "an administrator no more");
            }
            for device in &devices {
                let reads = device.get(&path_of(&jane)).await;
                assert_eq!(reads.status, if demoted == "BUSINESS_USER" { 403 } else { 200 });
            }
            change(&world.admin, &person.id, json!({"role": role})).await.expect(200);
        }
    }
    eprintln!("the other node did what somebody may not for {slowest:?} at most");
}

#[tokio::test]
async fn the_last_super_admin_stays_one() {
    let world = World::start().await;
    let system = world.admin.business.clone();
    let suspended = world.create(&system, "Sue", "SYSTEM_SUPER_ADMIN").await;
    world.create(&system, "Audrey", "SYSTEM_AUDITOR").await;
    world.admin.post(&format!("{}/suspend", path_of(&suspended)), json!(null)).await.expect(200);
    let root = world.admin.id.clone();
    let before = world.all_events().await;
    change(&world.admin, &root, json!({"role": "SYSTEM_AUDITOR"})).await.expect_error(409, "CONFLICT");
    change(&world.admin, &root, json!({"role": "SYSTEM_AUDITOR", "name": "Nobody"}))
        .await
        .expect_error(409, "CONFLICT");
    world.admin.post(&format!("{}/suspend", path_of(&root)), json!(null)).await.expect_error(409, "CONFLICT");
    assert_eq!(world.all_events().await, before);
    // Whoever is one already may be told so.
    change(&world.admin, &root, json!({"role": "SYSTEM_SUPER_ADMIN", "name": "Root"})).await.expect(200);

    let tess = admin(&world, &system, "Tess", "SYSTEM_SUPER_ADMIN").await;
    change(&world.admin, &root, json!({"role": "SYSTEM_AUDITOR"})).await.expect(200);
    world.admin.post("/api/admin/businesses", json!({"name": "Mine"})).await.expect_error(403, "FORBIDDEN");
    change(&tess, &tess.id, json!({"role": "SYSTEM_AUDITOR"})).await.expect_error(409, "CONFLICT");
    // Those who are no active super admins may go.
    for id in [&suspended, &root] {
        tess.post(&format!("{}/suspend", path_of(id)), json!(null)).await.expect(200);
        change(&tess, id, json!({"role": "SYSTEM_AUDITOR"})).await.expect(200);
    }
    assert_eq!(listed(&tess, "role=SYSTEM_SUPER_ADMIN").await, (vec!["Tess".to_owned()], 1));
}

#[tokio::test]
async fn of_two_super_admins_who_remove_each_other_at_once_exactly_one_is_left() {
    let world = World::start().await;
    let other_node = Server::start(&world.database).await;
    let system = world.admin.business.clone();
    let rounds = if full_scale() { 100 } else { 10 };
    let mut last = world.admin.clone();
    for n in 0..rounds {
        // Somebody new each time: whoever was let go a moment ago would lose before it begins.
        let body = json!({
            "email": format!("rival{n}@example.com"), "name": "Rival", "password": PASSWORD, "role": "SYSTEM_SUPER_ADMIN",
            "businessId": system.id,
        });
        last.post(USERS, body).await.expect(201);
        let rival = Person::log_in_as_admin_of(&last.url, &system, &format!("rival{n}@example.com"), PASSWORD).await;
        let (one, other) = (last.at(&world.server.url), rival.at(&other_node.url));
        let remove = async |by: &Person, whom: &Person, suspends: bool| {
            if suspends {
                by.post(&format!("{}/suspend", path_of(&whom.id)), json!(null)).await
            } else {
                change(by, &whom.id, json!({"role": "SYSTEM_AUDITOR"})).await
            }
        };
        // Known on both nodes, so that neither is slower for having to look.
        for person in [&one, &other] {
            person.get(&path_of(&last.id)).await.expect(200);
        }
        let (by_one, by_other) = tokio::join!(remove(&one, &other, n % 2 == 0), remove(&other, &one, n % 4 < 2));
        let statuses = (by_one.status.as_u16(), by_other.status.as_u16());
        assert!(
            matches!(statuses, (200, 401 | 403 | 409) | (401 | 403 | 409, 200)),
            "round {n}: {} and {}",
            by_one.body,
            by_other.body
        );
        let (winner, loser, removal, was_suspended) = if by_one.status == 200 {
            (&one, &other, &by_one, n % 2 == 0)
        } else {
            (&other, &one, &by_other, n % 4 < 2)
        };
        let position = removal.headers["x-position"].to_str().unwrap();
        for url in [&world.server.url, &other_node.url] {
            let path = format!("{USERS}?role=SYSTEM_SUPER_ADMIN&status=active");
            let left = winner.at(url).request(Method::GET, &path, None, &[("X-Min-Position", position)]).await;
            let left = left.expect(200).body;
            assert_eq!((&left["total"], &left["users"][0]["id"]), (&json!(1), &json!(winner.id)), "round {n}");
        }
        let refused = loser.post("/api/admin/businesses", json!({"name": "Mine"})).await;
        assert_eq!(refused.status, if was_suspended { 401 } else { 403 }, "round {n}: {}", refused.body);
        last = winner.clone();
    }
}
