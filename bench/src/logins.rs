//! A login storm: everybody logs in at once, while a few pairs go on writing to each other.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;

use crate::http::{self, Connection};
use crate::messages::{self, Way};
use crate::people::{Pair, prepare};
use crate::report::{self, Figures};
use crate::switchboard::Switchboard;
use crate::target::Target;

/// People who log in, and how often each.
const PEOPLE: usize = 128;
const LOGINS: usize = 1_000;
/// Logins at the same time.
const AT_ONCE: usize = 128;
const PAIRS: usize = 8;

pub(crate) async fn measure(duration: Duration) {
    let server = Switchboard::start().await;
    let target = &server.target;
    let people = prepare(target, PEOPLE).await;
    let pairs = &people[..PAIRS];
    let quiet = messages::measure(target, pairs, Way::Exchanged, duration).await;
    let (storm, meanwhile) =
        tokio::join!(log_in(target, &people), messages::run(target, pairs, Way::Exchanged, duration));
    report::header("");
    report::row("logins, 128 at a time", &storm);
    report::row("8 pairs, quiet", &quiet);
    report::row("8 pairs meanwhile", &meanwhile);
}

async fn log_in(target: &Target, people: &[Pair]) -> Figures {
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut all = report::histogram();
    let logins = (0..LOGINS).map(|n| one(target, &people[n % people.len()].recipient_login));
    let mut logins = futures_util::stream::iter(logins).buffer_unordered(AT_ONCE);
    while let Some(took) = logins.next().await {
        report::record(&mut all, took);
    }
    // What the pairs take is in it too: a login takes hundreds of times as much.
    Figures::of(&all, began.elapsed(), target.cpu().since(cpu))
}

async fn one(target: &Target, login: &Value) -> Duration {
    let mut connection = Connection::open(target.address()).await;
    let request = http::request("POST", target.address(), "/api/messenger/auth/login", "-", &login.to_string());
    let began = Instant::now();
    assert_eq!(connection.call(&request).await.status, 200);
    began.elapsed()
}
