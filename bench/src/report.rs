//! How figures are printed.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies in microseconds, up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are fine")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

pub(crate) fn header(what: &str) {
    println!("{what:>10} {:>12} {:>10} {:>10} {:>10}", "per second", "p50 ms", "p99 ms", "max ms");
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn row(concurrency: usize, histogram: &Histogram<u64>, took: Duration) {
    let ms = |us: u64| us as f64 / 1000.0;
    println!(
        "{concurrency:>10} {:>12.0} {:>10.2} {:>10.2} {:>10.2}",
        histogram.len() as f64 / took.as_secs_f64(),
        ms(histogram.value_at_quantile(0.5)),
        ms(histogram.value_at_quantile(0.99)),
        ms(histogram.max()),
    );
}
