//! The `switchboard` binary: configuration, wiring, managed Postgres, command line. A library too, so that the end-to-end tests
//! run the very same program.

mod blobs;
mod chores;
mod database;
mod demo;
mod event_log;
mod keys;
mod logging;
mod lookups;
mod machine;
mod memory;
mod passwords;
mod serve;
mod settings;
mod system;
mod tools;

pub mod managed_postgres;

use std::process::ExitCode;

use clap::Parser;

use crate::settings::{AuditCommand, Cli, Command};

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

fn run_command(mut cli: Cli) -> ExitCode {
    machine::keep_files_private();
    match cli.settings.with_secrets_from_files() {
        Ok(settings) => cli.settings = settings,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    }
    if let Err(error) = logging::start(&cli.settings) {
        eprintln!("error: SWITCHBOARD_LOG can't be understood: {error}");
        return ExitCode::FAILURE;
    }
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            memory::start_over_with_options();
            finish(run(serve::serve(cli.settings)).map(|()| ExitCode::SUCCESS))
        }
        Command::Projections(command) => finish_tool(run(tools::projections::run(&cli.settings, command))),
        Command::Audit(AuditCommand::Catalogue) => print(&api::catalogue_document()),
        Command::Audit(command) => finish_tool(run(tools::audit::run(&cli.settings, command))),
        Command::Openapi => print(&api::openapi_document()),
    }
}

fn print(document: &str) -> ExitCode {
    println!("{document}");
    ExitCode::SUCCESS
}

fn finish_tool(outcome: Result<ExitCode, tools::ToolError>) -> ExitCode {
    match outcome {
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        outcome => finish(outcome),
    }
}

fn finish(outcome: Result<ExitCode, impl std::error::Error>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
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
