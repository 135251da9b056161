//! Figures: measured, summed up and printed.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cpu::Cpu;

/// Latencies in microseconds, up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are fine")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// What a run comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How many there were.
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    /// How long each took, in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// CPU time for each, in microseconds.
    pub(crate) server_us: f64,
    pub(crate) postgres_us: f64,
    pub(crate) driver_us: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Figures {
    pub(crate) fn of(histogram: &Histogram<u64>, took: Duration, cpu: Cpu) -> Self {
        let count = histogram.len();
        let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
        Self {
            count,
            per_second: count as f64 / took.as_secs_f64(),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
            server_us: each(cpu.server),
            postgres_us: each(cpu.postgres),
            driver_us: each(cpu.driver),
        }
    }

    /// CPU time for each of server and Postgres, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server_us + self.postgres_us
    }

    /// Each figure the median of several runs.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        Self {
            count: runs.iter().map(|run| run.count).sum::<u64>() / runs.len().max(1) as u64,
            per_second: of(|run| run.per_second),
            p50_ms: of(|run| run.p50_ms),
            p90_ms: of(|run| run.p90_ms),
            p99_ms: of(|run| run.p99_ms),
            p999_ms: of(|run| run.p999_ms),
            max_ms: of(|run| run.max_ms),
            server_us: of(|run| run.server_us),
            postgres_us: of(|run| run.postgres_us),
            driver_us: of(|run| run.driver_us),
        }
    }
}

/// The middle one; of an even number, the lower of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn header(what: &str) {
    println!(
        "{what:>24} {:>10} {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9}",
        "per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "server us", "pg us", "driver us"
    );
}

pub(crate) fn row(what: &str, figures: &Figures) {
    println!(
        "{what:>24} {:>10.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} | {:>9.1} {:>9.1} {:>9.1}",
        figures.per_second,
        figures.p50_ms,
        figures.p99_ms,
        figures.p999_ms,
        figures.max_ms,
        figures.server_us,
        figures.postgres_us,
        figures.driver_us
    );
}
