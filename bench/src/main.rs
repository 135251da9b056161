//! Measures Switchboard: `cargo run --release -p bench -- --help` says what.
//!
//! Driver, server and Postgres share the machine, and fsync is on. Compare only what was measured in one run, and quote medians:
//! machines are noisy.

mod appends;
mod compare;
mod cpu;
mod express;
mod fanout;
mod fill;
mod growth;
mod hostile;
mod http;
mod idle;
mod logins;
mod messages;
mod people;
mod pgbench;
mod plot;
mod reads;
mod rebuild;
mod report;
mod soak;
mod socket;
mod stalled;
mod storm;
mod switchboard;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::hostile::Attack;
use crate::messages::Way;
use crate::switchboard::Switchboard;

#[derive(Parser)]
#[command(about = "Measures Switchboard")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Switchboard and its peer, Express with Socket.IO, in turns: latency, throughput, CPU a message
    Compare {
        /// How often each is measured
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// How long, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Where `compare.json` and `compare.svg` go
        #[arg(long, default_value = "target/bench")]
        into: PathBuf,
    },
    /// The drawing of a comparison that was measured before
    Draw {
        /// Where `compare.json` is
        #[arg(long, default_value = "target/bench")]
        into: PathBuf,
    },
    /// Messages through Switchboard alone: sent by one, received by the other over Socket.IO
    Messages {
        /// How they are sent: `exchange` waits for each to be received, `post` and `emit` don't, `due` posts at set times
        #[arg(long, default_value = "exchange")]
        by: By,
        /// Pairs at the same time, one after the other
        #[arg(long, value_delimiter = ',', default_value = "1,64,512")]
        concurrency: Vec<usize>,
        /// With `due`: how many a second, by all together
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// How long each is measured, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Appends of one small event to a new stream, straight to the log, and `pgbench` beside it
    Appends {
        /// Appenders at the same time, one after the other
        #[arg(long, value_delimiter = ',', default_value = "1,64,1024")]
        concurrency: Vec<usize>,
        /// How long each is measured, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Memory of the server for each connection that does nothing, by transport
    Idle {
        /// Connections
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// Messages between pairs, while somebody else reads what they get or doesn't
    Stalled {
        /// How long each round is, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Pages of a conversation's history, and the statement that they are made of
    Reads {
        /// How long each is measured, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Everybody logs in at once
    Logins {
        /// How long pairs write meanwhile, in seconds
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// 5,000 clients come back at once, with 1,000 events behind each
    Storm,
    /// Pairs that write to each other beside hostile clients, for a long time, with the limits that the server comes with
    Soak {
        /// How long, in minutes
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Attacks, comma-separated; all of them if none is named
        #[arg(long, value_delimiter = ',')]
        attacks: Vec<Attack>,
    },
    /// What one audience of the feed gets goes to 1,000 connections
    Fanout {
        /// How long it is measured, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// What a message costs, and how long a start takes, as the log grows
    Growth {
        /// Events in the log, from small to large
        #[arg(long, value_delimiter = ',', default_value = "10000,1000000,10000000")]
        events: Vec<u64>,
        /// How long each is measured, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// How fast read models are built anew, beside `COPY` into the same tables
    Rebuild {
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
    },
    /// The server that is measured
    #[command(hide = true)]
    Server,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum By {
    Exchange,
    Post,
    Emit,
    Due,
}

fn main() -> std::process::ExitCode {
    // The driver starts itself as the server.
    if std::env::args().nth(1).as_deref() == Some("server") {
        return app::main_without_arguments();
    }
    let arguments = Arguments::parse();
    // One thread, so that the driver takes no more of the machine than it has to.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(measure(arguments.what));
    std::process::ExitCode::SUCCESS
}

async fn measure(what: What) {
    match what {
        What::Compare { rounds, seconds, into } => compare::measure(rounds, Duration::from_secs(seconds), &into).await,
        What::Draw { into } => compare::draw(&into),
        What::Messages { by, concurrency, rate, seconds } => {
            let way = match by {
                By::Exchange => Way::Exchanged,
                By::Post => Way::Posted,
                By::Emit => Way::Emitted,
                By::Due => Way::Due(rate),
            };
            let ours = Switchboard::start().await;
            let pairs = people::prepare(&ours.target, concurrency.iter().copied().max().unwrap_or(1)).await;
            report::header("pairs");
            for concurrency in concurrency {
                let duration = Duration::from_secs(seconds);
                let figures = messages::measure(&ours.target, &pairs[..concurrency], way, duration).await;
                report::row(&concurrency.to_string(), &figures);
            }
        }
        What::Appends { concurrency, seconds } => appends::measure(&concurrency, Duration::from_secs(seconds)).await,
        What::Idle { connections } => idle::measure(connections).await,
        What::Stalled { seconds } => stalled::measure(Duration::from_secs(seconds)).await,
        What::Reads { seconds } => reads::measure(Duration::from_secs(seconds)).await,
        What::Logins { seconds } => logins::measure(Duration::from_secs(seconds)).await,
        What::Soak { minutes, attacks } => soak::measure(Duration::from_secs(60 * minutes), &attacks).await,
        What::Storm => storm::measure().await,
        What::Fanout { seconds } => fanout::measure(Duration::from_secs(seconds)).await,
        What::Growth { events, seconds } => growth::measure(&events, Duration::from_secs(seconds)).await,
        What::Rebuild { events } => rebuild::measure(events).await,
        What::Server => {}
    }
}
