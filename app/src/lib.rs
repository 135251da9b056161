//! The `switchboard` binary: configuration, wiring, managed Postgres, command line. A library too, so that the end-to-end tests
//! run the very same program.

mod chores;
mod database;
mod demo;
mod keys;
mod logging;
mod lookups;
mod passwords;
mod read_models;
mod serve;
mod settings;
mod system;

pub mod managed_postgres;

use std::process::ExitCode;

use clap::Parser;

use crate::settings::{Cli, Command};

pub use database::migrate;

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    run_command(Cli::parse())
}

/// Runs as if started without arguments, for programs whose arguments mean something else: settings come from the environment.
#[must_use]
pub fn main_without_arguments() -> ExitCode {
    run_command(Cli::parse_from(["switchboard"]))
}

fn run_command(cli: Cli) -> ExitCode {
    match cli.command.unwrap_or(Command::Serve) {
        Command::Openapi => {
            println!("{}", api::openapi_document());
            ExitCode::SUCCESS
        }
        Command::Serve => {
            if let Err(error) = logging::start(&cli.settings) {
                eprintln!("error: SWITCHBOARD_LOG can't be understood: {error}");
                return ExitCode::FAILURE;
            }
            match run(serve::serve(cli.settings)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    report(&error);
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the operating system gives us threads")
        .block_on(task)
}

/// Says what went wrong, and why, one line for each cause.
fn report(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
