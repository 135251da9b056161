//! The document of the live streams.

use std::collections::BTreeSet;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{PlainSocket, World, anonymous, node};

async fn document(world: &World) -> Value {
    anonymous(&world.server.url, Method::GET, "/asyncapi.json", None).await.expect(200).body
}

/// The names of what is told, or heard.
fn names(document: &Value, kind: &str) -> BTreeSet<String> {
    let messages = document["components"]["messages"].as_object().unwrap().iter();
    let those = messages.filter(|(id, _)| id.starts_with(kind));
    those.map(|(_, message)| message["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_is_valid_and_there_is_a_page_that_shows_it() {
    let world = World::start().await;
    let document = document(&world).await;
    let mut parser = node().arg("asyncapi.mjs").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(document.to_string().as_bytes()).await.unwrap();
    let output = parser.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.trim(), "valid, with nothing to remark");
    let page = anonymous(&world.server.url, Method::GET, "/docs/events", None).await.expect(200);
    assert!(page.body.as_str().unwrap().contains("/asyncapi.json"));
}

#[tokio::test]
async fn everything_that_it_says_clients_may_say_is_heard() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let mut socket = PlainSocket::connect(&alice, None).await;
    for name in names(&document(&world).await, "heard") {
        let ack = socket.emit(&name, json!({})).await;
        let error = ack["error"].as_str().unwrap();
        assert!(error.contains("missing field"), "{name}: {error}");
    }
    let ack = socket.emit("no:such", json!({})).await;
    assert_eq!(ack["error"], "there is no event no:such");
}
