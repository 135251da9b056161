//! Connections break all the time, in every way there is, and nobody notices: whoever comes back with the place up to which they
//! have everything gets the rest once and in order.

mod clients;
mod traffic;
mod truth;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::clients::{Device, Inbox, Seen, Way};
use self::traffic::Traffic;
use self::truth::Truth;
use crate::support::{
    Cut, DEADLINE, Database, Link, Person, Proxy, Random, Requirement, Server, Settings, World, full_scale,
    is_installed, seed,
};

/// How much of everything there is.
struct Scale {
    people: usize,
    messages: usize,
    calls: usize,
    /// How often the connections of each client are cut.
    cuts: usize,
    /// How long people do things.
    time: Duration,
}

impl Scale {
    fn wanted() -> Self {
        if full_scale() {
            Self { people: 200, messages: 20_000, calls: 2_000, cuts: 50, time: Duration::from_secs(180) }
        } else {
            Self { people: 24, messages: 600, calls: 60, cuts: 5, time: Duration::from_secs(8) }
        }
    }
}

/// The longest that a connection breaks without telling, in milliseconds.
const LONGEST_CUT_MS: u64 = 2000;
/// How long a client may take to get what it has missed: the official one may need 45 s to find out that its connection is dead.
const PATIENCE: Duration = Duration::from_secs(75);
/// How often the server is killed.
const KILLS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_chaos_of_connections_everybody_is_told_everything_once_and_in_order() {
    if is_installed(Requirement::SocketIoClient) {
        run(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_chaos_of_connections_kill_9_makes_nobody_miss_anything_or_be_told_twice() {
    if is_installed(Requirement::SocketIoClient) {
        run(KILLS).await;
    }
}

async fn run(kills: usize) {
    let (seed, scale) = (seed(), Scale::wanted());
    let again = format!("SWITCHBOARD_TEST_SEED={seed} repeats it");
    println!("{again}");
    let mut random = Random::new(seed);
    let (server, database, people) = set_up(scale.people).await;
    let since = people[0].get("/api/messenger/events/since").await.expect(200).body["position"].as_u64().unwrap();

    let proxy = Proxy::new(&server.url);
    let url = watch::Sender::new(server.url.clone());
    let traffic = Traffic::plan(people.clone(), url.subscribe(), scale.messages, scale.calls, &mut random);
    let (mut cutters, mut devices, mut inboxes) = (JoinSet::new(), vec![], vec![]);
    for (n, person) in people.iter().enumerate() {
        let (link, inbox, way) = (proxy.link().await, Inbox::new(), Way::ALL[n % Way::ALL.len()]);
        let person = person.at(&link.url);
        devices.push(Device { way, person, since, random: random.fork(), inbox: inbox.clone() });
        inboxes.push((way, inbox));
        cutters.spawn(cut(link, traffic.clone(), scale.cuts, random.fork()));
    }
    let clients = clients::run(devices).await;
    let killer = kill(server, &database, kills, &traffic, random.fork(), |server| {
        url.send_replace(server.clone());
        proxy.turn_to(&server);
    });
    let began = Instant::now();
    let ((), server) = tokio::join!(traffic.run(scale.time), killer);
    let took = began.elapsed();
    cutters.join_all().await;

    let pool = database.pool().await;
    until_no_call_is_open(&pool).await;
    // Once a client has the last message to it, it has all before.
    let (mut complaints, mut told, mut connections) = (vec![], 0, 0);
    let mut last = vec![];
    for n in 0..people.len() {
        let message = traffic.send((n + 1) % people.len(), n, &format!("the last one to {n}")).await;
        last.push(message["position"].as_u64().unwrap());
    }
    let waited_since = Instant::now();
    for ((_, inbox), until) in inboxes.iter().zip(&last) {
        // Who never gets there is found out below.
        inbox.has_reached(*until, PATIENCE.saturating_sub(waited_since.elapsed())).await;
    }
    let waited = waited_since.elapsed();
    let truth = Truth::read(&pool, since).await;
    pool.close().await;
    for (n, ((way, inbox), until)) in inboxes.iter().zip(&last).enumerate() {
        let (seen, truth) = (inbox.seen(), &truth[&people[n].id]);
        told += truth.len();
        connections += seen.iter().filter(|seen| matches!(seen, Seen::Connected { .. })).count();
        if let Some(complaint) = truth.contradicts(&seen, *until) {
            complaints.push(format!("client {n} over {way:?}: {complaint}"));
        }
    }
    println!("{took:?} of traffic, {told} events over {connections} connections, the last of them {waited:?} later");
    let said: Vec<String> = server.lines().into_iter().filter(|line| !line.contains(" INFO ")).collect();
    assert!(
        complaints.is_empty(),
        "{} of {} clients were told something wrong; {again}\n{}the server said {said:?}",
        complaints.len(),
        people.len(),
        complaints[..complaints.len().min(5)].concat()
    );
    assert!(connections > people.len() * scale.cuts / 2, "there were {connections} connections only; {again}");
    drop(clients);
}

async fn set_up(count: usize) -> (Server, Database, Vec<Person>) {
    let database = Database::create().await;
    let server = start(&database).await;
    let world = World::around(database, server).await;
    let acme = world.business("Acme").await;
    // Hashing their passwords takes most of the time.
    let log_in = async |n| world.person(&acme, &format!("Person{n}")).await;
    let people = stream::iter(0..count).map(log_in).buffered(4).collect().await;
    let World { server, database, .. } = world;
    (server, database, people)
}

/// Calls that nobody answers don't last longer than the test.
async fn start(database: &Database) -> Server {
    let ring_timeout = ("SWITCHBOARD_RING_TIMEOUT", "1s".to_owned());
    Server::start_with(database, Settings { env: vec![ring_timeout], ..Settings::default() }).await
}

/// Cuts the connections of a client at random points of what happens.
async fn cut(link: Link, traffic: Arc<Traffic>, count: usize, mut random: Random) {
    let mut when: Vec<usize> = (0..count).map(|_| random.index(traffic.len())).collect();
    when.sort_unstable();
    for done in when {
        let time = Duration::from_millis(random.below(LONGEST_CUT_MS));
        let cut = match random.below(4) {
            0 => Cut::Reset { after: random.index(400) },
            1 => Cut::Stall(time),
            2 => Cut::ServerFallsSilent(time),
            _ => Cut::ClientFallsSilent(time),
        };
        traffic.has_done(done).await;
        link.cut(cut).await;
    }
}

/// Kills the server and starts it again, at random points of what happens.
async fn kill(
    mut server: Server,
    database: &Database,
    count: usize,
    traffic: &Traffic,
    mut random: Random,
    moved: impl Fn(String),
) -> Server {
    for n in 0..count {
        // Somewhere in its own part of it all, so that there is something between them.
        let part = traffic.len() / count;
        traffic.has_done(part * n + random.index(part)).await;
        server.kill();
        server = start(database).await;
        moved(server.url.clone());
    }
    server
}

async fn until_no_call_is_open(pool: &PgPool) {
    let wait = async {
        loop {
            let open: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM log begun WHERE event_type = 'CallStarted' AND NOT EXISTS (
                     SELECT FROM log over WHERE over.stream = begun.stream
                     AND over.event_type IN ('CallRejected', 'CallCancelled', 'CallMissed', 'CallEnded')
                 )",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            if open == 0 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, wait).await.expect("calls go on for ever");
}
