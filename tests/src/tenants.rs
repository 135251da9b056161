//! Who may do what, and what nobody of another tenant may.

mod cast;
mod live_streams;
mod operations;
mod out;
mod routes;
mod table;

use serde_json::json;

use self::cast::Cast;
use crate::support::{Business, PASSWORD, Person};

#[tokio::test]
async fn ids_of_another_tenant_answer_exactly_as_ids_that_do_not_exist() {
    let cast = Cast::assemble().await;
    let nowhere = "01900000-0000-7000-8000-000000000000";
    for (person, path, real) in [
        (&cast.foreign_user, "/api/messenger/messages/", &cast.message),
        (&cast.foreign_user, "/api/messenger/calls/", &cast.call),
        (&cast.foreign_user, "/api/messenger/files/", &cast.file),
        (&cast.foreign_admin, "/api/admin/users/", &cast.victim),
        (&cast.foreign_admin, "/api/admin/businesses/", &cast.acme.id),
        (&cast.foreign_admin, "/api/admin/users?businessId=", &cast.acme.id),
    ] {
        let foreign = person.get(&format!("{path}{real}")).await;
        for missing in [nowhere, "nonsense"] {
            let missing = person.get(&format!("{path}{missing}")).await;
            assert_eq!((foreign.status, &foreign.body), (missing.status, &missing.body));
        }
    }
    let send = async |to: &str| {
        cast.foreign_user.post("/api/messenger/messages", json!({"recipientId": to, "content": "x"})).await
    };
    assert_eq!(send(&cast.victim).await.body, send(nowhere).await.body);
    let listed = cast.foreign_admin.get("/api/admin/users").await.expect(200);
    assert!(
        listed.body["users"]
            .as_array()
            .unwrap()
            .iter()
            .all(|user| user["businessId"] == *cast.foreign_admin.business.id)
    );
    let businesses = cast.foreign_admin.get("/api/admin/businesses").await.expect(200);
    assert_eq!(businesses.body["total"], 1);
}

#[tokio::test]
async fn nobody_creates_accounts_above_their_own() {
    let cast = Cast::assemble().await;
    let create = async |person: &Person, role: &str, business: &Business| {
        let email = format!("{}@example.com", uuid::Uuid::now_v7());
        let body =
            json!({"email": email, "name": "New", "password": PASSWORD, "role": role, "businessId": business.id});
        person.post("/api/admin/users", body).await.status.as_u16()
    };
    for role in ["SYSTEM_SUPER_ADMIN", "SYSTEM_AUDITOR"] {
        assert_eq!(create(&cast.admin, role, &cast.acme).await, 403);
        assert_eq!(create(&cast.admin, role, &cast.world.admin.business).await, 404);
        assert_eq!(create(&cast.world.admin, role, &cast.acme).await, 422, "system roles are for the system business");
    }
    assert_eq!(create(&cast.world.admin, "BUSINESS_USER", &cast.world.admin.business).await, 422);
    assert_eq!(create(&cast.admin, "BUSINESS_ADMIN", &cast.acme).await, 201);
}
