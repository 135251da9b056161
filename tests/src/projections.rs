//! Events in, rows out; and twice in, the same rows.

use std::sync::Arc;

use ::projections::calls::Calls;
use ::projections::feed::{Feed, FeedQueries};
use ::projections::messaging::Messaging;
use ::projections::people::People;
use ::projections::{Foundations, Projection};
use domain::call::{CallAccepted, CallEnded, CallEvent, CallFoundBusy, CallParties, CallStarted, CallType, EndReason};
use domain::delivery::{Delivered, DeliveryEvent, MessagesDelivered};
use domain::login::{LoginEvent, LoginReleased, LoginReserved};
use domain::message::{MessageEvent, MessageKind, MessageSent};
use domain::reading::{MessagesRead, ReadingEvent};
use domain::user::{UserCreated, UserEvent, UserReactivated, UserSuspended};
use domain::{BusinessId, CallId, ConversationId, DomainEvent, MessageId, Personal, Role, Timestamp, UserId};
use event_store::memory::MemoryStore;
use event_store::{Actor, Append, EventStore, Expected, Metadata, NewEvent, RecordedEvent, StreamId, codec};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{DEADLINE, Database};

const BUSINESS: BusinessId = BusinessId(Uuid::from_u128(1));
const ALICE: UserId = UserId(Uuid::from_u128(2));
const BOB: UserId = UserId(Uuid::from_u128(3));

fn at(s: i64) -> Timestamp {
    Timestamp::from_unix_ms(s * 1000)
}

fn metadata() -> Metadata {
    Metadata { business_id: BUSINESS.0, actor: Actor::default(), correlation_id: Uuid::nil(), causation_id: None }
}

/// A log of these events, each in a stream of the given name.
async fn log(events: impl IntoIterator<Item = (StreamId, NewEvent)>) -> MemoryStore {
    let store = MemoryStore::new(OffsetDateTime::now_utc);
    for (stream, event) in events {
        let version = store.read_stream(&stream, 0, 1000).await.unwrap().len() as u64;
        let expected = Expected::after(version);
        store.append(Append { stream, expected, metadata: metadata(), events: vec![event] }).await.unwrap();
    }
    store
}

fn event(category: &str, id: impl std::fmt::Display, fact: &impl DomainEvent) -> (StreamId, NewEvent) {
    (StreamId::new(category, id), codec::encode(Uuid::now_v7(), fact.event_type(), fact.schema_version(), fact))
}

fn user_created(id: UserId, name: &str) -> (StreamId, NewEvent) {
    let fact = UserEvent::Created(UserCreated {
        user_id: id,
        business_id: BUSINESS,
        email: Personal::of(id, format!("{name}@Example.com")),
        name: Personal::of(id, name.to_owned()),
        avatar: None,
        role: Role::BusinessAdmin,
        password_hash: Personal::of(id, "hash".to_owned()),
        created_at: at(1),
    });
    event("user", id, &fact)
}

fn message_sent(n: u128, from: UserId, to: UserId) -> (StreamId, NewEvent) {
    let id = MessageId(Uuid::from_u128(n));
    let fact = MessageEvent::Sent(MessageSent {
        message_id: id,
        conversation_id: ConversationId::between(from, to),
        business_id: BUSINESS,
        sender_id: from,
        recipient_id: to,
        content: Personal::of(from, format!("message {n}")),
        kind: MessageKind::Text,
        attachments: vec![],
        fingerprint: None,
        sent_at: at(2),
    });
    event("message", id, &fact)
}

fn read_up_to(message_position: u64) -> (StreamId, NewEvent) {
    let conversation_id = ConversationId::between(ALICE, BOB);
    let fact = ReadingEvent::Read(MessagesRead {
        conversation_id,
        business_id: BUSINESS,
        reader_id: BOB,
        sender_id: ALICE,
        message_id: MessageId(Uuid::from_u128(1)),
        message_position,
        read_at: at(3),
    });
    event("reading", format!("{conversation_id}.{BOB}"), &fact)
}

/// A life of people: someone is created, suspended and let in again; a login comes to nothing, another waits.
fn people() -> Vec<(StreamId, NewEvent)> {
    let login = |id: &str, user_id: u128, n| {
        let reserved =
            LoginReserved { business_id: BUSINESS, user_id: UserId(Uuid::from_u128(user_id)), reserved_at: at(n) };
        event("login", id, &LoginEvent::Reserved(reserved))
    };
    let released = LoginReleased { user_id: UserId(Uuid::from_u128(9)), released_at: at(5) };
    vec![
        login("a", 2, 1),
        user_created(ALICE, "Alice"),
        login("b", 3, 1),
        user_created(BOB, "Bob"),
        login("c", 9, 1),
        event("login", "c", &LoginEvent::Released(released)),
        login("d", 10, 1),
        event("user", ALICE, &UserEvent::Suspended(UserSuspended { suspended_at: at(3) })),
        event("user", BOB, &UserEvent::Suspended(UserSuspended { suspended_at: at(3) })),
        event("user", ALICE, &UserEvent::Reactivated(UserReactivated { reactivated_at: at(4) })),
    ]
}

/// A conversation: positions 1 to 4 are messages, the first two of which are read, in the wrong order.
fn messages() -> Vec<(StreamId, NewEvent)> {
    let mut events: Vec<_> =
        (1..=4).map(|n| message_sent(n, if n == 3 { BOB } else { ALICE }, if n == 3 { ALICE } else { BOB })).collect();
    events.extend([read_up_to(2), read_up_to(1), delivered_up_to(4), delivered_up_to(3)]);
    events
}

fn delivered_up_to(message_position: u64) -> (StreamId, NewEvent) {
    let message = Delivered {
        conversation_id: ConversationId::between(ALICE, BOB),
        sender_id: ALICE,
        message_id: MessageId(Uuid::from_u128(1)),
        message_position,
    };
    let fact =
        MessagesDelivered { recipient_id: BOB, business_id: BUSINESS, up_to: vec![message], delivered_at: at(4) };
    event("delivery", BOB, &DeliveryEvent::Delivered(fact))
}

/// Two calls: one is answered and ended, the other finds the callee busy.
fn calls() -> Vec<(StreamId, NewEvent)> {
    let parties = |n| CallParties {
        call_id: CallId(Uuid::from_u128(n)),
        conversation_id: ConversationId::between(ALICE, BOB),
        business_id: BUSINESS,
        caller_id: ALICE,
        receiver_id: BOB,
    };
    let (call_type, room_id) = (CallType::Video, "room".to_owned());
    let facts = [
        CallEvent::Started(CallStarted {
            parties: parties(1),
            call_type,
            room_id: room_id.clone(),
            started_at: at(1),
            rings_until: at(46),
        }),
        CallEvent::FoundBusy(CallFoundBusy { parties: parties(2), call_type, room_id, started_at: at(2) }),
        CallEvent::Accepted(CallAccepted { parties: parties(1), accepted_at: at(3) }),
        CallEvent::Ended(CallEnded {
            parties: parties(1),
            ended_by: Some(BOB),
            reason: EndReason::HungUp,
            duration_ms: 60_000,
            ended_at: at(63),
        }),
    ];
    facts.iter().map(|fact| event("call", fact.parties().call_id, fact)).collect()
}

async fn write<P: Projection>(pool: &PgPool, events: &[RecordedEvent]) {
    let mut changes = P::Changes::default();
    for event in events {
        P::collect(&mut changes, event).unwrap();
    }
    P::write(changes, &mut pool.acquire().await.unwrap()).await.unwrap();
}

async fn rows(pool: &PgPool, table: &str) -> Vec<Value> {
    let query = format!("SELECT to_jsonb(t) FROM {table} t ORDER BY t::text");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(pool).await.unwrap()
}

async fn all_rows(pool: &PgPool, tables: &[&str]) -> Vec<Vec<Value>> {
    let mut all = vec![];
    for table in tables {
        all.push(rows(pool, table).await);
    }
    all
}

/// Whatever batches the events come in, and however often, the rows are the same.
async fn gives_the_same_rows_however_it_is_fed<P: Projection>(
    events: Vec<(StreamId, NewEvent)>,
    tables: &[&str],
) -> Vec<Vec<Value>> {
    let events = log(events).await.read_all(0, 1000).await.unwrap();
    let database = Database::create().await;
    let at_once = database.pool().await;
    write::<P>(&at_once, &events).await;
    let expected = all_rows(&at_once, tables).await;
    write::<P>(&at_once, &events).await;
    assert_eq!(all_rows(&at_once, tables).await, expected, "twice in, the same rows");
    at_once.close().await;
    for size in 1..=3 {
        let database = Database::create().await;
        let in_batches = database.pool().await;
        for batch in events.chunks(size) {
            write::<P>(&in_batches, batch).await;
            write::<P>(&in_batches, batch).await;
        }
        assert_eq!(all_rows(&in_batches, tables).await, expected, "in batches of {size}");
        in_batches.close().await;
    }
    expected
}

#[tokio::test]
async fn people_come_out_as_they_went_in() {
    let rows = gives_the_same_rows_however_it_is_fed::<People>(people(), &["users", "unfinished_logins"]).await;
    let [alice, bob] = &rows[0][..] else { panic!("two people expected: {rows:?}") };
    assert_eq!(
        (&alice["name"], &alice["status"], &alice["role"]),
        (&json!("Alice"), &json!("active"), &json!("BUSINESS_ADMIN"))
    );
    assert_eq!((&alice["email"], &alice["email_key"]), (&json!("Alice@Example.com"), &json!("alice@example.com")));
    assert_eq!((&bob["name"], &bob["status"]), (&json!("Bob"), &json!("suspended")));
    let [waiting] = &rows[1][..] else { panic!("one login expected: {rows:?}") };
    assert_eq!(waiting["login_id"], "d");
}

#[tokio::test]
async fn messages_come_out_as_they_went_in() {
    let rows =
        gives_the_same_rows_however_it_is_fed::<Messaging>(messages(), &["messages", "conversation_members"]).await;
    assert_eq!(rows[0].len(), 4);
    let [alice, bob] = &rows[1][..] else { panic!("two members expected: {rows:?}") };
    assert_eq!((&alice["last_position"], &alice["read_position"]), (&json!(4), &json!(0)));
    assert_eq!((&bob["last_position"], &bob["read_position"]), (&json!(4), &json!(2)), "a cursor doesn't go back");
    assert_eq!(bob["delivered_position"], 4);
}

#[tokio::test]
async fn calls_come_out_as_they_went_in() {
    let rows = gives_the_same_rows_however_it_is_fed::<Calls>(calls(), &["calls"]).await;
    let [answered, busy] = &rows[0][..] else { panic!("two calls expected: {rows:?}") };
    assert_eq!((&answered["status"], &answered["end_reason"]), (&json!("ended"), &json!("hung_up")));
    assert_eq!((&answered["duration_ms"], &answered["ended_by"]), (&json!(60_000), &json!(BOB)));
    assert!(answered["accepted_at"].is_string());
    assert_eq!((&busy["status"], &busy["accepted_at"]), (&json!("busy"), &json!(null)));
}

#[tokio::test]
async fn the_feed_has_one_row_an_event_and_audience() {
    let mut events = messages();
    events.extend(calls());
    let tables = ["feed_entries", "feed_conversations", "feed_members"];
    let rows = gives_the_same_rows_however_it_is_fed::<Feed>(events, &tables).await;
    let audience = |id: String| {
        let positions = rows[0].iter().filter(|row| row["audience"] == id).map(|row| row["position"].as_i64().unwrap());
        let mut positions: Vec<i64> = positions.collect();
        positions.sort_unstable();
        positions
    };
    let conversation = ConversationId::between(ALICE, BOB).to_string();
    assert_eq!(audience(conversation), [1, 2, 3, 4, 9, 10, 11, 12], "messages and calls");
    assert_eq!(audience(ALICE.to_string()), [5, 6, 7, 8], "what was read and delivered is for the sender");
    assert_eq!(audience(BOB.to_string()), [0_i64; 0]);
    assert_eq!(rows[1][0]["last_position"], 12);
    assert_eq!(rows[2].len(), 2);
}

#[tokio::test]
async fn the_feed_of_somebody_with_many_conversations_is_read_from_indexes() {
    let database = Database::create().await;
    let pool = database.pool().await;
    // Alice is in half of 1,000 conversations with 200 events each.
    let fill = format!(
        "INSERT INTO feed_conversations SELECT md5(n::text)::uuid, 200000 - (1001 - n) % 1000 FROM generate_series(1, 1000) n;
         INSERT INTO feed_members SELECT '{ALICE}', md5(n::text)::uuid, 0 FROM generate_series(1, 500) n;
         INSERT INTO feed_entries SELECT md5((n % 1000 + 1)::text)::uuid, n FROM generate_series(1, 200000) n;
         ANALYZE feed_conversations, feed_members, feed_entries;"
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&pool).await.unwrap();
    let scans = async || -> (i64, i64) {
        sqlx::query("SELECT pg_stat_force_next_flush()").execute(&pool).await.unwrap();
        let scans = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'feed_entries'";
        sqlx::query_as(scans).fetch_one(&pool).await.unwrap()
    };
    let before = scans().await;
    let feed = FeedQueries::new(pool.clone());
    for after in [0, 1, 100_000, 199_400, 199_999] {
        let page = feed.after(ALICE, after, 100).await.unwrap();
        let expected = (after + 1..=200_000).filter(|position| position % 1000 < 500).take(100);
        assert_eq!(page.positions, expected.collect::<Vec<_>>(), "after {after}");
    }
    let after = scans().await;
    assert_eq!(after.0, before.0, "no scan of the whole table");
    pool.close().await;
}

#[tokio::test]
async fn an_event_of_an_old_version_is_projected_as_todays() {
    let (stream, new) = message_sent(1, ALICE, BOB);
    let mut data: Value = serde_json::from_slice(&new.data).unwrap();
    data.as_object_mut().unwrap().remove("kind");
    let old = NewEvent { schema_version: 1, data: data.to_string().into(), ..new };
    let rows = gives_the_same_rows_however_it_is_fed::<Messaging>(vec![(stream, old)], &["messages"]).await;
    assert_eq!(rows[0][0]["kind"], "text");
}

#[tokio::test]
async fn a_poison_event_is_parked_and_the_rest_goes_on() {
    let (stream, message) = message_sent(2, ALICE, BOB);
    let undecodable = NewEvent { data: "{}".into(), ..message };
    // Decodes, and Postgres can't store it.
    let (nul_stream, nul) = message_sent(3, ALICE, BOB);
    let with_nul = String::from_utf8(nul.data.to_vec()).unwrap().replace("message 3", "nul \\u0000");
    let unwritable = NewEvent { data: with_nul.into(), ..nul };
    let events =
        vec![message_sent(1, ALICE, BOB), (stream, undecodable), (nul_stream, unwritable), message_sent(4, ALICE, BOB)];
    let database = Database::create().await;
    let pool = database.pool().await;
    let foundations = Foundations { store: Arc::new(log(events).await), pool: pool.clone() };
    let (checkpoint, runner) = ::projections::run::<Messaging>(foundations);
    let runner = tokio::spawn(runner);
    checkpoint.reached(4, DEADLINE).await.unwrap();
    runner.abort();
    let positions = async |table: &str| -> Vec<i64> {
        let query = format!("SELECT position FROM {table} ORDER BY position");
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&pool).await.unwrap()
    };
    assert_eq!(positions("messages").await, [1, 4]);
    assert_eq!(positions("parked_events").await, [2, 3]);
}

#[tokio::test]
async fn another_node_takes_over_where_the_one_in_charge_has_stopped() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let store = log(messages()).await;
    let foundations = Foundations { store: Arc::new(store.clone()), pool: pool.clone() };
    let (first, in_charge) = ::projections::run::<Messaging>(foundations.clone());
    let in_charge = tokio::spawn(in_charge);
    first.reached(8, DEADLINE).await.unwrap();
    let (second, looking_on) = ::projections::run::<Messaging>(foundations);
    let looking_on = tokio::spawn(looking_on);
    second.reached(8, DEADLINE).await.unwrap();
    in_charge.abort();
    let (stream, event) = message_sent(5, ALICE, BOB);
    store
        .append(Append { stream, expected: Expected::NoStream, metadata: metadata(), events: vec![event] })
        .await
        .unwrap();
    second.reached(9, DEADLINE).await.unwrap();
    assert_eq!(rows(&pool, "messages").await.len(), 5);
    looking_on.abort();
}
