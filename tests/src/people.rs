//! Creating people, at the same time and in spite of crashes.

use serde_json::json;
use uuid::Uuid;

use crate::support::{PASSWORD, Server, World, full_scale};

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
    bob.send_text(&alice, "thanks").await.expect(201);
    let own = format!("/api/admin/users/{}/suspend", world.admin.id);
    world.admin.post(&own, json!(null)).await.expect_error(409, "CONFLICT");
}
