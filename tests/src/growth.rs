//! A database in which much has been said: what people look at is found by indexes, however long they have been writing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::{ConversationId, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::support::{Answer, DEADLINE, Person, World, full_scale};

/// The questions as the server asks them, each in a file of its own.
const QUERIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.sqlx");
/// Tables that are never read from one end to the other.
const LARGE: [&str; 2] = ["messages", "conversation_members"];

/// How much has been said. Message number `n` is at position `n`.
struct Size {
    messages: u64,
    /// One in so many is in the long conversation, the one of Alice and Bob.
    one_in: u64,
    /// Those that the others are in.
    conversations: u64,
    /// Those of these that Alice is in.
    of_alice: u64,
}

impl Size {
    fn wanted() -> Self {
        if full_scale() {
            Self { messages: 1_000_000, one_in: 10, conversations: 9001, of_alice: 1000 }
        } else {
            Self { messages: 20_000, one_in: 4, conversations: 1501, of_alice: 50 }
        }
    }

    /// Alice's messages, by conversation: none is the long one. With each, whether she got it.
    fn alices(&self) -> BTreeMap<Option<u64>, Vec<(u64, bool)>> {
        let mut conversations = BTreeMap::<_, Vec<_>>::new();
        for n in 1..=self.messages {
            let conversation = (n % self.one_in != 0).then_some(n % self.conversations);
            if conversation.is_none_or(|conversation| conversation < self.of_alice) {
                // The first of two people writes in every other round.
                conversations.entry(conversation).or_default().push((n, n / self.conversations % 2 == 1));
            }
        }
        conversations
    }
}

/// Fills the tables as the projections would have.
async fn fill(pool: &PgPool, size: &Size, alice: &Person, bob: &Person) {
    let Size { messages, one_in, conversations, of_alice } = size;
    let (business, alice_id, bob_id) = (&alice.business.id, &alice.id, &bob.id);
    let long = long_conversation(alice, bob);
    let fill = format!(
        "INSERT INTO users (id, business_id, email, email_key, name, role, status, created_at, position)
         SELECT md5('user' || n)::uuid, '{business}', n || '@example.com', n || '@example.com', 'User ' || n, 'BUSINESS_USER',
                'active', now(), 1000 + n
         FROM generate_series(0, 2 * {conversations} - 1) n;

         INSERT INTO messages (id, conversation_id, position, business_id, sender_id, recipient_id, content, kind, attachments, sent_at)
         SELECT md5('message' || n)::uuid, conversation_id, n, '{business}', CASE WHEN first_writes THEN one ELSE other END,
                CASE WHEN first_writes THEN other ELSE one END, 'message ' || n, 'text', '{{}}',
                now() - ({messages} - n) * interval '1 second'
         FROM (
             SELECT n, n / {conversations} % 2 = 0 AS first_writes,
                    CASE WHEN n % {one_in} = 0 THEN '{long}' ELSE md5('conversation' || n % {conversations})::uuid END AS conversation_id,
                    CASE WHEN n % {one_in} = 0 OR n % {conversations} < {of_alice} THEN '{alice_id}'
                         ELSE md5('user' || n % {conversations})::uuid END AS one,
                    CASE WHEN n % {one_in} = 0 THEN '{bob_id}'
                         ELSE md5('user' || n % {conversations} + {conversations})::uuid END AS other
             FROM generate_series(1, {messages}) n
         ) written;

         INSERT INTO conversation_members (conversation_id, user_id, other_user_id, last_position, unread)
         SELECT conversation_id, user_id, other_user_id, max(position), sum(got)
         FROM (
             SELECT conversation_id, recipient_id AS user_id, sender_id AS other_user_id, position, 1 AS got FROM messages
             UNION ALL
             SELECT conversation_id, sender_id, recipient_id, position, 0 FROM messages
         ) member
         GROUP BY conversation_id, user_id, other_user_id;

         ANALYZE;"
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(pool).await.unwrap();
}

fn long_conversation(alice: &Person, bob: &Person) -> ConversationId {
    let id = |person: &Person| UserId(person.id.parse().unwrap());
    ConversationId::between(id(alice), id(bob))
}

async fn hashed(pool: &PgPool, text: &str) -> Uuid {
    sqlx::query_scalar("SELECT md5($1)::uuid").bind(text).fetch_one(pool).await.unwrap()
}

/// The one question that has this in it.
fn query(part: &str) -> String {
    let files = std::fs::read_dir(QUERIES).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let queries =
        files.map(|file| serde_json::from_slice::<Value>(&file).unwrap()["query"].as_str().unwrap().to_owned());
    let found: Vec<String> = queries.filter(|sql| sql.contains(part)).collect();
    let [query] = &found[..] else { panic!("one question with {part} expected: {found:?}") };
    query.clone()
}

/// What a plan reads of the large tables: which it reads from one end to the other, and how many rows of them it looks at.
#[derive(Default)]
struct Reads {
    whole: Vec<String>,
    rows: f64,
}

impl Reads {
    fn of(&mut self, plan: &Value) {
        match plan {
            Value::Array(plans) => plans.iter().for_each(|plan| self.of(plan)),
            Value::Object(node) => {
                let relation = node.get("Relation Name").and_then(Value::as_str).unwrap_or_default();
                if LARGE.contains(&relation) {
                    if node["Node Type"] == "Seq Scan" {
                        self.whole.push(relation.to_owned());
                    }
                    let number = |name: &str| node.get(name).and_then(Value::as_f64).unwrap_or(0.0);
                    // Both are said by loop.
                    let rows = number("Actual Rows") + number("Rows Removed by Filter");
                    self.rows += rows * number("Actual Loops");
                }
                node.values().for_each(|plan| self.of(plan));
            }
            _ => {}
        }
    }
}

/// Checks the plans of a question, when it is asked for the first time and when it has been asked so often that Postgres may have
/// settled on a plan for whatever is asked about.
async fn is_answered_by_indexes(
    connection: &mut PgConnection,
    what: &str,
    query: &str,
    arguments: &str,
    most_rows: u64,
) -> Result<(), String> {
    let mut wrong = vec![];
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE question AS {query}"))).execute(&mut *connection).await.unwrap();
    for mode in ["first", "later"] {
        if mode == "later" {
            for _ in 0..10 {
                let ask = format!("EXECUTE question({arguments})");
                sqlx::raw_sql(AssertSqlSafe(ask)).execute(&mut *connection).await.unwrap();
            }
        }
        let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE question({arguments})");
        let row = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
        let plan: Value = sqlx::Row::get(&row, 0);
        let mut reads = Reads::default();
        reads.of(&plan);
        let rows = reads.rows;
        eprintln!("{what} ({mode}): {} ms in Postgres, {rows} rows looked at", plan[0]["Execution Time"]);
        if !reads.whole.is_empty() {
            wrong.push(format!("{what} ({mode}) reads all of {:?}", reads.whole));
        } else if rows > f64::from(u32::try_from(most_rows).unwrap()) {
            wrong.push(format!("{what} ({mode}) looks at {rows} rows, not at {most_rows}"));
        }
    }
    sqlx::raw_sql("DEALLOCATE question").execute(&mut *connection).await.unwrap();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Asks a few times, and says how long it took, the quickest and the slowest.
async fn timed(person: &Person, what: &str, path: &str) -> Value {
    let mut times = vec![];
    let mut body = Value::Null;
    for _ in 0..10 {
        let began = Instant::now();
        let answer: Answer = person.request(Method::GET, path, None, &[]).await;
        times.push(began.elapsed());
        body = answer.expect(200).body;
    }
    times.sort();
    eprintln!("{what}: {} over HTTP, the slowest of 10 {}", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
    body
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn positions(body: &Value) -> Vec<u64> {
    body["messages"].as_array().unwrap().iter().map(|message| message["position"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn what_people_look_at_is_found_by_indexes_however_much_has_been_said() {
    let size = Size::wanted();
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let pool = world.database.pool().await;
    let began = Instant::now();
    fill(&pool, &size, &alice, &bob).await;
    eprintln!("{} messages filled in within {:?}", size.messages, began.elapsed());
    // As one that is started on it: the one of before has planned for tables that were empty.
    let world = world.kill_and_restart().await;
    let alice = alice.at(&world.server.url);
    let long = long_conversation(&alice, &bob);
    let expected = size.alices();
    let in_long: Vec<u64> = expected[&None].iter().map(|(n, _)| *n).collect();
    let middle = in_long[in_long.len() / 2];
    let mut lasts: Vec<(u64, Option<u64>)> =
        expected.iter().map(|(conversation, messages)| (messages.last().unwrap().0, *conversation)).collect();
    lasts.sort_unstable_by(|one, other| other.cmp(one));
    let deep = lasts[lasts.len() / 2].0;

    let mut connection = pool.acquire().await.unwrap().detach();
    let (me, last) = (format!("'{}'", alice.id), i64::MAX);
    let hers = format!("'{long}', {me}");
    let a_message = hashed(&pool, &format!("message{middle}")).await;
    // Where little has been said, reading more than is needed may be the quickest way. Then all that counts is that there are indexes.
    let is_judged = full_scale();
    let seq_scans = if is_judged { "on" } else { "off" };
    sqlx::raw_sql(AssertSqlSafe(format!("SET enable_seqscan = {seq_scans}"))).execute(&mut connection).await.unwrap();
    // Rows of the page itself, times the tables that are joined to it, and some room for how the planner goes about it.
    let (of_a_page, of_a_long_page, her_own) = (200, 1000, 2 * (size.of_alice + 1));
    // Which of her conversations are the latest is found by looking at all of hers: an index of that would be written to by every
    // message.
    let of_a_list = of_a_page + her_own;
    let mut wrong = vec![];
    for (what, part, arguments, most_rows) in [
        ("the first page of conversations", "ORDER BY c.last_position DESC", format!("{me}, {last}, 21"), of_a_list),
        ("a deep page of conversations", "ORDER BY c.last_position DESC", format!("{me}, {deep}, 21"), of_a_list),
        ("all that is unread", "sum(unread)", me.clone(), her_own),
        ("who is in a conversation", "SELECT user_id FROM conversation_members", hers.clone(), of_a_page),
        ("the end of a history", "ORDER BY position DESC LIMIT $5", format!("{hers}, 0, {last}, 21"), of_a_page),
        (
            "the middle of a history, backwards",
            "ORDER BY position DESC LIMIT $5",
            format!("{hers}, 0, {middle}, 101"),
            of_a_long_page,
        ),
        ("the beginning of a history", "ORDER BY position LIMIT $4", format!("{hers}, 0, 21"), of_a_page),
        (
            "the middle of a history, forwards",
            "ORDER BY position LIMIT $4",
            format!("{hers}, {middle}, 101"),
            of_a_long_page,
        ),
        ("a message", "WHERE id = $1 AND (sender_id", format!("'{a_message}', {me}"), of_a_page),
        (
            "what has become of messages",
            "WHERE id = ANY($1) AND (edited_at",
            format!("ARRAY['{a_message}'::uuid]"),
            of_a_page,
        ),
    ] {
        let most_rows = if is_judged { most_rows } else { u64::from(u32::MAX) };
        wrong.extend(is_answered_by_indexes(&mut connection, what, &query(part), &arguments, most_rows).await.err());
    }
    connection.close().await.unwrap();

    let conversations = "/api/messenger/conversations";
    for (what, cursor, expected) in [
        ("the first page of conversations", String::new(), &lasts[..20]),
        ("a deep page of conversations", format!("&cursor={deep}"), &lasts[lasts.len() / 2 + 1..][..20]),
    ] {
        let body = timed(&alice, what, &format!("{conversations}?limit=20{cursor}")).await;
        let listed: Vec<u64> = body["conversations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["lastMessage"]["position"].as_u64().unwrap())
            .collect();
        assert_eq!(listed, expected.iter().map(|(position, _)| *position).collect::<Vec<_>>());
        for (conversation, (_, number)) in body["conversations"].as_array().unwrap().iter().zip(expected) {
            let unread = size_of_unread(&size, *number);
            assert_eq!(conversation["unreadCount"], unread, "{number:?}");
        }
    }
    let unread: usize = expected.values().flatten().filter(|(_, got)| *got).count();
    assert_eq!(timed(&alice, "all that is unread", "/api/messenger/me").await["unreadCount"], unread);
    let history = format!("{conversations}/{long}/messages");
    let at = in_long.len() / 2;
    let backwards = |messages: &[u64]| messages.iter().rev().copied().collect::<Vec<_>>();
    for (what, query, expected) in [
        ("the end of a history", "limit=20".to_owned(), backwards(&in_long[in_long.len() - 20..])),
        ("the middle of a history, backwards", format!("before={middle}&limit=100"), backwards(&in_long[at - 100..at])),
        ("the beginning of a history", "after=0&limit=20".to_owned(), in_long[..20].to_vec()),
        ("the middle of a history, forwards", format!("after={middle}&limit=100"), in_long[at + 1..=at + 100].to_vec()),
        ("the beginning of a history, backwards", format!("before={}", in_long[5]), backwards(&in_long[..5])),
    ] {
        assert_eq!(positions(&timed(&alice, what, &format!("{history}?{query}")).await), expected, "{what}");
    }
    let message = timed(&alice, "a message", &format!("/api/messenger/messages/{a_message}")).await;
    assert_eq!(message["message"]["content"], format!("message {middle}"));
    pool.close().await;
    // Last, so that the answers and the times are seen in any case.
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How much of a conversation Alice has not read.
fn size_of_unread(size: &Size, conversation: Option<u64>) -> usize {
    size.alices()[&conversation].iter().filter(|(_, got)| *got).count()
}

#[tokio::test]
async fn sending_reading_and_deleting_reads_no_large_table_whole() {
    let size = Size::wanted();
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let pool = world.database.pool().await;
    fill(&pool, &size, &alice, &bob).await;
    let world = world.kill_and_restart().await;
    let (alice, bob) = (alice.at(&world.server.url), bob.at(&world.server.url));
    let mut connection = pool.acquire().await.unwrap().detach();
    pool.close().await;
    let before = scans(&mut connection).await;
    for n in 0..20 {
        let message = alice.send_text(&bob, &n.to_string()).await.expect(201).body["message"].clone();
        let path = format!("/api/messenger/messages/{}", message["id"].as_str().unwrap());
        alice.request(Method::PATCH, &path, Some(json!({"content": "edited"})), &[]).await.expect(200);
        let conversation = message["conversationId"].as_str().unwrap();
        let read = format!("/api/messenger/conversations/{conversation}/read");
        bob.post(&read, json!({"upTo": message["id"]})).await.expect(200);
        let deleted = alice.request(Method::DELETE, &path, None, &[]).await.expect(200);
        let position = deleted.headers["x-position"].to_str().unwrap();
        bob.request(Method::GET, &path, None, &[("X-Min-Position", position)]).await.expect(200);
    }
    // Its connections say what they have done when they end.
    assert!(world.server.stop().await);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + DEADLINE;
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "the connections of the server end");
    }
    assert_eq!(scans(&mut connection).await, before);
    connection.close().await.unwrap();
}

/// How often each of the large tables has been read from one end to the other.
async fn scans(connection: &mut PgConnection) -> Vec<(String, i64)> {
    let scans = "SELECT relname::text, seq_scan FROM pg_stat_user_tables WHERE relname = ANY($1) ORDER BY relname";
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    sqlx::query_as(scans).bind(LARGE.as_slice()).fetch_all(&mut *connection).await.unwrap()
}
