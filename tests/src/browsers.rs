//! Real browsers: what a client of the web meets.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Chromium, DEADLINE, Database, Person, Server, Settings, World, anonymous, assert_is_standard_error, node,
};

/// Runs a script of the tests, which drives browsers. What it has found out.
pub(crate) async fn in_a_browser(_: &Chromium, script: &str, args: Value) -> Value {
    let script = node()
        .args([script, &args.to_string()])
        .env("CHROMIUM", Chromium::PROGRAM)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Each step of it has a deadline of its own.
    let output =
        tokio::time::timeout(DEADLINE * 4, script.wait_with_output()).await.expect("the browser is done").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Somebody, as scripts take them.
pub(crate) fn for_scripts(person: &Person) -> Value {
    json!({"id": person.id, "token": person.token})
}

#[tokio::test]
async fn two_browsers_call_each_other_and_every_tab_rings_until_one_answers() {
    let Some(chromium) = Chromium::find() else { return };
    let database = Database::create().await;
    // Nobody is there, and nobody is needed: the browsers are on one machine.
    let env = vec![
        ("SWITCHBOARD_STUN_URLS", "stun:127.0.0.1:9".to_owned()),
        ("SWITCHBOARD_TURN_URLS", "turn:127.0.0.1:9?transport=udp".to_owned()),
        ("SWITCHBOARD_TURN_SECRET", "north".to_owned()),
    ];
    let server = Server::start_with(&database, Settings { env, ..Settings::default() }).await;
    let world = World::around(database, server).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);

    let args = json!({
        "url": world.server.url, "alice": for_scripts(&alice), "bob": for_scripts(&bob), "iceTransportPolicy": "all",
    });
    let found = in_a_browser(&chromium, "call.mjs", args).await;

    let call_id = &found["callId"];
    assert_eq!(found["started"]["status"], 201, "{found}");
    for ring in found["rings"].as_array().unwrap() {
        assert_eq!((&ring["callId"], &ring["callerName"]), (call_id, &json!("Alice")), "both tabs ring");
    }
    assert_eq!((&found["accepted"]["success"], &found["accepted"]["status"]), (&json!(true), &json!("active")));
    for told in [&found["stopped"], &found["toldToAlice"]] {
        assert_eq!((&told["callId"], &told["by"]), (call_id, &json!(bob.id)));
    }
    for (name, person) in [("alice", &alice), ("bob", &bob)] {
        let servers = &found["iceServers"][name]["iceServers"];
        assert_eq!(servers[0]["urls"], json!(["stun:127.0.0.1:9"]), "{found}");
        assert!(servers[1]["username"].as_str().unwrap().ends_with(&format!(":{}", person.id)), "{servers}");
    }
    assert_eq!(found["refusedSignals"], json!([]));
    assert_eq!(found["channels"], json!(["open", "open"]));
    assert_eq!(found["heardByBob"], "Hello Bob, from Alice");
    assert_eq!(found["heardByAlice"], "Hello Alice, from Bob");
    assert_eq!(found["ended"]["status"], "ended", "{found}");
    let told = found["toldToEnd"].as_array().unwrap();
    assert_eq!(told.len(), 3, "Alice, and Bob in both tabs");
    for told in told {
        let said = (&told["callId"], &told["by"], &told["reason"]);
        assert_eq!(said, (call_id, &json!(alice.id), &json!("hung_up")));
    }
    assert_eq!(found["transports"], json!(["websocket", "websocket", "websocket"]), "all were upgraded");

    for person in [&alice, &bob] {
        let path = format!("/api/messenger/calls/{}", call_id.as_str().unwrap());
        let call = person.get(&path).await.expect(200).body["call"].clone();
        assert_eq!((&call["status"], &call["endedBy"]), (&json!("ended"), &json!(alice.id)));
    }
}

#[tokio::test]
async fn the_explorer_shows_every_operation_and_asks_nobody_else() {
    let Some(chromium) = Chromium::find() else { return };
    let database = Database::create().await;
    let server = Server::start(&database).await;
    let document = anonymous(&server.url, Method::GET, "/openapi.json", None).await.expect(200).body;
    let mut expected: Vec<String> = vec![];
    for (path, operations) in document["paths"].as_object().unwrap() {
        expected.extend(operations.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    expected.sort();

    let found = in_a_browser(&chromium, "docs.mjs", json!({"url": server.url})).await;
    let mut shown: Vec<&str> =
        found["operations"].as_array().unwrap().iter().map(|operation| operation.as_str().unwrap()).collect();
    shown.sort_unstable();
    assert_eq!(shown, expected);
    assert_eq!(found["foreign"], json!([]), "it works where there is no internet");
    assert_eq!(found["errors"], json!([]));
}

#[tokio::test]
async fn a_page_opens_the_plain_streams_with_tickets_that_are_good_once() {
    let Some(chromium) = Chromium::find() else { return };
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let args = json!({"url": world.server.url, "alice": for_scripts(&alice), "bob": for_scripts(&bob)});
    let found = in_a_browser(&chromium, "streams.mjs", args).await;

    assert_eq!(found["opened"], json!(["open", "open"]));
    let message = &found["sent"]["body"]["message"];
    for (stream, position) in [
        ("socket", found["received"]["socket"]["position"].to_string()),
        ("stream", found["received"]["stream"]["lastEventId"].as_str().unwrap().to_owned()),
    ] {
        let data = &found["received"][stream]["data"];
        assert_eq!((&data["id"], &data["content"]), (&message["id"], &json!("Hello, both of you!")), "{stream}");
        assert_eq!(position, message["position"].to_string(), "{stream}");
    }
    assert_eq!((&found["ack"]["id"], &found["ack"]["ack"]["success"]), (&json!(1), &json!(true)), "{found}");
    for used in ["ofSocket", "ofStream", "madeUp"] {
        assert_eq!(found["again"][used], json!(["refused", "refused"]), "{used}");
    }
    assert_eq!(found["refusal"]["status"], 401);
    assert_is_standard_error(&found["refusal"]["body"], 401, "UNAUTHORIZED");
    assert_eq!(found["stillOpen"], json!([true, true]), "who has been let in isn't disturbed");
}
