//! The socket code of the promised API, as it was published.

use serde_json::json;

use crate::support::{World, node};

#[tokio::test]
async fn the_published_code_works_on_every_transport() {
    let world = World::with(vec![("SWITCHBOARD_PRESENCE_GRACE", "200ms".to_owned())]).await;
    for (n, transports) in
        [json!(["polling"]), json!(["websocket"]), json!(["polling", "websocket"])].iter().enumerate()
    {
        let business = world.business(&format!("Acme {n}")).await;
        let (alice, bob) = (world.person(&business, "Alice").await, world.person(&business, "Bob").await);
        let person = |person: &crate::support::Person| json!({"id": person.id, "token": person.token}).to_string();
        let output = node()
            .args(["seed.mjs", &world.server.url, &transports.to_string(), &person(&alice), &person(&bob)])
            .output();
        let output = tokio::time::timeout(crate::support::DEADLINE, output).await.expect("it ends").unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "over {transports}: {said} {complained}");
        assert!(said.contains("call:incoming"), "{said}");
    }
}
