//! Conversations and their histories: what is in them, in which order, and page by page while more comes in.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Person, Random, World, full_scale, seed};

const CONVERSATIONS: &str = "/api/messenger/conversations";

/// Sends a text; the message.
async fn sent(from: &Person, to: &Person, content: &str) -> Value {
    from.send_text(to, content).await.expect(201).body["message"].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn history_of(conversation: &Value) -> String {
    format!("{CONVERSATIONS}/{}/messages", text(conversation))
}

/// Reads a conversation up to a message.
async fn read(reader: &Person, message: &Value) -> Answer {
    let path = format!("{CONVERSATIONS}/{}/read", text(&message["conversationId"]));
    reader.post(&path, json!({"upTo": message["id"]})).await.expect(200)
}

async fn conversations(person: &Person) -> Vec<Value> {
    person.get(CONVERSATIONS).await.expect(200).body["conversations"].as_array().unwrap().clone()
}

async fn unread(person: &Person) -> Value {
    person.get("/api/messenger/me").await.expect(200).body["unreadCount"].clone()
}

/// What a page says, in this field of each message.
fn each<'a>(page: &'a Answer, field: &str) -> Vec<&'a Value> {
    page.body["messages"].as_array().unwrap().iter().map(|message| &message[field]).collect()
}

#[tokio::test]
async fn a_conversation_says_with_whom_it_is_what_came_last_and_what_is_unread() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    for person in [&alice, &bob, &carol] {
        let listed = person.get(CONVERSATIONS).await.expect(200).body;
        assert_eq!(listed, json!({"success": true, "conversations": [], "nextCursor": null}));
    }
    let first = sent(&alice, &bob, "one").await;
    sent(&alice, &bob, "two").await;
    let from_carol = sent(&carol, &bob, "from Carol").await;
    let last = sent(&alice, &bob, "three").await;

    let listed = conversations(&bob).await;
    let [with_alice, with_carol] = &listed[..] else { panic!("two conversations expected: {listed:?}") };
    assert_eq!((&with_alice["id"], &with_alice["type"]), (&first["conversationId"], &json!("direct")));
    let user = json!({"id": alice.id, "name": "Alice", "avatar": null, "online": false, "lastSeenAt": null});
    assert_eq!(with_alice["user"], user);
    assert_eq!(with_alice["lastMessage"], last);
    assert_eq!((&with_alice["unreadCount"], &with_alice["readPosition"]), (&json!(3), &json!(0)));
    assert_eq!((&with_carol["lastMessage"], &with_carol["unreadCount"]), (&from_carol, &json!(1)));

    read(&bob, &first).await;
    let with_alice = conversations(&bob).await[0].clone();
    assert_eq!((&with_alice["unreadCount"], &with_alice["readPosition"]), (&json!(2), &first["position"]));
    let of_alice = conversations(&alice).await;
    assert_eq!(of_alice.len(), 1);
    assert_eq!((&of_alice[0]["user"]["id"], &of_alice[0]["unreadCount"]), (&json!(bob.id), &json!(0)));
    assert_eq!(of_alice[0]["lastMessage"]["read"], false);
    read(&bob, &last).await;
    assert_eq!(conversations(&bob).await[0]["unreadCount"], 0);
    assert_eq!(conversations(&alice).await[0]["lastMessage"]["read"], true);
}

#[tokio::test]
async fn the_conversation_with_the_latest_message_comes_first_whoever_wrote_it() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let order = async || -> Vec<Value> {
        conversations(&alice).await.iter().map(|conversation| conversation["user"]["name"].clone()).collect()
    };
    sent(&bob, &alice, "x").await;
    sent(&carol, &alice, "x").await;
    assert_eq!(order().await, ["Carol", "Bob"]);
    let mine = sent(&alice, &bob, "x").await;
    assert_eq!(order().await, ["Bob", "Carol"]);
    let answer = sent(&carol, &alice, "x").await;
    assert_eq!(order().await, ["Carol", "Bob"]);
    // Neither reading nor taking back moves anything.
    read(&alice, &answer).await;
    let path = format!("/api/messenger/messages/{}", text(&mine["id"]));
    alice.request(Method::DELETE, &path, None, &[]).await.expect(200);
    assert_eq!(order().await, ["Carol", "Bob"]);
}

#[tokio::test]
async fn what_is_unread_is_counted_over_all_conversations() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    assert_eq!(unread(&bob).await, 0);
    let one = sent(&alice, &bob, "one").await;
    let two = sent(&alice, &bob, "two").await;
    let three = sent(&carol, &bob, "three").await;
    sent(&bob, &carol, "his own").await;
    assert_eq!(unread(&bob).await, 3);
    read(&bob, &one).await;
    assert_eq!(unread(&bob).await, 2);
    let path = format!("/api/messenger/messages/{}", text(&two["id"]));
    alice.request(Method::DELETE, &path, None, &[]).await.expect(200);
    assert_eq!(unread(&bob).await, 1, "what was taken back need not be read");
    read(&bob, &three).await;
    assert_eq!(unread(&bob).await, 0);
    assert_eq!((unread(&alice).await, unread(&carol).await), (json!(0), json!(1)));
}

#[tokio::test]
async fn conversations_are_paged_without_gap_or_double_while_messages_come_in() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let bob = world.person(&acme, "Bob").await;
    let mut others = vec![];
    for n in 0..7 {
        let other = world.person(&acme, &format!("Other{n}")).await;
        sent(&other, &bob, "first").await;
        others.push(other);
    }
    let page = async |cursor: Option<&Value>| {
        let cursor = cursor.map(|cursor| format!("&cursor={}", text(cursor))).unwrap_or_default();
        bob.get(&format!("{CONVERSATIONS}?limit=2{cursor}")).await.expect(200).body
    };
    let names = |page: &Value| -> Vec<String> {
        let conversations = page["conversations"].as_array().unwrap().iter();
        conversations.map(|conversation| text(&conversation["user"]["name"]).to_owned()).collect()
    };
    let mut first = page(None).await;
    let mut seen = names(&first);
    assert_eq!(seen, ["Other6", "Other5"]);
    // One that has been seen goes to the front: it doesn't come again.
    sent(&others[5], &bob, "again").await;
    while !first["nextCursor"].is_null() {
        first = page(Some(&first["nextCursor"])).await;
        seen.extend(names(&first));
        sent(&others[6], &bob, "again").await;
    }
    assert_eq!(seen, ["Other6", "Other5", "Other4", "Other3", "Other2", "Other1", "Other0"]);

    // One that has not been seen yet goes to the front: it is where a first page begins.
    let begun = page(None).await;
    sent(&others[0], &bob, "again").await;
    let (mut rest, mut cursor) = (vec![], begun["nextCursor"].clone());
    while !cursor.is_null() {
        let next = page(Some(&cursor)).await;
        rest.extend(names(&next));
        cursor = next["nextCursor"].clone();
    }
    assert_eq!(rest, ["Other4", "Other3", "Other2", "Other1"]);
    assert_eq!(names(&page(None).await)[0], "Other0");
}

#[tokio::test]
async fn a_history_is_read_from_either_end_in_pages_of_any_size_while_messages_come_in() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let mut ids = vec![];
    let mut conversation = Value::Null;
    for n in 0..23 {
        let (from, to) = if n % 3 == 0 { (&bob, &alice) } else { (&alice, &bob) };
        let message = sent(from, to, &n.to_string()).await;
        conversation = message["conversationId"].clone();
        ids.push(message["id"].clone());
    }
    let path = history_of(&conversation);
    let end = |page: &Answer| (page.body["messages"].as_array().unwrap().len(), page.body["nextCursor"].clone());
    for limit in [1, 7, 23, 100] {
        // To the beginning: what comes in meanwhile is not part of it.
        let (mut seen, mut query) = (vec![], String::new());
        let before_it = ids.clone();
        loop {
            let page = bob.get(&format!("{path}?limit={limit}{query}")).await.expect(200);
            seen.extend(each(&page, "id").into_iter().cloned());
            ids.push(sent(&alice, &bob, "meanwhile").await["id"].clone());
            match &page.body["nextCursor"] {
                Value::Null => break,
                cursor => query = format!("&before={}", text(cursor)),
            }
        }
        assert_eq!(seen, before_it.into_iter().rev().collect::<Vec<_>>(), "{limit} at a time, to the beginning");

        // To the end: what comes in meanwhile is, too.
        let (mut seen, mut after) = (vec![], "0".to_owned());
        let mut to_come = 3;
        loop {
            let page = bob.get(&format!("{path}?limit={limit}&after={after}")).await.expect(200);
            seen.extend(each(&page, "id").into_iter().cloned());
            match &page.body["nextCursor"] {
                Value::Null => break,
                cursor => after = text(cursor).to_owned(),
            }
            if to_come > 0 {
                to_come -= 1;
                ids.push(sent(&alice, &bob, "meanwhile").await["id"].clone());
            }
        }
        assert_eq!(seen, ids, "{limit} at a time, to the end");
    }
    let all = bob.get(&format!("{path}?after=0&limit=100")).await.expect(200);
    let positions: Vec<u64> = each(&all, "position").into_iter().map(|position| position.as_u64().unwrap()).collect();
    let (first, last) = (positions[0], positions[positions.len() - 1]);
    for beyond in [format!("before={first}"), format!("after={last}"), "before=0".to_owned()] {
        let page = bob.get(&format!("{path}?{beyond}")).await.expect(200);
        assert_eq!(end(&page), (0, Value::Null), "{beyond}");
    }
    for far in [u64::MAX, i64::MAX.unsigned_abs()] {
        assert_eq!(end(&bob.get(&format!("{path}?after={far}")).await.expect(200)), (0, Value::Null));
        let page = bob.get(&format!("{path}?before={far}&limit=1")).await.expect(200);
        assert_eq!(each(&page, "position"), [&json!(last)]);
    }
    // Between two places, the latest first, and on towards the first of them.
    let between = |before: u64| format!("{path}?after={}&before={before}&limit=2", positions[2]);
    let page = bob.get(&between(positions[6])).await.expect(200);
    assert_eq!(each(&page, "position"), [&json!(positions[5]), &json!(positions[4])]);
    let next = text(&page.body["nextCursor"]).parse().unwrap();
    let page = bob.get(&between(next)).await.expect(200);
    assert_eq!((each(&page, "position"), &page.body["nextCursor"]), (vec![&json!(positions[3])], &Value::Null));
    // Twenty, when nobody says how many.
    assert_eq!(each(&bob.get(&path).await.expect(200), "id").len(), 20);
}

#[tokio::test]
async fn limits_and_places_that_make_no_sense_are_refused_by_name() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let message = sent(&alice, &bob, "x").await;
    let history = history_of(&message["conversationId"]);
    let wrong_limits = ["0", "101", "-1", "x", "", "1.5", "99999999999"].map(|limit| ("limit", limit));
    let wrong_places = ["-1", "x", "", "1.5", "99999999999999999999"];
    for path in [CONVERSATIONS, &history] {
        let mut wrong = wrong_limits.to_vec();
        let names: &[&str] = if path == CONVERSATIONS { &["cursor"] } else { &["before", "after"] };
        wrong.extend(names.iter().flat_map(|name| wrong_places.map(|place| (*name, place))));
        for (name, value) in wrong {
            let answer = bob.get(&format!("{path}?{name}={value}")).await;
            let error = answer.expect_error(422, "VALIDATION_ERROR");
            assert!(error.contains(name), "{name}={value} should be named: {error}");
        }
        for limit in [1, 100] {
            bob.get(&format!("{path}?limit={limit}")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_conversation_of_others_answers_as_one_that_does_not_exist() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let globex = world.business("Globex").await;
    let mallory = world.person(&globex, "Mallory").await;
    let message = sent(&alice, &bob, "x").await;
    sent(&carol, &bob, "y").await;
    let real = text(&message["conversationId"]);
    for stranger in [&carol, &mallory] {
        for query in ["", "?after=0", "?before=5&limit=1"] {
            let answer = async |id: &str| stranger.get(&format!("{CONVERSATIONS}/{id}/messages{query}")).await;
            let foreign = answer(real).await;
            for missing in ["01900000-0000-7000-8000-000000000000", "nonsense"] {
                let missing = answer(missing).await;
                assert_eq!((foreign.status, &foreign.body), (missing.status, &missing.body));
            }
            foreign.expect_error(404, "NOT_FOUND");
        }
        assert!(conversations(stranger).await.iter().all(|conversation| conversation["id"] != *real));
    }
    bob.get(&format!("{CONVERSATIONS}/{real}/messages")).await.expect(200);
}

/// What a plain memory makes of what people do: two of them are a conversation.
#[derive(Default)]
struct Model {
    messages: Vec<Remembered>,
    /// How far somebody has read what somebody else wrote.
    read: BTreeMap<(usize, usize), u64>,
}

struct Remembered {
    from: usize,
    to: usize,
    id: Value,
    conversation: Value,
    content: String,
    position: u64,
    edited: bool,
    deleted: bool,
}

impl Model {
    fn read_position(&self, reader: usize, other: usize) -> u64 {
        self.read.get(&(reader, other)).copied().unwrap_or(0)
    }

    /// As the history should tell it.
    fn as_told(&self, message: &Remembered) -> Value {
        json!({
            "id": message.id, "position": message.position, "content": message.content, "edited": message.edited,
            "deleted": message.deleted, "read": self.read_position(message.to, message.from) >= message.position,
        })
    }

    /// The oldest first.
    fn between(&self, one: usize, other: usize) -> impl DoubleEndedIterator<Item = &Remembered> {
        self.messages.iter().filter(move |message| {
            (message.from, message.to) == (one, other) || (message.to, message.from) == (one, other)
        })
    }

    fn unread(&self, reader: usize, other: usize) -> usize {
        let read = self.read_position(reader, other);
        self.between(reader, other).filter(|m| m.to == reader && m.position > read && !m.deleted).count()
    }

    /// As the list of conversations should tell it.
    fn conversations(&self, person: usize, people: &[Person]) -> Vec<Value> {
        let others: BTreeSet<usize> = (0..people.len()).filter(|other| *other != person).collect();
        let mut lasts: Vec<(usize, &Remembered)> =
            others.into_iter().filter_map(|other| Some((other, self.between(person, other).last()?))).collect();
        lasts.sort_by_key(|(_, last)| std::cmp::Reverse(last.position));
        let told = |(other, last): (usize, &Remembered)| {
            json!({
                "id": last.conversation, "user": people[other].id, "last": self.as_told(last),
                "unread": self.unread(person, other), "read": self.read_position(person, other),
            })
        };
        lasts.into_iter().map(told).collect()
    }
}

/// What the model knows of a message.
fn told(message: &Value) -> Value {
    let fields = ["id", "position", "content", "edited", "deleted", "read"];
    fields.into_iter().map(|field| (field.to_owned(), message[field].clone())).collect()
}

/// All of a list, in pages of some size.
async fn all(
    person: &Person,
    path: &str,
    name: &str,
    [cursor, first]: [&str; 2],
    limit: u64,
    position: &str,
) -> Vec<Value> {
    let (mut found, mut query) = (vec![], first.to_owned());
    loop {
        let path = format!("{path}?limit={limit}{query}");
        let page = person.request(Method::GET, &path, None, &[("X-Min-Position", position)]).await.expect(200).body;
        found.extend(page[name].as_array().unwrap().iter().cloned());
        match &page["nextCursor"] {
            Value::Null => return found,
            next => query = format!("&{cursor}={}", text(next)),
        }
    }
}

/// Compares what the server says with what the model does, as everybody sees it.
async fn agree(model: &Model, people: &[Person], position: &str, random: &mut Random) {
    for (n, person) in people.iter().enumerate() {
        let limit = 1 + random.below(5);
        let listed = all(person, CONVERSATIONS, "conversations", ["cursor", ""], limit, position).await;
        let listed: Vec<Value> = listed
            .iter()
            .map(|conversation| {
                json!({
                    "id": conversation["id"], "user": conversation["user"]["id"], "last": told(&conversation["lastMessage"]),
                    "unread": conversation["unreadCount"], "read": conversation["readPosition"],
                })
            })
            .collect();
        let expected = model.conversations(n, people);
        assert_eq!(listed, expected);
        let me = person.request(Method::GET, "/api/messenger/me", None, &[("X-Min-Position", position)]).await;
        let unread: u64 = expected.iter().map(|conversation| conversation["unread"].as_u64().unwrap()).sum();
        assert_eq!(me.expect(200).body["unreadCount"], unread);
        for other in (0..people.len()).filter(|other| *other != n) {
            let Some(last) = model.between(n, other).last() else { continue };
            let (path, limit) = (history_of(&last.conversation), 1 + random.below(100));
            let expected: Vec<Value> = model.between(n, other).map(|message| model.as_told(message)).collect();
            let from_the_end = all(person, &path, "messages", ["before", ""], limit, position).await;
            assert_eq!(from_the_end.iter().rev().map(told).collect::<Vec<_>>(), expected);
            let from_the_beginning = all(person, &path, "messages", ["after", "&after=0"], limit, position).await;
            assert_eq!(from_the_beginning.iter().map(told).collect::<Vec<_>>(), expected);
        }
    }
}

#[tokio::test]
async fn whatever_people_do_lists_counts_and_histories_are_what_a_plain_memory_makes_of_it() {
    let seed = seed();
    eprintln!("SWITCHBOARD_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let carol = world.person(&alice.business, "Carol").await;
    let dave = world.person(&alice.business, "Dave").await;
    let people = [alice, bob, carol, dave];
    let mut model = Model::default();
    let steps = if full_scale() { 5000 } else { 400 };
    let mut position = "0".to_owned();
    for step in 0..steps {
        let what = if model.messages.is_empty() { 0 } else { random.below(100) };
        let which = random.index(model.messages.len().max(1));
        let answer = match what {
            0..50 => {
                let from = random.index(people.len());
                let to = (from + 1 + random.index(people.len() - 1)) % people.len();
                let content = format!("message {step}");
                let answer = people[from].send_text(&people[to], &content).await.expect(201);
                let message = &answer.body["message"];
                model.messages.push(Remembered {
                    from,
                    to,
                    id: message["id"].clone(),
                    conversation: message["conversationId"].clone(),
                    content,
                    position: message["position"].as_u64().unwrap(),
                    edited: false,
                    deleted: false,
                });
                answer
            }
            50..75 => {
                // Deleted or not, by its recipient, or by its sender, who thereby reads nothing.
                let message = &model.messages[which];
                let of_its_sender = random.below(5) == 0;
                let reader = if of_its_sender { message.from } else { message.to };
                let up_to = json!({"conversationId": message.conversation, "id": message.id});
                if !of_its_sender {
                    let cursor = model.read.entry((message.to, message.from)).or_default();
                    *cursor = message.position.max(*cursor);
                }
                read(&people[reader], &up_to).await
            }
            75..88 => {
                let message = &mut model.messages[which];
                // The same text at times.
                let content = if random.below(4) == 0 { message.content.clone() } else { format!("edited {step}") };
                let path = format!("/api/messenger/messages/{}", text(&message.id));
                let body = Some(json!({"content": content}));
                let answer = people[message.from].request(Method::PATCH, &path, body, &[]).await;
                if message.deleted {
                    answer.expect_error(409, "CONFLICT");
                    continue;
                }
                message.edited |= message.content != content;
                message.content = content;
                answer.expect(200)
            }
            _ => {
                let message = &mut model.messages[which];
                let path = format!("/api/messenger/messages/{}", text(&message.id));
                let answer = people[message.from].request(Method::DELETE, &path, None, &[]).await.expect(200);
                (message.deleted, message.edited) = (true, false);
                message.content.clear();
                answer
            }
        };
        // Never back: what changes nothing answers with an older place.
        let at: u64 = answer.headers["x-position"].to_str().unwrap().parse().unwrap();
        position = at.max(position.parse().unwrap()).to_string();
        if step % 50 == 49 {
            agree(&model, &people, &position, &mut random).await;
        }
    }
    agree(&model, &people, &position, &mut random).await;
}
