//! `switchboard audit`: reading the history, and proving that what is shown is what it says.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use commands::{HistoryRead, read_history_as_operator};
use domain::audit::AuditedThing;
use domain::business::Business;
use domain::{BusinessId, Decider, Timestamp};
use event_store::{Position, StreamId};
use projections::audit::{AuditFilter, AuditQueries, AuditReader};
use projections::{PastRow, Progress, Projector, Verified, show_past, verify};
use tokio::time::Instant;

use super::progress::Bar;
use super::{ToolError, Tools, named, say};
use crate::settings::{AuditCommand, Settings};
use crate::system::System;

/// Events that are read and written at once.
const PAGE: u32 = 1000;

/// Runs one of its commands.
pub(crate) async fn run(settings: &Settings, command: AuditCommand) -> Result<ExitCode, ToolError> {
    // What can be wrong with a command is found before anything is opened for it.
    let projectors = match &command {
        AuditCommand::Verify { names } => named(names)?,
        AuditCommand::Export { .. } | AuditCommand::State { .. } | AuditCommand::Catalogue => vec![],
    };
    let tools = Tools::open(settings).await?;
    let outcome = match command {
        AuditCommand::Export { from, to, business, after, output } => {
            let wanted = Wanted { from, to, business, after };
            match output {
                Some(path) => match output_file(&path, after > 0) {
                    Ok(file) => export(&tools, wanted, BufWriter::new(file)).await,
                    Err(error) => Err(error.into()),
                },
                None => export(&tools, wanted, BufWriter::new(io::stdout())).await,
            }
        }
        AuditCommand::State { at, business } => show_state(&tools, at, business).await,
        AuditCommand::Verify { .. } => verify_all(&tools, &projectors).await,
        // Printed without opening anything.
        AuditCommand::Catalogue => Ok(ExitCode::SUCCESS),
    };
    tools.close().await;
    outcome
}

/// The file to export to: a new one, or one that an export has broken off in, from after its last whole line on.
fn output_file(path: &Path, goes_on: bool) -> io::Result<File> {
    if !goes_on || !path.exists() {
        return File::create(path);
    }
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut end = file.metadata()?.len();
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Makes sure that there is such a business, before it is noted that its history is read.
async fn must_exist(tools: &Tools, business: Option<BusinessId>) -> Result<(), ToolError> {
    let Some(id) = business else { return Ok(()) };
    let stream = StreamId::new(Business::CATEGORY, id);
    if tools.store().read_stream(&stream, 0, 1).await?.is_empty() {
        return Err(ToolError::NoSuchBusiness(id));
    }
    Ok(())
}

/// Part of the history to show.
struct Wanted {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    business: Option<BusinessId>,
    after: Position,
}

async fn export(tools: &Tools, wanted: Wanted, mut output: impl Write) -> Result<ExitCode, ToolError> {
    must_exist(tools, wanted.business).await?;
    let store = tools.store();
    let index = AuditQueries::new(tools.database.readers.clone());
    let said = [("from", wanted.from), ("to", wanted.to)];
    let said = said.iter().filter_map(|(name, time)| Some(format!("{name}={}", time.as_ref()?)));
    let said = said.chain((wanted.after > 0).then(|| format!("after={}", wanted.after))).collect::<Vec<_>>().join("&");
    let query = Some(said).filter(|said| !said.is_empty());
    let read = HistoryRead { business: wanted.business, what: AuditedThing::Export, query };
    let mut before = read_history_as_operator(store.clone(), &System, Arc::new(System), read).await?;
    let mut after = wanted.after;
    if let Some(from) = wanted.from {
        after = after.max(index.position_before(&*store, from.into()).await?);
    }
    if let Some(to) = wanted.to {
        before = before.min(index.position_before(&*store, to.plus_ms(1).into()).await? + 1);
    }
    // The log itself is read, and looked through: it is there in any case, and the index may not be.
    let filter = AuditFilter::default();
    let mut reader = AuditReader::new(index, store, filter, after, before).await?;
    let wanted = AuditFilter { business: wanted.business.map(|id| id.0), ..AuditFilter::default() };
    let bar = Bar::of("export");
    let began = Instant::now();
    let mut events = 0;
    let mut line = vec![];
    loop {
        let page = reader.next_page(PAGE).await?;
        let Some(position) = page.last().map(|event| event.position) else { break };
        for event in page.iter().filter(|event| wanted.matches(event)) {
            line.clear();
            api::write_audit_line(&mut line, event);
            line.push(b'\n');
            output.write_all(&line)?;
        }
        events += page.len() as u64;
        bar.show(Progress { began_at: after, position, head: before, events, elapsed: began.elapsed() });
    }
    bar.done();
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn show_state(tools: &Tools, at: Timestamp, business: Option<BusinessId>) -> Result<ExitCode, ToolError> {
    must_exist(tools, business).await?;
    let store = tools.store();
    let read = HistoryRead { business, what: AuditedThing::Past, query: Some(format!("at={at}")) };
    let noted_at = read_history_as_operator(store.clone(), &System, Arc::new(System), read).await?;
    let index = AuditQueries::new(tools.database.readers.clone());
    let position = index.position_before(&*store, at.plus_ms(1).into()).await?.min(noted_at - 1);
    let bar = Bar::of("replay");
    let mut output = BufWriter::new(io::stdout());
    let write = |PastRow { kind, mut row }: PastRow| -> Result<(), ToolError> {
        row["kind"] = kind.into();
        serde_json::to_writer(&mut output, &row).map_err(io::Error::from)?;
        Ok(output.write_all(b"\n")?)
    };
    let business = business.map(|id| id.0);
    show_past(position, business, &tools.sources(), |progress| bar.show(progress), write).await?;
    bar.done();
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn verify_all(tools: &Tools, projectors: &[Projector]) -> Result<ExitCode, ToolError> {
    let mut is_right = true;
    for projector in projectors {
        let name = projector.name;
        let bar = Bar::of(name);
        let verified = verify(*projector, &tools.sources(), |progress| bar.show(progress)).await;
        bar.done();
        let verified = verified.map_err(|source| ToolError::Projection { name, source })?;
        for difference in &verified.differences {
            say(format_args!("{name}: {difference}"))?;
        }
        let untold = verified.wrong_rows - i64::try_from(verified.differences.len()).unwrap_or(i64::MAX);
        if untold > 0 {
            say(format_args!("{name}: … and {untold} more"))?;
        }
        let outcome = if verified.wrong_rows == 0 { "as the history says" } else { "NOT as the history says" };
        let Verified { rows, wrong_rows, position, .. } = verified;
        say(format_args!("{name}: {outcome}: {rows} rows, {wrong_rows} wrong, at position {position}"))?;
        is_right &= verified.wrong_rows == 0;
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
