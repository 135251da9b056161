//! Progress bars on a terminal. Elsewhere nothing is shown.

use indicatif::{ProgressBar, ProgressStyle};
use projections::Progress;

/// A bar on standard error.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// One that says what is going on.
    pub(super) fn of(what: &str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{bar:32}] {percent:>3} % {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        Self(bar)
    }

    /// Shows how far it has come.
    pub(super) fn show(&self, progress: Progress) {
        self.0.set_length(progress.head);
        self.0.set_position(progress.position);
        let rate = format!("{:.0} events/s", progress.events_per_s());
        let eta =
            progress.remaining().map(|left| format!(", {} left", humantime::format_duration(whole_seconds(left))));
        self.0.set_message(rate + &eta.unwrap_or_default());
    }

    /// Takes it away.
    pub(super) fn done(self) {
        self.0.finish_and_clear();
    }
}

fn whole_seconds(duration: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(duration.as_secs())
}
