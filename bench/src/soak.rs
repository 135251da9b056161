//! Honest pairs beside hostile clients, for a long time: how long messages of the former take, and how much memory the server needs.
//! The server has the limits that it comes with.

use std::time::{Duration, Instant};

use crate::hostile::{Attack, Hostile};
use crate::messages::{self, Way};
use crate::people::prepare;
use crate::report::{self, Figures};
use crate::switchboard::Switchboard;

/// Pairs that write to each other. Of all clients, a fifth are hostile.
const PAIRS: usize = 16;
const HOSTILE: usize = PAIRS * 2 / 4;
/// Messages a second of all pairs together.
const RATE: u32 = 100;
/// How long pairs are measured at a time.
const LOOK: Duration = Duration::from_secs(20);
/// Looks at pairs by themselves, before and after.
const QUIET_LOOKS: usize = 3;

pub(crate) async fn measure(duration: Duration, attacks: &[Attack]) {
    let server = Switchboard::start_with_limits().await;
    let target = &server.target;
    let people = prepare(target, PAIRS + HOSTILE / 2).await;
    let (pairs, others) = people.split_at(PAIRS);
    messages::run(target, pairs, Way::Due(RATE), LOOK).await;
    println!("{PAIRS} pairs, {RATE} messages a second together, beside {HOSTILE} hostile clients");
    report::header("");
    let mut quiet = vec![];
    for _ in 0..QUIET_LOOKS {
        quiet.push(look(target, pairs, "quiet").await);
    }
    let (began, mut beside, mut memory) = (Instant::now(), vec![], vec![]);
    let hostile = Hostile::begin(target.address(), others, HOSTILE, attacks);
    while began.elapsed() < duration {
        beside.push(look(target, pairs, "beside hostile clients").await);
        memory.push((began.elapsed(), target.memory() / 1024 / 1024));
    }
    println!("{}", hostile.end());
    tokio::time::sleep(LOOK).await;
    let after = target.memory() / 1024 / 1024;
    for _ in 0..QUIET_LOOKS {
        quiet.push(look(target, pairs, "quiet").await);
    }
    let (quiet, beside) = (Figures::median(&quiet), Figures::median(&beside));
    report::row("median, quiet", &quiet);
    report::row("median, beside them", &beside);
    println!("p99 beside them is {:.2} of its quiet value", beside.p99_ms / quiet.p99_ms);
    println!("memory of the server, MiB: {}; {after} afterwards", summary(&memory));
}

async fn look(target: &crate::target::Target, pairs: &[crate::people::Pair], what: &str) -> Figures {
    let figures = messages::run(target, pairs, Way::Due(RATE), LOOK).await;
    report::row(what, &figures);
    figures
}

/// Ten of the measurements, from the first to the last.
fn summary(memory: &[(Duration, u64)]) -> String {
    let step = memory.len().div_ceil(10).max(1);
    let some = memory.iter().step_by(step).chain(memory.last());
    some.map(|(at, mib)| format!("{mib} after {} s", at.as_secs())).collect::<Vec<_>>().join(", ")
}
