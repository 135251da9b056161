//! Files are for those who uploaded them and for those they were sent to.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::scene::{FILES, PNG, Scene, download, id_of, send_files, status_for, upload, uploaded};
use crate::support::{DEADLINE, Person, Server, Settings, Socket, Transports, anonymous};

const MESSAGES: &str = "/api/messenger/messages";

/// Checks that somebody is told of a file what they are told of one that there never was.
async fn knows_nothing_of(person: &Person, id: &str) {
    let unknown = person.get(&format!("{FILES}/{}", Uuid::now_v7())).await;
    unknown.clone().expect_error(404, "NOT_FOUND");
    for headers in [&[][..], &[("Range", "bytes=0-0")], &[("Range", "bytes=999999999-")], &[("If-None-Match", "*")]] {
        let answer = person.request(Method::GET, &format!("{FILES}/{id}"), None, headers).await;
        assert_eq!((answer.status, answer.body), (unknown.status, unknown.body.clone()), "{headers:?}");
        for name in ["etag", "content-range", "accept-ranges", "content-disposition"] {
            assert!(answer.headers.get(name).is_none(), "{name}");
        }
    }
}

async fn delete(person: &Person, message: &str) {
    person.request(Method::DELETE, &format!("{MESSAGES}/{message}"), None, &[]).await.expect(200);
}

#[tokio::test]
async fn a_file_is_for_its_uploader_and_the_parties_of_its_messages_and_does_not_exist_for_anybody_else() {
    let scene = Scene::start().await;
    let carol = scene.world.person(&scene.bob.business, "Carol").await;
    scene.world.create(&scene.bob.business, "Boss", "BUSINESS_ADMIN").await;
    let boss = scene.world.log_in(&scene.bob.business, "Boss").await;
    let globex = scene.world.business("Globex").await;
    let mallory = scene.world.person(&globex, "Mallory").await;
    let id = upload(&scene.alice, b"between the two of us").await;
    assert_eq!(status_for(&scene.alice, &id).await, 200);
    for other in [&scene.bob, &carol, &boss, &mallory] {
        knows_nothing_of(other, &id).await;
    }
    let sent = send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    assert_eq!(download(&scene.bob, &id, &[]).await.bytes, b"between the two of us");
    assert_eq!(status_for(&scene.alice, &id).await, 200);
    for other in [&carol, &boss, &mallory] {
        knows_nothing_of(other, &id).await;
    }
    for nobody in ["nonsense", "", "../x", "%2e%2e%2f", &id[1..], sent.body["message"]["id"].as_str().unwrap()] {
        scene.alice.get(&format!("{FILES}/{nobody}")).await.expect_error(404, "NOT_FOUND");
    }
    anonymous(&scene.world.server.url, Method::GET, &format!("{FILES}/{id}"), None)
        .await
        .expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn who_got_a_file_has_it_no_more_once_its_message_is_deleted_and_its_uploader_still_has() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"oops").await;
    let sent = send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    let message = sent.body["message"]["id"].as_str().unwrap();
    assert_eq!(status_for(&scene.bob, &id).await, 200);
    delete(&scene.alice, message).await;
    knows_nothing_of(&scene.bob, &id).await;
    assert_eq!(download(&scene.alice, &id, &[]).await.bytes, b"oops");
    assert_eq!(scene.world.events("FileDetached").await, 1);
    let seen = scene.bob.get(&format!("{MESSAGES}/{message}")).await.expect(200);
    assert_eq!((&seen.body["message"]["files"], &seen.body["message"]["attachments"]), (&json!([]), &json!([])));
    send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    assert_eq!(status_for(&scene.bob, &id).await, 200, "it can be sent again");
}

#[tokio::test]
async fn a_file_that_goes_with_two_messages_stays_with_the_other_one() {
    let scene = Scene::start().await;
    let carol = scene.world.person(&scene.bob.business, "Carol").await;
    let id = upload(&scene.alice, b"for both").await;
    let to_bob = send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    send_files(&scene.alice, &carol, &[&id]).await.expect(201);
    assert_eq!((status_for(&scene.bob, &id).await, status_for(&carol, &id).await), (200, 200));
    delete(&scene.alice, to_bob.body["message"]["id"].as_str().unwrap()).await;
    assert_eq!((status_for(&scene.bob, &id).await, status_for(&carol, &id).await), (404, 200));
    assert_eq!(status_for(&scene.alice, &id).await, 200);
}

#[tokio::test]
async fn who_hears_of_a_file_at_one_node_has_it_there_whatever_that_node_remembers() {
    let scene = Scene::start().await;
    let settings = Settings { env: scene.env.clone(), ..Settings::default() };
    let other_node = Server::start_with(&scene.world.database, settings).await;
    let bob = scene.bob.at(&other_node.url);
    let mut phone = Socket::connect(&bob, Transports::WebSocket).await;
    for n in 0..30 {
        let id = upload(&scene.alice, format!("file {n}").as_bytes()).await;
        // From here on the other node remembers a file that isn't for Bob.
        assert_eq!(status_for(&bob, &id).await, 404);
        let sent = send_files(&scene.alice, &bob, &[&id]).await.expect(201);
        assert_eq!(phone.expect("message:received").await["attachments"], json!([id]));
        assert_eq!(status_for(&bob, &id).await, 200, "round {n}: it is in the message");
        delete(&scene.alice, sent.body["message"]["id"].as_str().unwrap()).await;
        phone.expect("message:deleted").await;
        // Taken from it a moment after it was deleted.
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while status_for(&bob, &id).await != 404 {
            assert!(tokio::time::Instant::now() < deadline, "round {n}: he still has it");
        }
    }
}

#[tokio::test]
async fn nobody_sends_a_file_that_they_have_not_uploaded() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"mine").await;
    let (own, unknown) = (upload(&scene.bob, b"his").await, Uuid::now_v7().to_string());
    send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    let before = scene.world.all_events().await;
    let answer = send_files(&scene.bob, &scene.alice, &[&unknown]).await;
    answer.clone().expect_error(404, "NOT_FOUND");
    // Bob has the file, and still it isn't his.
    for files in [[&id, &own], [&own, &id], [&own, &unknown]] {
        let files = files.map(String::as_str);
        let refused = send_files(&scene.bob, &scene.alice, &files).await;
        assert_eq!((refused.status, refused.body), (answer.status, answer.body.clone()));
    }
    send_files(&scene.bob, &scene.alice, &["nonsense"]).await.expect_error(404, "NOT_FOUND");
    assert_eq!(scene.world.all_events().await, before, "nothing is given to a message that isn't sent");
    assert_eq!(status_for(&scene.alice, &own).await, 404);
}

#[tokio::test]
async fn a_file_goes_with_a_message_once_however_its_id_is_spelt() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"once").await;
    let spellings = [id.clone(), id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), id.clone()];
    let spellings: Vec<&str> = spellings.iter().map(String::as_str).collect();
    let sent = send_files(&scene.alice, &scene.bob, &spellings).await.expect(201);
    assert_eq!(sent.body["message"]["attachments"], json!([id]));
    assert_eq!(sent.body["message"]["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn ten_files_go_with_a_message_and_no_more() {
    let scene = Scene::start().await;
    let mut files = vec![];
    for n in 0..11 {
        files.push(upload(&scene.alice, format!("file {n}").as_bytes()).await);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let before = scene.world.all_events().await;
    let error = send_files(&scene.alice, &scene.bob, &files).await.expect_error(422, "VALIDATION_ERROR");
    assert!(error.starts_with("attachments: "), "{error}");
    assert_eq!(scene.world.all_events().await, before);
    let sent = send_files(&scene.alice, &scene.bob, &files[..10]).await.expect(201);
    assert_eq!(sent.body["message"]["attachments"], json!(files[..10]));
    for id in &files[..10] {
        assert_eq!(status_for(&scene.bob, id).await, 200);
    }
    assert_eq!(status_for(&scene.bob, files[10]).await, 404);
}

#[tokio::test]
async fn a_message_says_everywhere_what_its_files_are() {
    let scene = Scene::start().await;
    let mut phone = Socket::connect(&scene.bob, Transports::WebSocket).await;
    let since = scene.bob.feed_position().await;
    let picture = uploaded(&scene.alice, "dot.png", "image/png", PNG).await;
    let notes = uploaded(&scene.alice, "notes.txt", "text/plain", b"notes").await;
    let (files, ids) = (json!([notes, picture]), [id_of(&notes), id_of(&picture)]);
    let sent = send_files(&scene.alice, &scene.bob, &ids.each_ref().map(String::as_str)).await.expect(201);
    let message = &sent.body["message"];
    let check = |place: &str, message: &Value| {
        assert_eq!((&message["files"], &message["attachments"]), (&files, &json!(ids)), "{place}: {message}");
    };
    check("the answer", message);
    check("message:received", &phone.expect("message:received").await);
    let min_position = sent.headers["x-position"].to_str().unwrap().to_owned();
    let headers = [("X-Min-Position", min_position.as_str())];
    let id = message["id"].as_str().unwrap();
    let conversation = message["conversationId"].as_str().unwrap();
    for person in [&scene.alice, &scene.bob] {
        let get = async |path: &str| person.request(Method::GET, path, None, &headers).await.expect(200).body;
        check("GET", &get(&format!("{MESSAGES}/{id}")).await["message"]);
        let history = get(&format!("/api/messenger/conversations/{conversation}/messages")).await;
        check("the history", &history["messages"][0]);
        let conversations = get("/api/messenger/conversations").await;
        check("the conversations", &conversations["conversations"][0]["lastMessage"]);
    }
    let missed = scene.bob.get(&format!("/api/messenger/events/since?position={since}")).await.expect(200);
    let events = missed.body["events"].as_array().unwrap();
    let event = events.iter().find(|event| event["type"] == "message:received").unwrap_or_else(|| panic!("{missed:?}"));
    check("events/since", &event["data"]);
}

#[tokio::test]
async fn a_retry_of_a_message_with_files_is_the_same_message() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"once").await;
    let body = json!({"recipientId": scene.bob.id, "content": "", "attachments": [id], "clientMessageId": "once"});
    let first = scene.alice.post(MESSAGES, body.clone()).await.expect(201);
    let events = scene.world.all_events().await;
    let second = scene.alice.post(MESSAGES, body).await.expect(201);
    assert_eq!(first.body, second.body);
    assert_eq!(scene.world.all_events().await, events, "it is given once");
}

#[tokio::test]
async fn a_retry_after_the_message_was_deleted_does_not_give_its_files_back() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"oops").await;
    let body = json!({"recipientId": scene.bob.id, "content": "", "attachments": [id], "clientMessageId": "oops"});
    let sent = scene.alice.post(MESSAGES, body.clone()).await.expect(201);
    delete(&scene.alice, sent.body["message"]["id"].as_str().unwrap()).await;
    knows_nothing_of(&scene.bob, &id).await;
    let events = scene.world.all_events().await;
    scene.alice.post(MESSAGES, body).await;
    knows_nothing_of(&scene.bob, &id).await;
    assert_eq!(scene.world.all_events().await, events, "nothing happens");
}

#[tokio::test]
async fn a_key_that_was_used_for_another_message_gives_files_to_nobody() {
    let scene = Scene::start().await;
    let carol = scene.world.person(&scene.bob.business, "Carol").await;
    let id = upload(&scene.alice, b"not for her").await;
    let first = json!({"recipientId": scene.bob.id, "content": "hello", "clientMessageId": "key"});
    scene.alice.post(MESSAGES, first).await.expect(201);
    let events = scene.world.all_events().await;
    let other = json!({"recipientId": carol.id, "content": "", "attachments": [id], "clientMessageId": "key"});
    scene.alice.post(MESSAGES, other).await.expect_error(409, "CONFLICT");
    knows_nothing_of(&carol, &id).await;
    assert_eq!(scene.world.all_events().await, events, "nothing happens");
}
