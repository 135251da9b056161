//! Measures Switchboard: `cargo run --release -p bench -- appends`, `… -- messages`, `… -- idle` and `… -- stalled`.
//!
//! Driver, server and Postgres share the machine, and fsync is on. Quote medians of several runs, and compare only what was
//! measured in one run: machines are noisy.

mod appends;
mod idle;
mod inbox;
mod messages;
mod report;
mod server;
mod stalled;

use std::time::Duration;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Arguments {
    /// What to measure
    what: What,
    /// How many at the same time, one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,64,1024")]
    concurrency: Vec<usize>,
    /// How long each is measured, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Appends of one small event to a new stream, straight to the log
    Appends,
    /// Messages: posted by one, received by the other over a WebSocket
    Messages,
    /// Memory of the server for each connection that does nothing, by transport
    Idle,
    /// Messages between pairs, while somebody else reads what they get or doesn't
    Stalled,
    /// The server that `messages` starts
    #[value(hide = true)]
    Server,
}

fn main() -> std::process::ExitCode {
    // The driver starts itself as the server.
    if std::env::args().nth(1).as_deref() == Some("server") {
        return app::main_without_arguments();
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be had");
    let duration = Duration::from_secs(arguments.seconds);
    runtime.block_on(async {
        match arguments.what {
            What::Appends => appends::measure(&arguments.concurrency, duration).await,
            What::Messages => messages::measure(&arguments.concurrency, duration).await,
            What::Idle => idle::measure(&arguments.concurrency).await,
            What::Stalled => stalled::measure(duration).await,
            What::Server => {}
        }
    });
    std::process::ExitCode::SUCCESS
}
