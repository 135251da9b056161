//! A server, people who do nothing wrong, and how all of them are doing.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::{Person, Protocol, RawStream, World, anonymous, full_scale};

/// What clients may say.
pub(super) const EVENTS: [&str; 8] = [
    "message:send",
    "message:read",
    "call:accept",
    "call:reject",
    "call:end",
    "call:signal",
    "typing:start",
    "typing:stop",
];
/// How much more memory the server may have, in KiB, once its bad clients are gone: an allocator keeps what it was given for a
/// while, and these servers are built without optimisation. What is kept by mistake, with so many bad clients, is more.
pub(super) const ROOM_KIB: u64 = 64 * 1024;
/// How long a message takes at most, also on a machine that does something else besides.
pub(super) const AT_ONCE: Duration = Duration::from_secs(15);
/// Longer than it takes a Socket.IO server to find out that nobody polls.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// So many, or a tenth of it where time is short.
pub(super) fn scaled(count: usize) -> usize {
    if full_scale() { count } else { count / 10 }
}

/// A server with people who are connected all along and do nothing wrong, and Mallory, who works there too.
pub(super) struct Scene {
    // Dropped first.
    pub(super) phones: Vec<RawStream>,
    pub(super) alice: Person,
    pub(super) bob: Person,
    pub(super) mallory: Person,
    pub(super) before: Condition,
    pub(super) world: World,
}

/// How a server is.
#[derive(Debug)]
pub(super) struct Condition {
    /// How many [`events`] there are.
    pub(super) events: usize,
    /// Live streams that are open.
    pub(super) connections: u64,
    pub(super) resident_kib: u64,
}

impl Scene {
    pub(super) async fn start() -> Self {
        let (world, alice, bob) = World::with_alice_and_bob().await;
        let mallory = world.person(&bob.business, "Mallory").await;
        let mut phones = vec![];
        for protocol in Protocol::BOTH {
            phones.push(RawStream::connect(&bob, protocol).await);
        }
        // Once, so that what the server makes when it is needed first is there already.
        for protocol in Protocol::BOTH {
            RawStream::connect(&mallory, protocol).await.emit("no:such:event", &json!({})).await;
        }
        reach(&alice, &bob, &mut phones).await;
        let before = Condition::of(&world).await;
        Self { phones, alice, bob, mallory, before, world }
    }

    pub(super) async fn reach_bob(&mut self) -> Duration {
        reach(&self.alice, &self.bob, &mut self.phones).await
    }

    /// Checks that nothing has come of it: besides these events, if they were meant to be appended.
    pub(super) async fn nothing_has_come_of_it(&mut self, appended: usize) {
        self.reach_bob().await;
        // The message that has just been sent.
        let expected = self.before.events + appended + 1;
        let deadline = Instant::now() + PATIENCE;
        let now = loop {
            let now = Condition::of(&self.world).await;
            let is_as_before =
                now.connections <= self.before.connections && now.resident_kib <= self.before.resident_kib + ROOM_KIB;
            if is_as_before || Instant::now() > deadline {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        println!("before {:?}, now {now:?}", self.before);
        let events = events(&self.world).await;
        assert_eq!(events.len(), expected, "new in the log: {:?}", &events[self.before.events..]);
        assert!(now.resident_kib <= self.before.resident_kib + ROOM_KIB, "{now:?}, before {:?}", self.before);
        let figures = figures(&self.world).await;
        let failed = figures.lines().find(|line| line.contains("status=\"5"));
        assert_eq!(failed, None, "a request was answered with 5xx");
        for line in self.world.server.lines() {
            assert!(!line.contains("panicked") && !line.contains("ERROR"), "{line}");
        }
        assert_eq!(now.connections, self.before.connections, "streams that are open");
        self.before.events = now.events;
    }
}

/// Alice writes to Bob, and all his phones get it. How long it took.
pub(super) async fn reach(alice: &Person, bob: &Person, phones: &mut [RawStream]) -> Duration {
    let began = Instant::now();
    let sent = alice.send_text(bob, "Are you there?").await.expect(201);
    for phone in phones {
        assert_eq!(phone.expect("message:received").await["id"], sent.body["message"]["id"]);
    }
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    began.elapsed()
}

/// The types of all events in the log, save that something was delivered: that is noted some time later.
pub(super) async fn events(world: &World) -> Vec<String> {
    let pool = world.database.pool().await;
    let types = "SELECT event_type FROM log WHERE event_type <> 'MessagesDelivered' ORDER BY position";
    let types = sqlx::query_scalar(types).fetch_all(&pool).await.unwrap();
    pool.close().await;
    types
}

pub(super) async fn figures(world: &World) -> String {
    let figures = anonymous(&world.server.url, Method::GET, "/metrics", None).await.expect(200).body;
    figures.as_str().unwrap().to_owned()
}

impl Condition {
    pub(super) async fn of(world: &World) -> Self {
        let figures = figures(world).await;
        let connections = figures.lines().find_map(|line| line.strip_prefix("switchboard_connections "));
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.server.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            events: events(world).await.len(),
            connections: connections.unwrap().parse().unwrap(),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}
