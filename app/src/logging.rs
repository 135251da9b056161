//! Log lines, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::settings::{LogFormat, Settings};

/// Starts logging. Does nothing when it has been started. Fails when the setting can't be understood: anything else might log too
/// much.
pub(crate) fn start(settings: &Settings) -> Result<(), ParseError> {
    // A library that logs whole statements or requests would log personal data with them.
    let filter = format!("{},sqlx=error,poem=warn,engineioxide=error", settings.log);
    let filter = EnvFilter::try_new(filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _ = match settings.log_format {
        LogFormat::Human => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
