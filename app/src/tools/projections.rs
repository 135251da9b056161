//! `switchboard projections`: looking after what is built from the history.

use std::process::ExitCode;
use std::time::Duration;

use projections::{
    Progress, ProjectionStatus, Projector, RebuildError, RebuildStatus, drop_retired, parked_events, rebuild,
    request_rebuild, retry_parked, status,
};

use super::progress::Bar;
use super::{ToolError, Tools, named, say};
use crate::settings::{ProjectionsCommand, Settings};

/// Parked events that are read at once.
const PAGE: u32 = 1000;
/// Interval of reading the progress of another process.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Runs one of its commands.
pub(crate) async fn run(settings: &Settings, command: ProjectionsCommand) -> Result<ExitCode, ToolError> {
    // What can be wrong with a command is found before anything is opened for it.
    let projectors = match &command {
        ProjectionsCommand::Status => vec![],
        ProjectionsCommand::Rebuild { name }
        | ProjectionsCommand::Parked { name }
        | ProjectionsCommand::Retry { name }
        | ProjectionsCommand::Drop { name } => named(std::slice::from_ref(name))?,
    };
    let tools = Tools::open(settings).await?;
    let outcome = match command {
        ProjectionsCommand::Status => show_status(&tools).await,
        ProjectionsCommand::Rebuild { .. } => rebuild_all(&tools, &projectors).await,
        ProjectionsCommand::Parked { .. } => show_parked(&tools, &projectors).await,
        ProjectionsCommand::Retry { .. } => retry(&tools, &projectors).await,
        ProjectionsCommand::Drop { .. } => drop_tables(&tools, &projectors).await,
    };
    tools.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn show_status(tools: &Tools) -> Result<(), ToolError> {
    let head = tools.store().head().await?;
    say(format_args!(
        "{:<12} {:>7} {:<10} {:>12} {:>10} {:>7}",
        "PROJECTION", "VERSION", "STATE", "POSITION", "LAG", "PARKED"
    ))?;
    for status in status(&tools.database.pool).await? {
        let ProjectionStatus { name, version, position, parked, .. } = status;
        let lag = head.saturating_sub(position);
        say(format_args!("{name:<12} {version:>7} {:<10} {position:>12} {lag:>10} {parked:>7}", status.state()))?;
        if let Some(RebuildStatus { progress, error, finished_at: None, .. }) = status.rebuild {
            let Progress { position, head, .. } = progress;
            say(format_args!(
                "{:<12} rebuilt up to {position} of {head}, {:.0} events/s",
                "",
                progress.events_per_s()
            ))?;
            if let Some(error) = error {
                say(format_args!("{:<12} stopped for now: {error}", ""))?;
            }
        }
    }
    Ok(())
}

async fn rebuild_all(tools: &Tools, projectors: &[Projector]) -> Result<(), ToolError> {
    for projector in projectors {
        let name = projector.name;
        request_rebuild(*projector, &tools.database.pool).await?;
        let bar = Bar::of(name);
        let outcome = match rebuild(*projector, &tools.sources(), |progress| bar.show(progress)).await {
            Ok(Some(progress)) => Ok(progress),
            // The server was faster.
            Ok(None) | Err(RebuildError::UnderWay) => watch(tools, *projector, &bar).await,
            Err(source) => Err(ToolError::Projection { name, source }),
        };
        bar.done();
        let progress = outcome?;
        let events = progress.events;
        say(format_args!("{name}: rebuilt from {events} events, {:.0} a second", progress.events_per_s()))?;
    }
    Ok(())
}

/// Watches another process rebuild a projection. Should it die, a server goes on; without one, the next rebuild does.
async fn watch(tools: &Tools, projector: Projector, bar: &Bar) -> Result<Progress, ToolError> {
    loop {
        let statuses = status(&tools.database.pool).await?;
        let rebuild =
            statuses.into_iter().find(|status| status.name == projector.name).and_then(|status| status.rebuild);
        if let Some(RebuildStatus { progress, finished_at, error, .. }) = rebuild {
            bar.show(progress);
            if let Some(error) = error {
                return Err(ToolError::Stopped { name: projector.name, error });
            }
            if finished_at.is_some() {
                return Ok(progress);
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn show_parked(tools: &Tools, projectors: &[Projector]) -> Result<(), ToolError> {
    for projector in projectors {
        let mut after = 0;
        loop {
            let events = parked_events(*projector, &tools.database.pool, after, PAGE).await?;
            let Some(last) = events.last() else { break };
            after = last.position.cast_unsigned();
            for event in events {
                say(format_args!(
                    "{} {} {} in {}: {}",
                    projector.name, event.position, event.event_type, event.stream, event.error
                ))?;
            }
        }
    }
    Ok(())
}

async fn retry(tools: &Tools, projectors: &[Projector]) -> Result<(), ToolError> {
    for projector in projectors {
        let name = projector.name;
        let retried = retry_parked(*projector, &tools.sources()).await;
        let retried = retried.map_err(|source| ToolError::Projection { name, source })?;
        say(format_args!("{name}: {} taken in, {} still parked", retried.taken_in, retried.still_parked))?;
    }
    Ok(())
}

async fn drop_tables(tools: &Tools, projectors: &[Projector]) -> Result<(), ToolError> {
    for projector in projectors {
        let dropped = drop_retired(*projector, &tools.database.pool).await?;
        let what = if dropped { "retired tables dropped" } else { "there are no retired tables" };
        say(format_args!("{}: {what}", projector.name))?;
    }
    Ok(())
}
