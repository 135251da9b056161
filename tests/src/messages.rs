//! What becomes of messages once they are sent: they are edited, deleted and replied to, and everybody concerned gets to know.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Business, DEADLINE, PASSWORD, Person, PlainSocket, World};

const MESSAGES: &str = "/api/messenger/messages";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn path_of(message: &Value) -> String {
    format!("{MESSAGES}/{}", text(&message["id"]))
}

async fn sent(from: &Person, to: &Person, content: &str) -> Value {
    from.send_text(to, content).await.expect(201).body["message"].clone()
}

async fn edit(person: &Person, message: &Value, content: &str) -> Answer {
    person.request(Method::PATCH, &path_of(message), Some(json!({"content": content})), &[]).await
}

async fn delete(person: &Person, message: &Value) -> Answer {
    person.request(Method::DELETE, &path_of(message), None, &[]).await
}

/// Deletes a message at the admin API.
async fn delete_as_admin(admin: &Person, message: &Value, query: &str) -> Answer {
    let path = format!("/api/admin/messages/{}{query}", text(&message["id"]));
    admin.request(Method::DELETE, &path, None, &[]).await
}

async fn got(person: &Person, message: &Value) -> Value {
    person.get(&path_of(message)).await.expect(200).body["message"].clone()
}

async fn history(person: &Person, message: &Value) -> Vec<Value> {
    let path = format!("/api/messenger/conversations/{}/messages", text(&message["conversationId"]));
    person.get(&path).await.expect(200).body["messages"].as_array().unwrap().clone()
}

/// Creates somebody of this role, and logs them in at the admin API.
async fn admin(world: &World, business: &Business, name: &str, role: &str) -> Person {
    world.create(business, name, role).await;
    Person::log_in_as_admin(&world.server.url, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
}

/// What the log knows of a message, the oldest first.
async fn log_of(world: &World, message: &Value) -> Vec<(String, Value)> {
    let pool = world.database.pool().await;
    let events =
        sqlx::query_as("SELECT event_type, data::jsonb FROM log_readable WHERE stream = $1 ORDER BY stream_version");
    let events = events.bind(format!("message-{}", text(&message["id"]))).fetch_all(&pool).await.unwrap();
    pool.close().await;
    events
}

/// What has happened to somebody since a position.
async fn since(person: &Person, position: u64) -> Vec<Value> {
    let path = format!("/api/messenger/events/since?position={position}&limit=1000");
    person.get(&path).await.expect(200).body["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_sender_edits_a_message_and_both_read_it_as_it_is_now() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let message = sent(&alice, &bob, "helo").await;
    let edited = edit(&alice, &message, "hello").await.expect(200).body["message"].clone();
    assert_eq!((&edited["content"], &edited["edited"]), (&json!("hello"), &json!(true)));
    assert!(text(&edited["editedAt"]).ends_with('Z'));
    for field in ["id", "timestamp", "position", "type", "senderId", "recipientId", "conversationId", "replyTo"] {
        assert_eq!(edited[field], message[field], "{field} stays");
    }
    for reader in [&alice, &bob] {
        assert_eq!(got(reader, &message).await, edited);
        assert_eq!(history(reader, &message).await, std::slice::from_ref(&edited));
    }
    let again = edit(&alice, &message, "hello, Bob").await.expect(200).body["message"].clone();
    assert_eq!((&again["content"], &again["edited"]), (&json!("hello, Bob"), &json!(true)));
    assert_eq!(world.events("MessageEdited").await, 2);
}

#[tokio::test]
async fn what_a_message_said_before_stays_in_the_log() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let message = sent(&alice, &bob, "first").await;
    edit(&alice, &message, "second").await.expect(200);
    edit(&alice, &message, "third").await.expect(200);
    delete(&alice, &message).await.expect(200);
    let log = log_of(&world, &message).await;
    let names: Vec<&str> = log.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["MessageSent", "MessageEdited", "MessageEdited", "MessageDeleted"]);
    let contents: Vec<&Value> = log.iter().map(|(_, data)| &data["content"]["value"]).collect();
    assert_eq!(contents, [&json!("first"), &json!("second"), &json!("third"), &Value::Null]);
}

#[tokio::test]
async fn the_same_text_again_is_no_edit() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let message = sent(&alice, &bob, "hello").await;
    assert_eq!(edit(&alice, &message, "hello").await.expect(200).body["message"], message);
    assert_eq!(world.events("MessageEdited").await, 0);
    let edited = edit(&alice, &message, "good bye").await.expect(200).body;
    assert_eq!(edit(&alice, &message, "good bye").await.expect(200).body, edited);
    assert_eq!(world.events("MessageEdited").await, 1);
}

#[tokio::test]
async fn an_edit_that_may_not_be_changes_nothing() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    world.create(&alice.business, "Ann", "BUSINESS_ADMIN").await;
    let ann = world.log_in(&alice.business, "Ann").await;
    let message = sent(&alice, &bob, "hello").await;
    let deleted = sent(&alice, &bob, "gone").await;
    delete(&alice, &deleted).await.expect(200);
    let before = world.all_events().await;

    edit(&bob, &message, "mine now").await.expect_error(403, "FORBIDDEN");
    let foreign = edit(&mallory, &message, "mine now").await;
    let missing = edit(&mallory, &json!({"id": "01900000-0000-7000-8000-000000000000"}), "mine now").await;
    assert_eq!(foreign.body, missing.body);
    for stranger in [&mallory, &carol, &ann] {
        edit(stranger, &message, "mine now").await.expect_error(404, "NOT_FOUND");
    }
    edit(&alice, &json!({"id": "nonsense"}), "x").await.expect_error(404, "NOT_FOUND");
    edit(&alice, &deleted, "back").await.expect_error(409, "CONFLICT");
    edit(&bob, &deleted, "back").await.expect_error(403, "FORBIDDEN");
    for content in [json!(""), json!(" \n "), json!("x".repeat(10_001)), json!("bell\u{7}"), json!(5), json!(null)] {
        let wrong = alice.request(Method::PATCH, &path_of(&message), Some(json!({"content": content})), &[]).await;
        let error = wrong.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains("content"), "{error}");
    }
    for body in [json!({}), json!({"content": "x", "type": "image"})] {
        let wrong = alice.request(Method::PATCH, &path_of(&message), Some(body), &[]).await;
        wrong.expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(world.all_events().await, before);
    assert_eq!(got(&bob, &message).await, message);
}

#[tokio::test]
async fn the_text_beside_an_attachment_may_be_taken_away() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let file = alice.upload("a.txt", "text/plain", b"abc".to_vec()).await.expect(201).body["file"]["id"].clone();
    let body = json!({"recipientId": bob.id, "content": "look", "attachments": [file]});
    let message = alice.post(MESSAGES, body).await.expect(201).body["message"].clone();
    let edited = edit(&alice, &message, "").await.expect(200).body["message"].clone();
    assert_eq!((&edited["content"], &edited["edited"]), (&json!(""), &json!(true)));
    assert_eq!((&edited["attachments"], &edited["files"]), (&message["attachments"], &message["files"]));
}

#[tokio::test]
async fn a_message_is_edited_only_for_as_long_as_the_operator_says() {
    let world = World::with(vec![("SWITCHBOARD_EDIT_WINDOW", "1s".to_owned())]).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let message = sent(&alice, &bob, "0").await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let mut edits = 0;
    loop {
        let answer = edit(&alice, &message, &(edits + 1).to_string()).await;
        if answer.status == 200 {
            edits += 1;
            assert!(tokio::time::Instant::now() < deadline, "the window closes");
            continue;
        }
        answer.expect_error(409, "CONFLICT");
        break;
    }
    assert_eq!(got(&bob, &message).await["content"], edits.to_string());
    assert_eq!(world.events("MessageEdited").await, edits);
    // Taking it back is possible for ever.
    delete(&alice, &message).await.expect(200);
}

#[tokio::test]
async fn of_a_deleted_message_nothing_is_left_but_its_place() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let file = alice.upload("a.txt", "text/plain", b"abc".to_vec()).await.expect(201).body["file"]["id"].clone();
    let before = sent(&alice, &bob, "before").await;
    let body = json!({"recipientId": bob.id, "content": "secret", "attachments": [file]});
    let message = alice.post(MESSAGES, body).await.expect(201).body["message"].clone();
    let after = sent(&alice, &bob, "after").await;
    let file = format!("/api/messenger/files/{}", text(&file));
    bob.get(&file).await.expect(200);
    edit(&alice, &message, "secret, edited").await.expect(200);

    for _ in 0..2 {
        assert_eq!(delete(&alice, &message).await.expect(200).body, json!({"success": true}));
    }
    assert_eq!(world.events("MessageDeleted").await, 1, "repeating it changes nothing");
    let tombstone = got(&bob, &message).await;
    assert_eq!((&tombstone["content"], &tombstone["deleted"]), (&json!(""), &json!(true)));
    assert_eq!((&tombstone["attachments"], &tombstone["files"]), (&json!([]), &json!([])));
    assert_eq!(tombstone["edited"], false);
    assert!(text(&tombstone["deletedAt"]).ends_with('Z'));
    for field in ["id", "timestamp", "position", "senderId", "recipientId", "conversationId"] {
        assert_eq!(tombstone[field], message[field], "{field} stays");
    }
    for reader in [&alice, &bob] {
        assert_eq!(history(reader, &message).await, [after.clone(), tombstone.clone(), before.clone()]);
    }
    bob.get(&file).await.expect_error(404, "NOT_FOUND");
    delete(&alice, &after).await.expect(200);
    let conversation = bob.get("/api/messenger/conversations").await.expect(200).body["conversations"][0].clone();
    assert_eq!(
        (&conversation["lastMessage"]["id"], &conversation["lastMessage"]["content"]),
        (&after["id"], &json!(""))
    );
    assert_eq!(conversation["unreadCount"], 1, "the one that can be read");
}

#[tokio::test]
async fn a_deleted_message_does_not_say_when_it_was_edited() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let message = sent(&alice, &bob, "secret").await;
    edit(&alice, &message, "secret, edited").await.expect(200);
    delete(&alice, &message).await.expect(200);
    let tombstone = got(&bob, &message).await;
    assert_eq!((&tombstone["edited"], &tombstone["editedAt"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn only_its_sender_and_administrators_of_its_business_delete_a_message() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let acme = alice.business.clone();
    let carol = world.person(&acme, "Carol").await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    let foreign_admin = admin(&world, &globex, "Gloria", "BUSINESS_ADMIN").await;
    let auditor = admin(&world, &acme, "Otto", "BUSINESS_AUDITOR").await;
    let system_auditor = admin(&world, &world.admin.business, "Audrey", "SYSTEM_AUDITOR").await;
    let message = sent(&alice, &bob, "spam").await;
    let before = world.all_events().await;

    delete(&bob, &message).await.expect_error(403, "FORBIDDEN");
    let with_reason = format!("{}?reason=spam", path_of(&message));
    bob.request(Method::DELETE, &with_reason, None, &[]).await.expect_error(403, "FORBIDDEN");
    for stranger in [&carol, &mallory] {
        delete(stranger, &message).await.expect_error(404, "NOT_FOUND");
        stranger.request(Method::DELETE, &with_reason, None, &[]).await.expect_error(404, "NOT_FOUND");
    }
    let foreign = delete_as_admin(&foreign_admin, &message, "?reason=spam").await;
    let nowhere = json!({"id": "01900000-0000-7000-8000-000000000000"});
    let missing = delete_as_admin(&foreign_admin, &nowhere, "?reason=spam").await;
    assert_eq!(foreign.body, missing.body);
    foreign.expect_error(404, "NOT_FOUND");
    for reader in [&auditor, &system_auditor] {
        delete_as_admin(reader, &message, "?reason=spam").await.expect_error(403, "FORBIDDEN");
    }
    for reason in [String::new(), "?reason=".to_owned(), format!("?reason={}", "x".repeat(501))] {
        let error = delete_as_admin(&world.admin, &message, &reason).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains("reason"), "{error}");
    }
    assert_eq!(world.all_events().await, before);
    assert_eq!(got(&bob, &message).await, message);
}

#[tokio::test]
async fn administrators_delete_what_others_wrote_and_say_why() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let acme = alice.business.clone();
    let at_the_admin_api = admin(&world, &acme, "Ann", "BUSINESS_ADMIN").await;
    let ann = world.log_in(&acme, "Ann").await;
    let mut bobs = PlainSocket::connect(&bob, None).await;

    let one = sent(&alice, &bob, "one").await;
    // At the messenger too, where nobody else is asked for a reason.
    for wrong in ["", "?reason="] {
        let path = format!("{}{wrong}", path_of(&one));
        let error = ann.request(Method::DELETE, &path, None, &[]).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains("reason"), "{error}");
    }
    let to_her = sent(&alice, &ann, "to her").await;
    delete(&ann, &to_her).await.expect_error(422, "VALIDATION_ERROR");
    let with_reason = format!("{}?reason=rude%20words", path_of(&one));
    ann.request(Method::DELETE, &with_reason, None, &[]).await.expect(200);
    let two = sent(&alice, &bob, "two").await;
    delete_as_admin(&at_the_admin_api, &two, "?reason=spam").await.expect(200);
    delete_as_admin(&at_the_admin_api, &two, "?reason=more%20spam").await.expect(200);
    let three = sent(&alice, &bob, "three").await;
    delete_as_admin(&world.admin, &three, "?reason=the%20law").await.expect(200);

    for (message, by, reason) in
        [(&one, &ann.id, "rude words"), (&two, &ann.id, "spam"), (&three, &world.admin.id, "the law")]
    {
        assert_eq!(got(&alice, message).await["deleted"], true);
        let told = bobs.expect("message:deleted").await.data;
        assert_eq!((&told["messageId"], &told["deletedBy"]), (&message["id"], &json!(by)));
        assert_eq!(told["reason"], reason);
        let (last, data) = log_of(&world, message).await.pop().unwrap();
        assert_eq!((last.as_str(), &data["reason"]["value"]), ("MessageDeleted", &json!(reason)));
    }
    assert_eq!(world.events("MessageDeleted").await, 3);
}

#[tokio::test]
async fn a_message_replies_to_another_one_of_its_conversation() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let mut alices = PlainSocket::connect(&alice, None).await;
    let question = sent(&alice, &bob, "how are you?").await;
    assert_eq!(question["replyTo"], Value::Null);
    let reply = async |from: &Person, to: &Person, reply_to: &Value| {
        let body = json!({"recipientId": to.id, "content": "fine", "replyTo": reply_to});
        from.post(MESSAGES, body).await
    };
    let answer = reply(&bob, &alice, &question["id"]).await.expect(201).body["message"].clone();
    assert_eq!(answer["replyTo"], question["id"]);
    assert_eq!(alices.expect("message:received").await.data["replyTo"], question["id"]);
    let to_oneself = reply(&alice, &bob, &question["id"]).await.expect(201).body["message"].clone();
    assert_eq!(to_oneself["replyTo"], question["id"]);
    let told: Vec<(Value, Value)> =
        history(&bob, &question).await.iter().map(|m| (m["id"].clone(), m["replyTo"].clone())).collect();
    let expected = [&to_oneself, &answer, &question].map(|m| (m["id"].clone(), m["replyTo"].clone()));
    assert_eq!(told, expected);
    // What it replies to may go; it still is a reply.
    delete(&alice, &question).await.expect(200);
    assert_eq!(got(&alice, &answer).await["replyTo"], question["id"]);

    let elsewhere = sent(&alice, &carol, "elsewhere").await;
    let of_others = sent(&carol, &bob, "of others").await;
    let before = world.all_events().await;
    for wrong in
        [&elsewhere["id"], &of_others["id"], &json!("01900000-0000-7000-8000-000000000000"), &json!("nonsense")]
    {
        reply(&alice, &bob, wrong).await.expect_error(404, "NOT_FOUND");
    }
    let error = reply(&alice, &bob, &json!(5)).await.expect_error(422, "VALIDATION_ERROR");
    assert!(error.contains("replyTo"), "{error}");
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn what_a_message_is_comes_back_everywhere() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let mut bobs = PlainSocket::connect(&bob, None).await;
    assert_eq!(
        alice.post(MESSAGES, json!({"recipientId": bob.id, "content": "x"})).await.body["message"]["type"],
        "text"
    );
    bobs.expect("message:received").await;
    for kind in ["text", "image", "video", "audio", "file"] {
        let body = json!({"recipientId": bob.id, "content": "x", "type": kind});
        let message = alice.post(MESSAGES, body).await.expect(201).body["message"].clone();
        assert_eq!(message["type"], kind);
        assert_eq!(got(&bob, &message).await["type"], kind);
        assert_eq!(bobs.expect("message:received").await.data["type"], kind);
        assert_eq!(edit(&alice, &message, "y").await.expect(200).body["message"]["type"], kind);
    }
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_whatever_has_become_of_the_message() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let body = json!({"recipientId": bob.id, "content": "once", "clientMessageId": "key"});
    let first = alice.post(MESSAGES, body.clone()).await.expect(201).body;
    let message = first["message"].clone();
    edit(&alice, &message, "twice").await.expect(200);
    assert_eq!(alice.post(MESSAGES, body.clone()).await.expect(201).body, first);
    delete(&alice, &message).await.expect(200);
    assert_eq!(alice.post(MESSAGES, body.clone()).await.expect(201).body, first);
    let another = json!({"recipientId": bob.id, "content": "twice", "clientMessageId": "key"});
    alice.post(MESSAGES, another).await.expect_error(409, "CONFLICT");
    assert_eq!(got(&bob, &message).await["deleted"], true, "what is deleted stays deleted");
    assert_eq!(world.events("MessageSent").await, 1);
}

#[tokio::test]
async fn a_retry_does_not_give_back_the_files_of_a_deleted_message() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let file = alice.upload("a.txt", "text/plain", b"abc".to_vec()).await.expect(201).body["file"]["id"].clone();
    let path = format!("/api/messenger/files/{}", text(&file));
    let body = json!({"recipientId": bob.id, "content": "once", "attachments": [file], "clientMessageId": "key"});
    let first = alice.post(MESSAGES, body.clone()).await.expect(201).body;
    alice.post(MESSAGES, body.clone()).await.expect(201);
    bob.get(&path).await.expect(200);
    delete(&alice, &first["message"]).await.expect(200);
    bob.get(&path).await.expect_error(404, "NOT_FOUND");
    let before = world.all_events().await;
    assert_eq!(alice.post(MESSAGES, body).await.expect(201).body["message"]["id"], first["message"]["id"]);
    bob.get(&path).await.expect_error(404, "NOT_FOUND");
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn a_key_that_is_taken_gives_no_file_to_anybody() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let body = json!({"recipientId": bob.id, "content": "once", "clientMessageId": "key"});
    alice.post(MESSAGES, body).await.expect(201);
    let file = alice.upload("a.txt", "text/plain", b"abc".to_vec()).await.expect(201).body["file"]["id"].clone();
    let body = json!({"recipientId": carol.id, "content": "twice", "attachments": [file], "clientMessageId": "key"});
    alice.post(MESSAGES, body).await.expect_error(409, "CONFLICT");
    carol.get(&format!("/api/messenger/files/{}", text(&file))).await.expect_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn both_parties_learn_of_edits_and_deletions_live_and_later() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let from = bob.feed_position().await;
    let mut sockets = [PlainSocket::connect(&alice, None).await, PlainSocket::connect(&bob, None).await];
    let message = sent(&alice, &bob, "helo").await;
    let now = edit(&alice, &message, "hello").await.expect(200).body["message"].clone();
    delete(&alice, &message).await.expect(200);
    let tombstone = got(&alice, &message).await;
    let mut live = vec![];
    for socket in &mut sockets {
        let edited = socket.expect("message:edited").await;
        let position = edited.position.unwrap();
        assert!(position > message["position"].as_u64().unwrap());
        let expected = json!({
            "messageId": message["id"], "senderId": alice.id, "content": "hello", "edited": true,
            "editedAt": now["editedAt"], "conversationId": message["conversationId"], "position": position,
        });
        assert_eq!(edited.data, expected);
        let deleted = socket.expect("message:deleted").await;
        let later = deleted.position.unwrap();
        assert!(later > position);
        let expected = json!({
            "messageId": message["id"], "senderId": alice.id, "deletedBy": alice.id, "reason": null,
            "deletedAt": tombstone["deletedAt"], "conversationId": message["conversationId"], "position": later,
        });
        assert_eq!(deleted.data, expected);
        live.push((edited, deleted));
    }
    assert_eq!(live[0], live[1], "the same for both");
    for (person, first) in [(&alice, "message:sent"), (&bob, "message:received")] {
        let events = since(person, from).await;
        let events: Vec<&Value> = events.iter().filter(|event| event["type"] != "message:delivered").collect();
        let names: Vec<&str> = events.iter().map(|event| text(&event["type"])).collect();
        assert_eq!(names, [first, "message:edited", "message:deleted"]);
        assert_eq!((&events[0]["data"]["content"], &events[0]["data"]["deleted"]), (&json!(""), &json!(true)));
        assert_eq!(events[2]["data"], live[0].1.data);
        assert_eq!(events[1]["position"], live[0].0.position.unwrap());
    }
}

/// Everything that somebody who was away is told, one way and the other.
async fn told_later(person: &Person, position: u64) -> Vec<Value> {
    let is_told = |name: &str| name != "message:delivered";
    let mut polled = since(person, position).await;
    // Somebody else is told the same before or after, which is an event too.
    polled.retain(|event| is_told(text(&event["type"])));
    let mut socket = PlainSocket::connect(person, Some(position)).await;
    let mut replayed = vec![];
    loop {
        let event = socket.next().await;
        if event.name == "feed:caught-up" {
            break;
        }
        if let Some(position) = event.position.filter(|_| is_told(&event.name)) {
            replayed.push(json!({"position": position, "type": event.name, "data": event.data}));
        }
    }
    assert_eq!(replayed, polled);
    polled
}

#[tokio::test]
async fn who_was_away_never_gets_what_a_deleted_message_said() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let from = bob.feed_position().await;
    let file = alice.upload("a.txt", "text/plain", b"abc".to_vec()).await.expect(201).body["file"]["id"].clone();
    let body = json!({"recipientId": bob.id, "content": "old secret", "attachments": [file]});
    let message = alice.post(MESSAGES, body).await.expect(201).body["message"].clone();
    edit(&alice, &message, "edited secret").await.expect(200);
    let by_admin = sent(&alice, &bob, "another secret").await;
    delete(&alice, &message).await.expect(200);
    delete_as_admin(&world.admin, &by_admin, "?reason=spam").await.expect(200);
    for reader in [&bob, &alice] {
        got(reader, &by_admin).await;
        let told = told_later(reader, from).await;
        let names: Vec<&str> = told.iter().map(|event| text(&event["type"])).collect();
        let first = if reader.id == bob.id { "message:received" } else { "message:sent" };
        assert_eq!(names, [first, "message:edited", first, "message:deleted", "message:deleted"]);
        let said = json!(told).to_string();
        assert!(!said.contains("secret") && !said.contains("a.txt") && !said.contains(text(&file)), "{said}");
        for event in [&told[0], &told[2]] {
            assert_eq!((&event["data"]["deleted"], &event["data"]["edited"]), (&json!(true), &json!(false)));
        }
    }
}

#[tokio::test]
async fn who_was_away_gets_an_edited_message_as_it_is_now() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let from = bob.feed_position().await;
    let message = sent(&alice, &bob, "old").await;
    edit(&alice, &message, "new").await.expect(200);
    for reader in [&bob, &alice] {
        got(reader, &message).await;
        let told = told_later(reader, from).await;
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0]["data"]["content"], &told[0]["data"]["edited"]), (&json!("new"), &json!(true)));
        assert_eq!(told[1]["data"]["content"], "new");
    }
}

#[tokio::test]
async fn who_was_away_never_gets_what_a_message_said_between_two_edits() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let from = bob.feed_position().await;
    let message = sent(&alice, &bob, "first").await;
    edit(&alice, &message, "second").await.expect(200);
    edit(&alice, &message, "third").await.expect(200);
    got(&bob, &message).await;
    let said = json!(told_later(&bob, from).await).to_string();
    assert!(said.contains("third") && !said.contains("first") && !said.contains("second"), "{said}");
}

#[tokio::test]
async fn who_was_away_never_gets_it_either_while_the_read_model_is_behind() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let from = bob.feed_position().await;
    let message = sent(&alice, &bob, "old secret").await;
    got(&bob, &message).await;
    // The read model can't take the deletion in as long as this row is locked. The feed has rows of its own.
    let pool = world.database.pool().await;
    let mut lock = pool.begin().await.unwrap();
    let id: uuid::Uuid = text(&message["id"]).parse().unwrap();
    sqlx::query("SELECT FROM messages WHERE id = $1 FOR UPDATE").bind(id).execute(&mut *lock).await.unwrap();
    let deleted = delete(&alice, &message).await.expect(200);
    let position = deleted.headers["x-position"].to_str().unwrap();
    let path = format!("/api/messenger/events/since?position={from}");
    let told = bob.request(Method::GET, &path, None, &[("X-Min-Position", position)]).await;
    lock.rollback().await.unwrap();
    pool.close().await;
    // To wait, or to say that it can't be told now, would do as well.
    assert!(!told.body.to_string().contains("secret"), "{}", told.body);
}
