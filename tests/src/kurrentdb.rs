//! What the KurrentDB adapter does beyond the suite: what is peculiar to its server, and to the client of it.

mod product;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use event_store::kurrentdb::KurrentStore;
use event_store::{
    Actor, Append, AppendError, Appended, Conflict, Delivery, EventStore, Expected, Metadata, NewEvent, Position,
    RecordedEvent, StreamId, Subscription,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use uuid::Uuid;

use crate::support::{DEADLINE, KurrentDb, free_port};

async fn open(server: &KurrentDb) -> Arc<KurrentStore> {
    Arc::new(KurrentStore::open(&server.url()).await.unwrap())
}

fn append(stream: impl std::fmt::Display, expected: u64, events: impl IntoIterator<Item = u128>) -> Append {
    let event = |n| NewEvent {
        event_id: Uuid::from_u128(n),
        event_type: "Counted".into(),
        schema_version: 3,
        data: format!(r#"{{"n":{n}}}"#).into(),
    };
    Append {
        stream: StreamId::new("counter", stream),
        expected: Expected::after(expected),
        metadata: Metadata {
            business_id: Uuid::from_u128(10),
            actor: Actor { user: Some(Uuid::from_u128(11)), role: Some("BUSINESS_USER".into()), session: None },
            correlation_id: Uuid::from_u128(12),
            causation_id: Some(Uuid::from_u128(13)),
        },
        events: events.into_iter().map(event).collect(),
    }
}

fn numbers(events: &[RecordedEvent]) -> Vec<u128> {
    events.iter().map(|event| event.event_id.as_u128()).collect()
}

/// The next `count` events. Whatever else is said is no error.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<RecordedEvent> {
    let mut events = vec![];
    while events.len() < count {
        if let Delivery::Events(batch) = timeout(DEADLINE, subscription.next()).await.unwrap().unwrap() {
            events.extend_from_slice(&batch);
        }
    }
    events
}

async fn until_caught_up(subscription: &mut Subscription) -> Position {
    loop {
        if let Delivery::CaughtUp(position) = timeout(DEADLINE, subscription.next()).await.unwrap().unwrap() {
            return position;
        }
    }
}

/// An error, and all that it comes from, as it would be logged.
fn everything_about(error: &dyn Error) -> String {
    let (mut said, mut next) = (vec![], Some(error));
    while let Some(error) = next {
        said.push(format!("{error} {error:?}"));
        next = error.source();
    }
    said.join(" ")
}

#[tokio::test]
async fn a_server_that_is_late_is_waited_for() {
    let server = KurrentDb::start().await;
    // A client whose first connection fails is of no use any more.
    server.refuse_connections(3);
    let store = open(&server).await;
    assert_eq!(store.head().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_comes_is_given_up_after_half_a_minute() {
    let start = tokio::time::Instant::now();
    let url = format!("kurrentdb://admin:hunter2@127.0.0.1:{}?tls=false", free_port());
    let error = KurrentStore::open(&url).await.err().unwrap();
    assert!((20..40).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let said = everything_about(&error);
    assert!(said.contains("connecting to KurrentDB"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_node_that_is_not_the_leader_is_left_for_the_leader() {
    let leader = KurrentDb::start().await;
    let follower = leader.start_follower().await;
    let store = open(&follower).await;
    store.append(append("a", 0, [1])).await.unwrap();
    assert_eq!((leader.appends(), follower.appends()), (1, 0));
    assert_eq!(numbers(&take(&mut store.subscribe(0), 1).await), [1]);
}

#[tokio::test]
async fn an_append_follows_a_leader_that_changes() {
    let (server, elsewhere) = (KurrentDb::start().await, KurrentDb::start().await);
    let store = open(&server).await;
    let other = server.start_follower().await;
    server.is_no_leader_once(other.port());
    // It is sent to the other one, which has just lost to this one.
    store.append(append("a", 0, [1])).await.unwrap();
    assert_eq!((server.appends(), other.appends(), elsewhere.appends()), (1, 0, 0));
}

#[tokio::test]
async fn a_leader_that_can_not_be_reached_is_looked_for_anew() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    server.is_no_leader_once(free_port());
    store.append(append("a", 0, [1])).await.unwrap();
    assert_eq!(server.appends(), 1);
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    for status in [
        Status::unavailable("Server Is Too Busy"),
        Status::aborted("Operation timed out"),
        Status::unknown("No leader info available in response"),
        Status::deadline_exceeded("too late"),
    ] {
        server.refuse_next(status.clone());
        store.read_all(0, 10).await.unwrap();
        server.refuse_next(status);
        store.append(append(Uuid::now_v7(), 0, [1])).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    server.refuse_next(Status::permission_denied("Access Denied"));
    store.append(append("a", 0, [1])).await.unwrap_err();
    assert_eq!(server.appends(), 0);
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_takes_place_once() {
    for recognises_retries in [false, true] {
        let server = KurrentDb::start().await;
        if recognises_retries {
            server.recognise_retries();
        }
        let store = open(&server).await;
        for (stream, events) in [("one", vec![1]), ("more", vec![2, 3, 4])] {
            server.lose_next_answer();
            let count = events.len() as u64;
            let appended = store.append(append(stream, 0, events.clone())).await.unwrap();
            let read = store.read_stream(&StreamId::new("counter", stream), 0, 10).await.unwrap();
            assert_eq!(numbers(&read), events);
            assert_eq!(appended, Appended { position: read.last().unwrap().position, stream_version: count });
        }
        assert_eq!(server.appends(), 4, "each of them came twice");
    }
}

#[tokio::test]
async fn a_lost_answer_hides_no_conflict() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    store.append(append("a", 0, [1])).await.unwrap();
    server.lose_next_answer();
    let error = store.append(append("a", 0, [2])).await.unwrap_err();
    assert!(matches!(error, AppendError::Conflict(Conflict { expected: 0, actual: 1 })), "{error:?}");
}

#[tokio::test]
async fn an_append_that_is_too_large_for_the_server_is_unacceptable() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    server.refuse_next(Status::invalid_argument("Maximum Append Size of 1048576 Exceeded."));
    let error = store.append(append("a", 0, [1])).await.unwrap_err();
    assert!(matches!(error, AppendError::Unacceptable), "{error:?}");
}

#[tokio::test]
async fn what_others_write_reaches_no_reader() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    for n in 0..5 {
        store.append(append(n, 0, [n])).await.unwrap();
    }
    // More than is looked at in one go for the head.
    for n in 0..50 {
        server.write("orders-2", "OrderPlaced");
        server.write(&format!("$system-{n}"), "$happened");
    }
    let read = store.read_all(0, 100).await.unwrap();
    assert_eq!(numbers(&read), [0, 1, 2, 3, 4]);
    assert!(read.is_sorted_by(|one, next| one.position + 1 < next.position), "there is something in between");
    let head = read.last().unwrap().position;
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(open(&server).await.head().await.unwrap(), head, "also for one who has written nothing");
    let mut subscription = store.subscribe(0);
    assert_eq!(take(&mut subscription, 5).await, read);
    assert_eq!(until_caught_up(&mut subscription).await, head);
    let theirs: Vec<Position> =
        server.records().iter().filter(|record| record.event_type != "Counted").map(|record| record.position).collect();
    assert!(store.read_at(&theirs[..3]).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_is_kept_as_others_expect_it_in_this_server() {
    let server = KurrentDb::start().await;
    open(&server).await.append(append("a", 0, [1])).await.unwrap();
    let record = server.records().into_iter().find(|record| record.stream == "counter-a").unwrap();
    assert_eq!((&*record.event_type, &*record.content_type), ("Counted", "application/json"));
    assert_eq!(record.data, br#"{"n":1}"#);
    let metadata: Value = serde_json::from_slice(&record.custom_metadata).unwrap();
    let id = |n| Uuid::from_u128(n).to_string();
    let expected = json!({
        "schemaVersion": 3,
        "businessId": id(10),
        "actor": { "user": id(11), "role": "BUSINESS_USER", "session": null },
        "$correlationId": id(12),
        "$causationId": id(13),
    });
    assert_eq!(metadata, expected);
}

#[tokio::test]
async fn an_event_with_two_positions_is_an_error_if_it_is_one_of_ours() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    store.append(append("a", 0, [1])).await.unwrap();
    server.put_into_a_transaction("orders-1");
    assert_eq!(numbers(&store.read_all(0, 10).await.unwrap()), [1]);
    server.put_into_a_transaction("counter-a");
    store.read_all(0, 10).await.unwrap_err();
    store.read_stream(&StreamId::new("counter", "a"), 0, 10).await.unwrap_err();
    assert!(timeout(DEADLINE, store.subscribe(0).next()).await.unwrap().is_err());
}

#[tokio::test]
async fn times_are_those_of_the_server_to_the_tenth_of_a_microsecond() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    store.append(append("a", 0, [1])).await.unwrap();
    let record = server.records().into_iter().find(|record| record.stream == "counter-a").unwrap();
    let read = store.read_all(0, 1).await.unwrap();
    assert_eq!(read[0].recorded_at.unix_timestamp_nanos(), i128::from(record.created) * 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_survives_cuts_and_ends_while_64_writers_write() {
    const COUNT: u128 = 64 * 20;
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    let mut subscription = store.subscribe(0);
    let mut writers = JoinSet::new();
    for writer in 0..64 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..20 {
                let n = writer * 20 + n;
                store.append(append(n, 0, [n])).await.unwrap();
            }
        });
    }
    let mut seen = vec![];
    let mut interruptions = 0;
    while seen.len() < usize::try_from(COUNT).unwrap() {
        seen.extend(take(&mut subscription, 1).await);
        // While there is something to be missed, and time for the writers to go on.
        if seen.len() > interruptions * 100 {
            interruptions += 1;
            // The client would ask a subscription that has ended in good order for more, for ever.
            if interruptions % 2 == 0 { server.cut_connections() } else { server.end_subscriptions() }
        }
    }
    writers.join_all().await;
    assert!(seen.is_sorted_by(|one, next| one.position < next.position), "nothing comes twice");
    assert_eq!(BTreeSet::from_iter(numbers(&seen)), (0..COUNT).collect(), "nothing is missing");
    assert!(server.subscriptions().len() > 2, "it was interrupted: {:?}", server.subscriptions());
}

#[tokio::test]
async fn a_subscription_is_taken_up_where_the_server_had_looked() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    store.append(append("a", 0, [1])).await.unwrap();
    for _ in 0..2500 {
        server.write("$stats", "$statsCollected");
    }
    let mut subscription = store.subscribe(0);
    let head = take(&mut subscription, 1).await[0].position;
    assert_eq!(until_caught_up(&mut subscription).await, head, "what is said is where the last event was");
    server.cut_connections();
    until_caught_up(&mut subscription).await;
    let (subscriptions, records) = (server.subscriptions(), server.records());
    assert_eq!(subscriptions[0], 0);
    // It says so every thousand events.
    let looked_at = records[records.len() - 1001].position;
    assert!(
        subscriptions[1] >= looked_at,
        "{subscriptions:?}: what was looked at up to {looked_at} is looked at again"
    );
}

#[tokio::test]
async fn a_server_that_does_not_say_when_a_follower_has_caught_up_is_looked_at() {
    let server = KurrentDb::start().await;
    server.never_say_caught_up();
    let store = open(&server).await;
    let appended = store.append(append("a", 0, [1])).await.unwrap();
    let mut subscription = store.subscribe(0);
    assert_eq!(until_caught_up(&mut subscription).await, appended.position);
    store.append(append("b", 0, [2])).await.unwrap();
    assert_eq!(numbers(&take(&mut subscription, 1).await), [2]);
}

#[tokio::test]
async fn credentials_are_those_of_the_connection_string_and_never_told() {
    let server = KurrentDb::start().await;
    // user@example.com, p@ss:word
    server.require("Basic dXNlckBleGFtcGxlLmNvbTpwQHNzOndvcmQ=");
    let url = |credentials: &str| server.url().replace("://", &format!("://{credentials}@"));
    let store = KurrentStore::open(&url("user%40example.com:p%40ss%3Aword")).await.unwrap();
    store.append(append("a", 0, [1])).await.unwrap();
    assert_eq!(numbers(&take(&mut store.subscribe(0), 1).await), [1]);
    let refused = KurrentStore::open(&url("admin:hunter2")).await.err().unwrap();
    let misunderstood = KurrentStore::open("kurrentdb://admin:hunter2@host:port").await.err().unwrap();
    for error in [refused, misunderstood] {
        let said = everything_about(&error);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_store_that_was_shut_down_appends_nothing_more() {
    let server = KurrentDb::start().await;
    let store = open(&server).await;
    let underway = tokio::spawn({
        let store = store.clone();
        async move { store.append(append("a", 0, [1])).await }
    });
    while server.appends() == 0 {
        tokio::task::yield_now().await;
    }
    store.clone().shut_down().await;
    underway.await.unwrap().unwrap();
    store.append(append("b", 0, [2])).await.unwrap_err();
    assert_eq!(server.appends(), 1);
}
