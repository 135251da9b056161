//! Conformance suite of the adapters: [`conformance_suite!`](crate::conformance_suite) makes a test of each function here.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "these are tests: they fail by panicking, and their names say all there is to say"
)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    Actor, Append, AppendError, Appended, Conflict, Delivery, EventStore, Expected, MAX_EVENT_BYTES, Metadata,
    NewEvent, Position, RecordedEvent, StreamId, Subscription,
};

/// Time to wait for an event that must come.
const DEADLINE: Duration = Duration::from_mins(1);

/// One empty log, and what can be done to it from outside.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Another node on the log.
    async fn node(&self) -> Arc<dyn EventStore>;

    /// Cuts every connection that nodes have to the log, as a restart of its server would.
    async fn interrupt(&self);
}

/// Makes a test of each rule, for the adapter that `$harness` (an expression for a future of a [`Harness`]) sets up. With
/// `if any`, it is a future of an `Option` of one: where there is none, nothing is tested.
#[macro_export]
macro_rules! conformance_suite {
    (if any $harness:expr) => {
        $crate::conformance_suite! { $harness =>
            an_event_is_read_back_as_it_was_written
            versions_and_positions_count_up
            an_append_is_all_or_nothing
            a_wrong_expectation_is_a_conflict_that_says_what_was_found
            a_retry_with_the_same_event_ids_succeeds_once
            the_same_ids_in_another_place_are_a_conflict
            of_64_writers_racing_on_one_stream_one_wins_each_version
            each_append_of_a_batch_learns_its_own_fate
            a_tailing_reader_sees_every_position_in_order_while_64_writers_write
            a_subscription_sees_every_event_once_while_64_writers_write
            a_subscription_starts_anywhere_and_says_when_it_has_caught_up
            a_follower_that_falls_behind_catches_up
            two_nodes_write_one_log
            two_nodes_race_on_one_stream
            after_an_interruption_everything_acknowledged_is_there_once
            streams_and_the_log_are_read_forwards_from_anywhere_page_by_page
            events_are_read_by_their_positions
            large_events_are_kept_and_larger_ones_refused
            recorded_times_never_go_back
        }
    };
    ($harness:expr) => {
        $crate::conformance_suite! { if any async { Some($harness.await) } }
    };
    ($harness:expr => $($rule:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(harness) = $harness.await {
                    $crate::conformance::$rule(&harness).await;
                }
            }
        )+
    };
}

fn metadata() -> Metadata {
    Metadata {
        business_id: Uuid::from_u128(1),
        actor: Actor {
            user: Some(Uuid::from_u128(2)),
            role: Some(Cow::Borrowed("BUSINESS_USER")),
            session: Some(Uuid::from_u128(3)),
        },
        correlation_id: Uuid::from_u128(4),
        causation_id: None,
    }
}

/// An event whose id and data come from `n`: a test gives each of its events another one.
fn event(n: u128) -> NewEvent {
    NewEvent {
        event_id: Uuid::from_u128(n),
        event_type: Cow::Borrowed("Counted"),
        schema_version: 1,
        data: Bytes::from(format!(r#"{{"n":{n}}}"#)),
    }
}

fn append(stream: &StreamId, expected: u64, events: impl IntoIterator<Item = u128>) -> Append {
    Append {
        stream: stream.clone(),
        expected: Expected::after(expected),
        metadata: metadata(),
        events: events.into_iter().map(event).collect(),
    }
}

fn stream(id: impl std::fmt::Display) -> StreamId {
    StreamId::new("conformance", id)
}

fn numbers(events: &[RecordedEvent]) -> Vec<u128> {
    events.iter().map(|event| event.event_id.as_u128()).collect()
}

async fn everything(store: &dyn EventStore) -> Vec<RecordedEvent> {
    let mut events: Vec<RecordedEvent> = vec![];
    loop {
        let page = store.read_all(events.last().map_or(0, |last| last.position), 100).await.unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

/// The next `count` events of a subscription.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<RecordedEvent> {
    let mut events = vec![];
    tokio::time::timeout(DEADLINE, async {
        while events.len() < count {
            match subscription.next().await {
                Ok(Delivery::Events(batch)) => events.extend_from_slice(&batch),
                Ok(Delivery::CaughtUp(_)) | Err(_) => {}
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("got {} of {count} events", events.len()));
    events
}

/// Reads until the notice that this was all, and returns what came before it and the position that it names.
async fn until_caught_up(subscription: &mut Subscription) -> (Vec<RecordedEvent>, Position) {
    let mut events = vec![];
    loop {
        match tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap() {
            Delivery::Events(batch) => events.extend_from_slice(&batch),
            Delivery::CaughtUp(position) => return (events, position),
        }
    }
}

/// So many writers, each appending so many single events to streams of its own; event ids start at `first`.
fn write_much(store: &Arc<dyn EventStore>, writers: u128, each: u128, first: u128) -> JoinSet<Vec<Appended>> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut appended = vec![];
            for n in 0..each {
                let n = first + writer * each + n;
                appended.push(store.append(append(&stream(n), 0, [n])).await.unwrap());
            }
            appended
        });
    }
    tasks
}

pub async fn an_event_is_read_back_as_it_was_written(harness: &dyn Harness) {
    let store = harness.node().await;
    let odd_spacing = Bytes::from_static("{ \"b\":1,\n\"a\" : \"ü \\u00fc\" }".as_bytes());
    let written = NewEvent { data: odd_spacing, ..event(1) };
    let metadata = Metadata { causation_id: Some(Uuid::from_u128(5)), ..metadata() };
    let by_the_system = Metadata { actor: Actor::default(), ..metadata.clone() };
    for (n, metadata) in [(1, metadata), (2, by_the_system)] {
        let written = NewEvent { event_id: Uuid::from_u128(n), ..written.clone() };
        let expected = Expected::after(u64::try_from(n).unwrap() - 1);
        let appended = store
            .append(Append {
                stream: stream("a-b"),
                expected,
                metadata: metadata.clone(),
                events: vec![written.clone()],
            })
            .await
            .unwrap();
        let read = store.read_stream(&stream("a-b"), appended.stream_version - 1, 10).await.unwrap();
        let [read] = &read[..] else { panic!("one event expected, got {read:?}") };
        assert_eq!(read.event_id, written.event_id);
        assert_eq!(read.event_type, written.event_type);
        assert_eq!(read.schema_version, written.schema_version);
        assert_eq!(read.data, written.data);
        assert_eq!(read.metadata, metadata);
        assert_eq!(read.stream, stream("a-b"));
        assert_eq!((read.stream_version, read.position), (appended.stream_version, appended.position));
    }
}

pub async fn versions_and_positions_count_up(harness: &dyn Harness) {
    let store = harness.node().await;
    let first = store.append(append(&stream("a"), 0, [1, 2])).await.unwrap();
    let second = store.append(append(&stream("b"), 0, [3])).await.unwrap();
    let third = store.append(append(&stream("a"), 2, [4])).await.unwrap();
    assert_eq!((first.stream_version, second.stream_version, third.stream_version), (2, 1, 3));
    assert!(first.position < second.position && second.position < third.position);
    assert_eq!(store.head().await.unwrap(), third.position);
    let read = store.read_stream(&stream("a"), 0, 10).await.unwrap();
    assert_eq!(read.iter().map(|event| event.stream_version).collect::<Vec<_>>(), [1, 2, 3]);
}

pub async fn an_append_is_all_or_nothing(harness: &dyn Harness) {
    let store = harness.node().await;
    store.append(append(&stream("a"), 0, [1])).await.unwrap();
    store.append(append(&stream("a"), 0, [2, 3])).await.unwrap_err();
    assert!(matches!(store.append(append(&stream("a"), 1, [])).await, Err(AppendError::Unacceptable)));
    assert_eq!(numbers(&everything(&*store).await), [1]);
}

pub async fn a_wrong_expectation_is_a_conflict_that_says_what_was_found(harness: &dyn Harness) {
    let store = harness.node().await;
    store.append(append(&stream("two"), 0, [1, 2])).await.unwrap();
    for (id, expected, actual) in [("two", 0, 2), ("two", 1, 2), ("two", 3, 2), ("none", 1, 0)] {
        let error = store.append(append(&stream(id), expected, [9])).await.unwrap_err();
        let AppendError::Conflict(conflict) = error else { panic!("a conflict expected, got {error:?}") };
        assert_eq!(conflict, Conflict { expected, actual });
    }
    assert_eq!(numbers(&everything(&*store).await), [1, 2]);
}

pub async fn a_retry_with_the_same_event_ids_succeeds_once(harness: &dyn Harness) {
    let (store, other) = (harness.node().await, harness.node().await);
    let first = store.append(append(&stream("a"), 0, [1, 2])).await.unwrap();
    let second = store.append(append(&stream("a"), 2, [3])).await.unwrap();
    store.append(append(&stream("b"), 0, [4])).await.unwrap();
    for node in [&store, &other] {
        assert_eq!(node.append(append(&stream("a"), 0, [1, 2])).await.unwrap(), first);
        assert_eq!(node.append(append(&stream("a"), 2, [3])).await.unwrap(), second);
    }
    let both = (append(&stream("c"), 0, [5]), append(&stream("c"), 0, [5]));
    let (one, two) = tokio::join!(store.append(both.0), other.append(both.1));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(numbers(&everything(&*store).await), [1, 2, 3, 4, 5]);
}

pub async fn the_same_ids_in_another_place_are_a_conflict(harness: &dyn Harness) {
    let store = harness.node().await;
    store.append(append(&stream("a"), 0, [1, 2])).await.unwrap();
    for (expected, events) in [(0, vec![2, 1]), (0, vec![1, 3]), (0, vec![1, 2, 3]), (1, vec![1])] {
        let error = store.append(append(&stream("a"), expected, events)).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict(_)), "{error:?}");
    }
    assert_eq!(numbers(&everything(&*store).await), [1, 2]);
}

pub async fn of_64_writers_racing_on_one_stream_one_wins_each_version(harness: &dyn Harness) {
    const WRITERS: u128 = 64;
    const VERSIONS: u64 = 10;
    let store = harness.node().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut won = vec![];
            for version in 0..VERSIONS {
                let n = u128::from(version) * WRITERS + writer + 1;
                match store.append(append(&stream("contested"), version, [n])).await {
                    Ok(appended) => {
                        assert_eq!(appended.stream_version, version + 1);
                        won.push(n);
                    }
                    Err(AppendError::Conflict(conflict)) => assert_ne!(conflict.actual, version),
                    Err(error) => panic!("{error:?}"),
                }
                // The next round begins once this one is decided.
                while store.read_stream(&stream("contested"), version, 1).await.unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            won
        });
    }
    let mut won: Vec<u128> = writers.join_all().await.concat();
    won.sort_unstable();
    let events = store.read_stream(&stream("contested"), 0, 1000).await.unwrap();
    assert_eq!(numbers(&events), won);
    assert_eq!(won.len() as u64, VERSIONS);
}

pub async fn each_append_of_a_batch_learns_its_own_fate(harness: &dyn Harness) {
    let store = harness.node().await;
    store.append(append(&stream("taken"), 0, [1])).await.unwrap();
    let mut appends = JoinSet::new();
    for n in 2..300_u128 {
        let store = store.clone();
        appends.spawn(async move {
            let (append, fine) = match n % 3 {
                0 => (append(&stream(n), 0, [n]), true),
                1 => (append(&stream("taken"), 0, [n]), false),
                _ => (append(&stream(n), 7, [n]), false),
            };
            let outcome = store.append(append).await;
            assert_eq!(outcome.is_ok(), fine, "append {n}: {outcome:?}");
            fine.then_some(n)
        });
    }
    let mut fine: Vec<u128> = appends.join_all().await.into_iter().flatten().collect();
    fine.push(1);
    let kept = numbers(&everything(&*store).await);
    assert_eq!(kept.len(), fine.len());
    assert_eq!(BTreeSet::from_iter(kept), BTreeSet::from_iter(fine));
}

pub async fn a_tailing_reader_sees_every_position_in_order_while_64_writers_write(harness: &dyn Harness) {
    const COUNT: usize = 64 * 30;
    let store = harness.node().await;
    let writers = write_much(&store, 64, 30, 1);
    let mut seen: Vec<RecordedEvent> = vec![];
    tokio::time::timeout(DEADLINE, async {
        while seen.len() < COUNT {
            seen.extend(store.read_all(seen.last().map_or(0, |last| last.position), 50).await.unwrap());
        }
    })
    .await
    .unwrap();
    let acknowledged: BTreeSet<Position> =
        writers.join_all().await.into_iter().flatten().map(|appended| appended.position).collect();
    let positions: Vec<Position> = seen.iter().map(|event| event.position).collect();
    assert!(positions.is_sorted_by(|one, next| one < next), "positions increase");
    assert_eq!(BTreeSet::from_iter(positions), acknowledged, "a tailing reader misses nothing");
    assert_eq!(seen, everything(&*store).await, "what was read while writing is what is there");
}

pub async fn a_subscription_sees_every_event_once_while_64_writers_write(harness: &dyn Harness) {
    const EACH: usize = 64 * 20;
    let store = harness.node().await;
    let early = store.subscribe(0);
    let first = write_much(&store, 64, 20, 1);
    let late = store.subscribe(0);
    let second = write_much(&store, 64, 20, 1 + EACH as u128);
    for mut subscription in [early, late] {
        let seen = take(&mut subscription, 2 * EACH).await;
        let positions: Vec<Position> = seen.iter().map(|event| event.position).collect();
        assert!(positions.is_sorted_by(|one, next| one < next));
        let expected: BTreeSet<u128> = (1..=2 * EACH as u128).collect();
        assert_eq!(BTreeSet::from_iter(numbers(&seen)), expected);
    }
    first.join_all().await;
    second.join_all().await;
}

pub async fn a_subscription_starts_anywhere_and_says_when_it_has_caught_up(harness: &dyn Harness) {
    let store = harness.node().await;
    let mut positions = vec![0];
    for n in 1..=5 {
        positions.push(store.append(append(&stream(n), 0, [n])).await.unwrap().position);
    }
    for (after, position) in positions.iter().enumerate() {
        let mut subscription = store.subscribe(*position);
        let (events, caught_up) = until_caught_up(&mut subscription).await;
        assert_eq!(numbers(&events), (after as u128 + 1..=5).collect::<Vec<_>>());
        assert_eq!(caught_up, positions[5]);
    }
    let mut subscription = store.subscribe(positions[5]);
    until_caught_up(&mut subscription).await;
    store.append(append(&stream(6), 0, [6])).await.unwrap();
    assert_eq!(numbers(&take(&mut subscription, 1).await), [6]);
}

pub async fn a_follower_that_falls_behind_catches_up(harness: &dyn Harness) {
    let store = harness.node().await;
    let mut slow = store.subscribe(0);
    until_caught_up(&mut slow).await;
    // More than any queue of batches holds, one after the other so that each is a batch.
    let count = 1500;
    for n in 1..=count {
        store.append(append(&stream(n), 0, [n])).await.unwrap();
    }
    let seen = take(&mut slow, usize::try_from(count).unwrap()).await;
    assert_eq!(numbers(&seen), (1..=count).collect::<Vec<_>>());
}

pub async fn two_nodes_write_one_log(harness: &dyn Harness) {
    const EACH: usize = 16 * 20;
    let (one, other) = (harness.node().await, harness.node().await);
    let mut subscriptions = [one.subscribe(0), other.subscribe(0)];
    let writers = [write_much(&one, 16, 20, 1), write_much(&other, 16, 20, 1 + EACH as u128)];
    for tasks in writers {
        tasks.join_all().await;
    }
    let log = everything(&*one).await;
    assert_eq!(log.len(), 2 * EACH);
    for subscription in &mut subscriptions {
        assert_eq!(take(subscription, 2 * EACH).await, log, "both nodes' followers see both nodes' events, in order");
    }
}

pub async fn two_nodes_race_on_one_stream(harness: &dyn Harness) {
    let nodes = [harness.node().await, harness.node().await];
    for version in 0..30 {
        let n = u128::from(version) * 2 + 1;
        let (one, other) = tokio::join!(
            nodes[0].append(append(&stream("contested"), version, [n])),
            nodes[1].append(append(&stream("contested"), version, [n + 1]))
        );
        assert!(one.is_ok() != other.is_ok(), "version {version}: {one:?}, {other:?}");
    }
    assert_eq!(nodes[0].read_stream(&stream("contested"), 0, 100).await.unwrap().len(), 30);
}

pub async fn after_an_interruption_everything_acknowledged_is_there_once(harness: &dyn Harness) {
    const COUNT: usize = 16 * 30;
    let store = harness.node().await;
    let mut subscription = store.subscribe(0);
    let writers = write_much(&store, 16, 30, 1);
    for done in [40, 200] {
        while everything_or_nothing(&*store).await.len() < done {
            tokio::task::yield_now().await;
        }
        harness.interrupt().await;
    }
    let acknowledged: Vec<Appended> = writers.join_all().await.concat();
    assert_eq!(acknowledged.len(), COUNT, "the store comes back by itself, and no writer notices");
    let log = everything(&*store).await;
    assert_eq!(BTreeSet::from_iter(numbers(&log)), (1..=COUNT as u128).collect());
    assert_eq!(log.len(), COUNT, "nothing is there twice");
    assert_eq!(take(&mut subscription, COUNT).await, log, "a follower that goes on asking misses nothing");
}

/// Like [`everything`], for when the server may just be away.
async fn everything_or_nothing(store: &dyn EventStore) -> Vec<RecordedEvent> {
    store.read_all(0, 10_000).await.unwrap_or_default()
}

pub async fn streams_and_the_log_are_read_forwards_from_anywhere_page_by_page(harness: &dyn Harness) {
    let store = harness.node().await;
    for n in 0..10 {
        store.append(append(&stream(if n % 2 == 0 { "even" } else { "odd" }), n / 2, [n.into()])).await.unwrap();
    }
    let log = everything(&*store).await;
    for after in 0..=10_u64 {
        let position = if after == 0 { 0 } else { log[usize::try_from(after).unwrap() - 1].position };
        for limit in [1, 3, 100] {
            let page = store.read_all(position, limit).await.unwrap();
            let expected: Vec<u128> = (u128::from(after)..10).take(limit).collect();
            assert_eq!(numbers(&page), expected, "after {after}, limit {limit}");
        }
    }
    for after in 0..=5 {
        let page = store.read_stream(&stream("odd"), after, 2).await.unwrap();
        assert_eq!(numbers(&page), (u128::from(after)..5).take(2).map(|n| 2 * n + 1).collect::<Vec<_>>());
    }
    assert!(store.read_all(u64::MAX, 10).await.unwrap().is_empty());
    assert!(store.read_stream(&stream("none"), 0, 10).await.unwrap().is_empty());
}

pub async fn events_are_read_by_their_positions(harness: &dyn Harness) {
    let store = harness.node().await;
    for n in 0..10 {
        store.append(append(&stream(n), 0, [n])).await.unwrap();
    }
    let log = everything(&*store).await;
    let wanted: Vec<Position> = [1, 2, 5, 9].iter().map(|at| log[*at].position).collect();
    assert_eq!(numbers(&store.read_at(&wanted).await.unwrap()), [1, 2, 5, 9]);
    assert!(store.read_at(&[]).await.unwrap().is_empty());
    assert!(store.read_at(&[u64::MAX]).await.unwrap().is_empty(), "there is nothing there");
}

pub async fn large_events_are_kept_and_larger_ones_refused(harness: &dyn Harness) {
    let store = harness.node().await;
    let sized = |n, bytes| NewEvent { data: Bytes::from(vec![b' '; bytes]), ..event(n) };
    for n in 1..=8 {
        let mut large = append(&stream(n), 0, []);
        large.events.push(sized(n, 1024 * 1024));
        store.append(large).await.unwrap();
    }
    let mut too_large = append(&stream(9), 0, []);
    too_large.events.push(sized(9, MAX_EVENT_BYTES + 1));
    assert!(matches!(store.append(too_large).await, Err(AppendError::Unacceptable)));
    let log = everything(&*store).await;
    assert_eq!(numbers(&log), (1..=8).collect::<Vec<_>>());
    assert!(log.iter().all(|event| event.data.len() == 1024 * 1024));
}

pub async fn recorded_times_never_go_back(harness: &dyn Harness) {
    let (one, other) = (harness.node().await, harness.node().await);
    let writers = [write_much(&one, 8, 10, 1), write_much(&other, 8, 10, 1001)];
    for tasks in writers {
        tasks.join_all().await;
    }
    let log = everything(&*one).await;
    assert!(log.is_sorted_by_key(|event| event.recorded_at));
}
