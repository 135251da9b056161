//! Switchboard and its peer side by side: both run, and are measured in turns, since machines are noisy. What is printed are medians
//! of the rounds, and ratios of those.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::express::Express;
use crate::messages::{self, Way};
use crate::people::prepare;
use crate::report::{self, Figures, median};
use crate::switchboard::Switchboard;
use crate::target::Target;
use crate::{pgbench, plot};

/// How many send at a time, and how.
const SCENARIOS: [(&str, Way, usize); 6] = [
    ("1 pair talks", Way::Exchanged, 1),
    ("32 pairs talk", Way::Exchanged, 32),
    ("64 post", Way::Posted, 64),
    ("512 post", Way::Posted, 512),
    ("64 emit", Way::Emitted, 64),
    ("512 emit", Way::Emitted, 512),
];

/// All that was measured.
#[derive(Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) cores: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    /// One client that inserts one row a transaction, with `pgbench`, in Switchboard's own cluster.
    pub(crate) pgbench: Figures,
    pub(crate) scenarios: Vec<Compared>,
}

/// One scenario: medians of both, and the median of the rounds' ratios.
#[derive(Serialize, Deserialize)]
pub(crate) struct Compared {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) senders: usize,
    pub(crate) switchboard: Figures,
    pub(crate) express: Figures,
    pub(crate) times_as_many: f64,
    pub(crate) times_the_cpu: f64,
}

pub(crate) async fn measure(rounds: usize, duration: Duration, into: &Path) {
    let (ours, peer) = (Switchboard::start().await, Express::start().await);
    let most = SCENARIOS.iter().map(|(_, _, senders)| *senders).max().unwrap_or(1);
    println!("making {most} pairs of people on either side");
    let (our_pairs, peer_pairs) = (prepare(&ours.target, most).await, prepare(&peer.target, most).await);
    pgbench::prepare(&ours.target.database).await;
    let mut floor = vec![];
    let mut runs = vec![(vec![], vec![]); SCENARIOS.len()];
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        report::header("");
        floor.push(pgbench::insert(&ours.target, 1, duration).await);
        for ((name, way, senders), (ours_runs, peer_runs)) in SCENARIOS.into_iter().zip(&mut runs) {
            let run = async |target: &Target, pairs| {
                let figures = messages::measure(target, pairs, way, duration).await;
                report::row(&format!("{name}, {}", target.name), &figures);
                figures
            };
            ours_runs.push(run(&ours.target, &our_pairs[..senders]).await);
            peer_runs.push(run(&peer.target, &peer_pairs[..senders]).await);
        }
    }
    peer.stop().await;
    drop(ours);
    let comparison = Comparison {
        cores: std::thread::available_parallelism().map_or(0, Into::into),
        rounds,
        seconds: duration.as_secs(),
        pgbench: Figures::median(&floor),
        scenarios: SCENARIOS
            .into_iter()
            .zip(&runs)
            .map(|(scenario, (ours, peer))| compared(scenario, ours, peer))
            .collect(),
    };
    print(&comparison);
    std::fs::create_dir_all(into).expect("the directory can be made");
    let json = serde_json::to_string_pretty(&comparison).expect("figures are JSON");
    std::fs::write(into.join("compare.json"), json + "\n").expect("it can be written to");
    plot::draw(&comparison, &into.join("compare.svg"));
    println!("\nwritten: compare.json and compare.svg in {}", into.display());
}

/// Draws what was measured before anew.
pub(crate) fn draw(into: &Path) {
    let json = std::fs::read_to_string(into.join("compare.json")).expect("it was measured");
    plot::draw(&serde_json::from_str(&json).expect("it is as it was written"), &into.join("compare.svg"));
}

fn compared((name, way, senders): (&str, Way, usize), ours: &[Figures], peer: &[Figures]) -> Compared {
    let ratio =
        |of: fn(&Figures) -> f64| median(ours.iter().zip(peer).map(|(ours, peer)| of(ours) / of(peer)).collect());
    Compared {
        name: name.to_owned(),
        way,
        senders,
        switchboard: Figures::median(ours),
        express: Figures::median(peer),
        times_as_many: ratio(|figures| figures.per_second),
        times_the_cpu: ratio(Figures::cpu_us),
    }
}

fn print(comparison: &Comparison) {
    println!("\nmedians of {} rounds of {} s, {} cores", comparison.rounds, comparison.seconds, comparison.cores);
    report::header("");
    report::row("1 inserts, pgbench", &comparison.pgbench);
    for compared in &comparison.scenarios {
        report::row(&format!("{}, Switchboard", compared.name), &compared.switchboard);
        report::row(&format!("{}, Express", compared.name), &compared.express);
    }
    println!();
    for Compared { name, times_as_many, times_the_cpu, .. } in &comparison.scenarios {
        println!(
            "{name:>24}: {times_as_many:.1} times as many a second, for 1/{:.1} of the CPU each",
            1.0 / times_the_cpu
        );
    }
}
