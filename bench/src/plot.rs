//! A drawing of a comparison.

use std::path::Path;

use plotters::prelude::*;

use crate::compare::{Compared, Comparison};

const SIZE: (u32, u32) = (900, 560);
const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const PEER: RGBColor = RGBColor(0xbb, 0xbb, 0xbb);

/// Draws messages a second, and CPU a message, of both.
pub(crate) fn draw(comparison: &Comparison, file: &Path) {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).expect("it can be drawn on");
    let (above, below) = root.split_vertically(SIZE.1 / 2);
    let flows: Vec<&Compared> = comparison.scenarios.iter().filter(|compared| compared.senders > 32).collect();
    bars(&above, "Messages a second, on disk and delivered (more is better)", &flows, |compared| {
        (compared.switchboard.per_second, compared.express.per_second)
    });
    bars(&below, "CPU a message, server and Postgres, in µs (less is better)", &flows, |compared| {
        (compared.switchboard.cpu_us(), compared.express.cpu_us())
    });
    root.present().expect("it can be written to");
}

fn bars(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    compared: &[&Compared],
    figure: impl Fn(&Compared) -> (f64, f64),
) {
    let figures: Vec<(f64, f64)> = compared.iter().map(|compared| figure(compared)).collect();
    let highest = figures.iter().flat_map(|(ours, peer)| [*ours, *peer]).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..f64::from(u32::try_from(figures.len()).unwrap_or(1)), 0.0..highest * 1.5)
        .expect("it fits");
    let name = |at: &f64| compared.iter().zip(0_u32..).find(|(_, n)| (f64::from(*n) + 0.5 - at).abs() < 0.01);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * figures.len() + 1)
        .x_label_formatter(&|at| name(at).map_or(String::new(), |(compared, _)| compared.name.clone()))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()
        .expect("it fits");
    for (color, label, from, pick) in [
        (OURS, "Switchboard", 0.15, (|(ours, _)| ours) as fn((f64, f64)) -> f64),
        (PEER, "Express + Socket.IO + pg", 0.5, |(_, peer)| peer),
    ] {
        let columns = figures.iter().zip(0_u32..).map(|(figures, n)| (f64::from(n) + from, pick(*figures)));
        let columns: Vec<(f64, f64)> = columns.collect();
        let bar = |(left, height): &(f64, f64)| Rectangle::new([(*left, 0.0), (*left + 0.35, *height)], color.filled());
        let series = chart.draw_series(columns.iter().map(bar)).expect("it fits");
        series.label(label).legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
        let text = |(left, height): &(f64, f64)| {
            Text::new(format!("{height:.0}"), (*left + 0.1, *height + highest * 0.06), ("sans-serif", 14))
        };
        chart.draw_series(columns.iter().map(text)).expect("it fits");
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()
        .expect("it fits");
}
