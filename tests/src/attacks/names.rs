//! Names that don't show, or show something else.

use reqwest::Method;
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn what_people_see_as_a_name_shows_and_what_pages_load_as_a_picture_is_an_address() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let change = async |body| alice.request(Method::PATCH, "/api/messenger/me", Some(body), &[]).await;
    let create = async |email: &str, name: &str| {
        let body = json!({
            "email": email, "name": name, "password": crate::support::PASSWORD, "role": "BUSINESS_USER",
            "businessId": alice.business.id,
        });
        world.admin.post("/api/admin/users", body).await
    };
    for name in ["\u{200b}", "\u{3164}", "\u{2800}", "\u{ad}", "\u{feff}", "Ann\u{202e}", "\u{2067}Ann"] {
        for answer in [
            change(json!({"name": name})).await,
            create("new@example.com", name).await,
            world.admin.post("/api/admin/businesses", json!({"name": name})).await,
        ] {
            let error = answer.expect_error(422, "VALIDATION_ERROR");
            assert!(error.starts_with("name: "), "{error}");
        }
    }
    for email in ["a\u{200b}@example.com", "a@exam\u{2060}ple.com"] {
        assert!(create(email, "New").await.expect_error(422, "VALIDATION_ERROR").starts_with("email: "));
    }
    for avatar in
        ["http://example.com/a.png", "//host/x", "/a.png", "https://user:secret@example.com/", "javascript:alert(1)"]
    {
        let error = change(json!({"avatar": avatar})).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.starts_with("avatar: "), "{error}");
    }
    let changed = change(json!({"avatar": "https://x/\"><script>"})).await.expect(200);
    assert_eq!(changed.body["user"]["avatar"], "https://x/%22%3E%3Cscript%3E");
}
