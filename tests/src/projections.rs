//! Events in, rows out; and twice in, the same rows or none.

mod events;
mod rebuilding;

use crate::support::{DEADLINE, Database, Random, full_scale, seed};
use ::projections::audit::Audit;
use ::projections::calls::Calls;
use ::projections::feed::{Feed, FeedQueries};
use ::projections::messaging::Messaging;
use ::projections::people::People;
use ::projections::{Projection, Projector, Readers, Sources};
use domain::reading::{MessagesRead, ReadingEvent};
use domain::{ConversationId, UserId};
use event_store::memory::MemoryStore;
use event_store::{Append, EventStore, Expected, NewEvent, RecordedEvent, StreamId};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

use self::events::*;

async fn write<P: Projection>(pool: &PgPool, events: &[RecordedEvent]) {
    let mut changes = P::Changes::default();
    for event in events {
        P::collect(&mut changes, event).unwrap();
    }
    P::write(changes, &mut pool.acquire().await.unwrap()).await.unwrap();
}

/// Writes what has been written before, as a batch is: all of it or nothing. It may be refused.
async fn write_again<P: Projection>(pool: &PgPool, events: &[RecordedEvent]) {
    let mut changes = P::Changes::default();
    for event in events {
        P::collect(&mut changes, event).unwrap();
    }
    let mut transaction = pool.begin().await.unwrap();
    match P::write(changes, &mut transaction).await {
        Ok(()) => transaction.commit().await.unwrap(),
        Err(error) => {
            let error = error.into_database_error().expect("it is what the rows are about");
            assert!(error.is_unique_violation(), "{error}");
            transaction.rollback().await.unwrap();
        }
    }
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
    write_again::<P>(&at_once, &events).await;
    assert_eq!(all_rows(&at_once, tables).await, expected, "twice in, the same rows");
    at_once.close().await;
    for size in 1..=3 {
        let database = Database::create().await;
        let in_batches = database.pool().await;
        for batch in events.chunks(size) {
            write::<P>(&in_batches, batch).await;
            write_again::<P>(&in_batches, batch).await;
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
async fn messages_that_were_changed_come_out_as_they_are_now() {
    let tables = ["messages", "conversation_members"];
    let rows = gives_the_same_rows_however_it_is_fed::<Messaging>(changed_messages(), &tables).await;
    let row = |n: u128| rows[0].iter().find(|row| row["id"] == json!(message(n))).unwrap();
    assert_eq!((&row(1)["content"], &row(1)["deleted_at"]), (&json!("twice"), &json!(null)));
    assert_eq!(row(1)["edited_at"], "1970-01-01T00:00:12+00:00");
    for n in [2, 3] {
        let tombstone = row(n);
        assert_eq!((&tombstone["content"], &tombstone["attachments"]), (&json!(null), &json!([])));
        assert_eq!(tombstone["deleted_by"], json!(ALICE));
        assert!(tombstone["deleted_at"].is_string());
    }
    assert_eq!((&row(2)["reply_to"], &row(1)["reply_to"]), (&json!(message(1)), &json!(null)));
    assert_eq!((&row(4)["content"], &row(5)["edited_at"]), (&json!("answered"), &json!(null)));
    let [alice, bob] = &rows[1][..] else { panic!("two members expected: {rows:?}") };
    assert_eq!((&alice["unread"], &bob["unread"]), (&json!(1), &json!(1)), "one each that can be read");
}

#[tokio::test]
async fn files_come_out_with_the_messages_that_carry_them() {
    let tables = ["files", "file_carriers"];
    let rows = gives_the_same_rows_however_it_is_fed::<Messaging>(files(), &tables).await;
    let row = |n: u128| rows[0].iter().find(|row| row["id"] == json!(file(n))).unwrap();
    let none = json!(null);
    for (n, idle_since) in [(1, None), (2, None), (3, Some(6)), (4, Some(1)), (5, None)] {
        let idle_since = idle_since.map_or(none.clone(), |s| json!(format!("1970-01-01T00:00:0{s}+00:00")));
        assert_eq!(row(n)["idle_since"], idle_since, "file {n}");
        assert_eq!(row(n)["removed_at"].is_string(), n == 4, "file {n}");
    }
    assert_eq!((&row(1)["name"], &row(1)["size_bytes"]), (&json!("1.txt"), &json!(3)));
    let carriers: Vec<_> = rows[1]
        .iter()
        .map(|row| {
            (row["file_id"].clone(), row["message_id"].clone(), row["is_sent"].clone(), row["is_deleted"].clone())
        })
        .collect();
    let expected = [(1, 1, true, false), (2, 2, false, false), (5, 5, true, true)];
    let expected =
        expected.map(|(f, m, sent, deleted)| (json!(file(f)), json!(message(m)), json!(sent), json!(deleted)));
    assert_eq!(carriers, expected);
}

#[tokio::test]
async fn a_file_that_is_given_to_the_same_message_again_comes_out_as_given() {
    let events = vec![file_uploaded(1), file_attached(1, 1, 2), file_detached(1, 1, 3), file_attached(1, 1, 4)];
    let rows = gives_the_same_rows_however_it_is_fed::<Messaging>(events, &["files", "file_carriers"]).await;
    assert_eq!((&rows[0][0]["idle_since"], rows[1].len()), (&json!(null), 1));
}

#[tokio::test]
async fn people_who_were_changed_come_out_as_they_are_now() {
    let rows = gives_the_same_rows_however_it_is_fed::<People>(changed_people(), &["users"]).await;
    let [alice, bob] = &rows[0][..] else { panic!("two people expected: {rows:?}") };
    assert_eq!(
        (&alice["name"], &alice["avatar"], &alice["role"]),
        (&json!("Alice Cooper"), &json!(null), &json!("BUSINESS_AUDITOR"))
    );
    assert_eq!(
        (&bob["name"], &bob["avatar"], &bob["role"]),
        (&json!("Bob"), &json!("https://example.com/2.png"), &json!("BUSINESS_USER"))
    );
}

#[tokio::test]
async fn sessions_end_when_their_person_is_logged_out_or_suspended_and_not_those_that_begin_after() {
    let rows = gives_the_same_rows_however_it_is_fed::<People>(ended_sessions(), &["sessions"]).await;
    let ends: Vec<&Value> = rows[0].iter().map(|row| &row["revoked_at"]).collect();
    let ended = |s: i64| json!(format!("1970-01-01T00:00:{s:02}+00:00"));
    let expected = [ended(7), ended(5), ended(4), ended(7), ended(13), ended(10), ended(13), json!(null)];
    assert_eq!(ends, expected.iter().collect::<Vec<_>>());
    assert_eq!(rows[0][4]["expires_at"], "1970-01-01T00:03:20+00:00");
}

/// Messages that somebody in a conversation has got and not read.
type Unread = HashMap<(ConversationId, UserId), i64>;

/// What three people may have done to each other, and how many messages each is left with that they have not read.
fn random_life(random: &mut Random, events: usize) -> (Vec<(StreamId, NewEvent)>, Unread) {
    struct Known {
        n: u128,
        from: UserId,
        to: UserId,
        deleted: bool,
    }
    let people = [ALICE, BOB, CAROL];
    let (mut log, mut known) = (vec![], Vec::<Known>::new());
    let mut cursors = HashMap::<(ConversationId, UserId), u128>::new();
    while log.len() < events {
        // Its number is its position.
        let n = log.len() as u128 + 1;
        let s = i64::try_from(n).unwrap();
        let which = random.index(known.len().max(1));
        let what = if known.is_empty() { 0 } else { random.below(10) };
        if what < 4 {
            let from = random.index(3);
            let to = (from + 1 + random.index(2)) % 3;
            known.push(Known { n, from: people[from], to: people[to], deleted: false });
            log.push(message_sent(n, people[from], people[to]));
            continue;
        }
        let Known { n: id, from, to, deleted } = known[which];
        let conversation_id = ConversationId::between(from, to);
        match what {
            4..6 if !deleted => log.push(message_edited(id, from, to, &format!("edited at {n}"), s)),
            6..8 if !deleted => {
                known[which].deleted = true;
                log.push(message_deleted(id, from, to, s));
            }
            8..10 => {
                let cursor = cursors.entry((conversation_id, to)).or_default();
                if *cursor < id {
                    *cursor = id;
                    let fact = ReadingEvent::Read(MessagesRead {
                        conversation_id,
                        business_id: BUSINESS,
                        reader_id: to,
                        sender_id: from,
                        message_id: message(id),
                        message_position: u64::try_from(id).unwrap(),
                        read_at: at(s),
                    });
                    log.push(event("reading", format!("{conversation_id}.{to}"), &fact));
                }
            }
            _ => {}
        }
    }
    let mut unread = Unread::new();
    for Known { n, from, to, deleted } in known {
        let conversation = ConversationId::between(from, to);
        let read = cursors.get(&(conversation, to)).copied().unwrap_or(0);
        unread.entry((conversation, from)).or_insert(0);
        *unread.entry((conversation, to)).or_insert(0) += i64::from(!deleted && n > read);
    }
    (log, unread)
}

#[tokio::test]
async fn what_is_unread_does_not_depend_on_how_the_log_is_cut_into_batches() {
    let seed = seed();
    eprintln!("SWITCHBOARD_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let database = Database::create().await;
    let pool = database.pool().await;
    let tables = ["messages", "conversation_members"];
    let (lives, cuts) = if full_scale() { (40, 10) } else { (4, 4) };
    for _ in 0..lives {
        let (life, unread) = random_life(&mut random, 150);
        let events = log(life).await.read_all(0, 1000).await.unwrap();
        let mut expected = None;
        for cut in 0..=cuts {
            sqlx::query("TRUNCATE messages, conversation_members").execute(&pool).await.unwrap();
            let mut rest = &events[..];
            while !rest.is_empty() {
                // First all of them one by one, then whatever comes.
                let size = if cut == 0 { 1 } else { 1 + random.index(rest.len().min(40)) };
                let (batch, later) = rest.split_at(size);
                write::<Messaging>(&pool, batch).await;
                if random.below(3) == 0 {
                    write_again::<Messaging>(&pool, batch).await;
                }
                rest = later;
            }
            let rows = all_rows(&pool, &tables).await;
            for member in &rows[1] {
                let id = |field: &str| -> Uuid { member[field].as_str().unwrap().parse().unwrap() };
                let key = (ConversationId(id("conversation_id")), UserId(id("user_id")));
                assert_eq!(member["unread"], unread[&key], "{member}");
            }
            assert_eq!(rows[1].len(), unread.len());
            assert_eq!(&rows, expected.get_or_insert_with(|| rows.clone()));
        }
    }
    pool.close().await;
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
async fn the_feed_tells_both_parties_of_edits_and_deletions() {
    let tables = ["feed_entries", "feed_conversations", "feed_members"];
    let rows = gives_the_same_rows_however_it_is_fed::<Feed>(changed_messages(), &tables).await;
    let conversation = json!(ConversationId::between(ALICE, BOB));
    let of_both = rows[0].iter().filter(|row| row["audience"] == conversation).count();
    assert_eq!((of_both, rows[0].len()), (11, 12), "what was read is for the sender alone");
    assert_eq!(rows[1][0]["last_position"], 12);
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
    let readers = Readers::of((*pool.connect_options()).clone());
    let feed = FeedQueries::new(readers.clone());
    for after in [0, 1, 100_000, 199_400, 199_999] {
        let page = feed.after(ALICE, after, 100).await.unwrap();
        let expected = (after + 1..=200_000).filter(|position| position % 1000 < 500).take(100);
        assert_eq!(page.positions, expected.collect::<Vec<_>>(), "after {after}");
    }
    assert_eq!(feed.forget_before(OffsetDateTime::UNIX_EPOCH).await.unwrap(), 0, "there are no days to be forgotten");
    // A connection tells what it has looked through when it ends, if not before.
    readers.close();
    let mut after = scans().await;
    while after.1 == before.1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        after = scans().await;
    }
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
    let sources = Sources { store: Arc::new(log(events).await), pool: pool.clone() };
    let (checkpoint, runner) = ::projections::run(Projector::of::<Messaging>(), sources);
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
    let sources = Sources { store: Arc::new(store.clone()), pool: pool.clone() };
    let (first, in_charge) = ::projections::run(Projector::of::<Messaging>(), sources.clone());
    let in_charge = tokio::spawn(in_charge);
    first.reached(8, DEADLINE).await.unwrap();
    let (second, looking_on) = ::projections::run(Projector::of::<Messaging>(), sources);
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

/// Has somebody who believes to be in charge of a projection as well take an event in while the one in charge is about to.
async fn overtake<P: Projection>(pool: &PgPool, store: &MemoryStore) {
    let sources = Sources { store: Arc::new(store.clone()), pool: pool.clone() };
    let (checkpoint, in_charge) = ::projections::run(Projector::of::<P>(), sources);
    let in_charge = tokio::spawn(in_charge);
    let head = store.head().await.unwrap();
    checkpoint.reached(head, DEADLINE).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    let moved = "UPDATE projection_checkpoints SET position = position + 1 WHERE projection = $1";
    sqlx::query(moved).bind(P::NAME).execute(&mut *other).await.unwrap();
    let (stream, event) = message_sent(u128::from(head) + 1, ALICE, BOB);
    let append = Append { stream, expected: Expected::NoStream, metadata: metadata(), events: vec![event] };
    store.append(append).await.unwrap();
    let mut changes = P::Changes::default();
    P::collect(&mut changes, &store.read_all(head, 1).await.unwrap()[0]).unwrap();
    P::write(changes, &mut other).await.unwrap();
    let waiting = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                                  WHERE NOT granted AND datname = current_database())";
    let is_waiting = async {
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(pool).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, is_waiting).await.expect("the one in charge waits");
    other.commit().await.unwrap();
    checkpoint.reached(head + 1, DEADLINE).await.unwrap();
    in_charge.abort();
}

#[tokio::test]
async fn what_another_node_has_taken_in_meanwhile_is_not_taken_in_again() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let store = log(messages()).await;
    overtake::<Messaging>(&pool, &store).await;
    overtake::<Feed>(&pool, &store).await;
    overtake::<Audit>(&pool, &store).await;
    let counts = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM feed_entries),
                         (SELECT count(*) FROM audit_events), (SELECT count(*) FROM parked_events)";
    let counts: (i64, i64, i64, i64) = sqlx::query_as(counts).fetch_one(&pool).await.unwrap();
    assert_eq!(counts, (5, 10, 11, 0));
    pool.close().await;
}
