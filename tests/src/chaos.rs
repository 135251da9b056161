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

use self::clients::{Device, Inbox, Way};
use self::traffic::Traffic;
use self::truth::Truth;
use crate::support::{Cut, DEADLINE, Database, Link, Person, Proxy, Random, Server, Settings, World, full_scale, seed};

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
            Self { people: 200, messages: 20_000, calls: 2_000, cuts: 50, time: Duration::from_mins(3) }
        } else {
            Self { people: 24, messages: 600, calls: 60, cuts: 5, time: Duration::from_secs(8) }
        }
    }
}

/// The longest that a connection breaks without telling, in milliseconds.
const LONGEST_CUT_MS: u64 = 2000;
/// How long a client may take to get what it has missed: the official one may need 45 s to find out that its connection is dead.
const PATIENCE: Duration = Duration::from_secs(75);
/// How long clients may take to connect again, as often as their connections are to be cut still.
const RECOVERY: Duration = Duration::from_mins(5);
/// A client that takes longer than this is worth a remark.
const SLOW: Duration = Duration::from_secs(2);
/// How often the server is killed.
const KILLS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_chaos_of_connections_everybody_is_told_everything_once_and_in_order() {
    run(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_chaos_of_connections_kill_9_makes_nobody_miss_anything_or_be_told_twice() {
    run(KILLS).await;
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
    let (mut cutters, mut devices, mut clients) = (JoinSet::new(), vec![], vec![]);
    for (n, person) in people.iter().enumerate() {
        let (link, inbox, way) = (proxy.link().await, Inbox::new(), Way::ALL[n % Way::ALL.len()]);
        let at_proxy = person.at(&link.url);
        devices.push(Device { way, person: at_proxy, since, random: random.fork(), inbox: inbox.clone() });
        clients.push(Client { way, person: person.id.clone(), inbox });
        cutters.spawn(cut(link, traffic.clone(), scale.cuts, random.fork()));
    }
    let mut running = clients::run(devices).await;
    let killing = kill(server, &database, kills, &traffic, random.fork(), |server| {
        url.send_replace(server.clone());
        proxy.turn_to(&server);
    });
    let ((), server) = tokio::join!(traffic.run(scale.time), killing);
    timeout(RECOVERY, cutters.join_all()).await.expect("every client connects again");

    let pool = database.pool().await;
    until_no_call_is_open(&pool).await;
    let last = until_all_have_a_last_message(&clients, &traffic).await;
    assert!(running.try_join_next().is_none(), "a client has failed; {again}");
    let truth = Truth::read(&pool, since).await;
    pool.close().await;
    let mut complaints = vec![];
    for (Client { way, person, inbox }, last) in clients.iter().zip(last) {
        if let Some(complaint) = truth[person].contradicts(&inbox.seen(), last) {
            complaints.push(format!("over {way:?} {complaint}"));
        }
    }
    let said: Vec<String> = server.lines().into_iter().filter(|line| !line.contains(" INFO ")).collect();
    assert!(
        complaints.is_empty(),
        "{} of {} clients were told something wrong; {again}\n{}the server said {said:?}",
        complaints.len(),
        people.len(),
        complaints[..complaints.len().min(5)].concat()
    );
    let connections: usize = clients.iter().map(|client| client.inbox.connections()).sum();
    println!("{} events over {connections} connections", truth.values().map(Truth::len).sum::<usize>());
    assert!(connections > people.len() * scale.cuts / 2, "there were {connections} connections only; {again}");
}

/// What is known of a client from outside.
struct Client {
    way: Way,
    /// Whose it is.
    person: String,
    inbox: Arc<Inbox>,
}

/// Once a client has the last message to it, it has all before. The position of each one's.
async fn until_all_have_a_last_message(clients: &[Client], traffic: &Traffic) -> Vec<u64> {
    let mut last = vec![];
    for n in 0..clients.len() {
        let message = traffic.send((n + 1) % clients.len(), n, &format!("the last one to {n}")).await;
        last.push(message["position"].as_u64().unwrap());
    }
    let began = Instant::now();
    for (Client { way, inbox, .. }, position) in clients.iter().zip(&last) {
        let before = began.elapsed();
        // Who never gets there is told nothing that comes after what they lack, and found out by that.
        inbox.has_reached(*position, PATIENCE.saturating_sub(before)).await;
        if began.elapsed() > before + SLOW {
            println!("somebody over {way:?} has only got everything after {:?}", began.elapsed());
        }
    }
    last
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
