//! What grows with a document: one line for each kind of editing, over the characters there are.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::results::Results;
use crate::style::{FAINT, GRID, INK, PAPER, colour, text, width};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A figure over the length of the text.
struct Panel {
    figure: &'static str,
    title: &'static str,
    /// Whether the scale is of powers, else it begins at zero.
    powers: bool,
}

const fn panel(figure: &'static str, title: &'static str, powers: bool) -> Panel {
    Panel { figure, title, powers }
}

const PLOTS: [(&str, &str, &[Panel]); 3] = [
    (
        "growth-time.svg",
        "Time of an edit, by the characters there are",
        &[
            panel("local_message_time", "written, with its message: µs of processor time", true),
            panel("remote_time", "applied by another replica: µs of processor time", true),
        ],
    ),
    (
        "growth-identifiers.svg",
        "Length of identifiers, by the characters there are",
        &[
            panel("levels_mean", "levels, mean of all characters", false),
            panel("levels_max", "levels, the deepest", false),
            panel("identifier_bytes_mean", "bytes, mean of all characters", false),
            panel("identifier_bytes_max", "bytes, the longest", false),
        ],
    ),
    (
        "growth-bytes.svg",
        "What a character takes, by the characters there are",
        &[
            panel("message_bytes", "bytes of its message", false),
            panel("heap_bytes_per_character", "bytes of memory, for text, runs and identifiers", false),
        ],
    ),
];

const WIDTH: u32 = 1000;
const HEAD: u32 = 64;
const FOOT: u32 = 24;
const PANEL: u32 = 290;

/// A kind of editing and its points.
type Series<'a> = (&'a str, Vec<(f64, f64)>);

pub fn draw(results: &Results, folder: &Path) -> Result<()> {
    for (file, title, panels) in PLOTS {
        let file = folder.join(file);
        let height = HEAD + PANEL * panels.len().div_ceil(2) as u32 + FOOT;
        let root = SVGBackend::new(&file, (WIDTH, height)).into_drawing_area();
        plot(&root, results, title, panels).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn plot(root: &Area<'_>, results: &Results, title: &str, panels: &[Panel]) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&PAPER)?;
    root.draw(&Text::new(title.to_owned(), (16, 20), text(18, INK, HPos::Left)))?;
    let (head, rest) = root.split_vertically(HEAD);
    let (body, foot) = rest.split_vertically(rest.dim_in_pixel().1 - FOOT);
    legend(&head, &series(results, panels[0].figure))?;
    for (area, panel) in body.split_evenly((panels.len().div_ceil(2), 2)).iter().zip(panels) {
        let series = series(results, panel.figure);
        let values = || series.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
        let greatest = values().fold(f64::MIN_POSITIVE, f64::max) * 1.1;
        if panel.powers {
            chart(area, panel.title, &series, (values().fold(greatest, f64::min) / 1.3..greatest).log_scale())?;
        } else {
            chart(area, panel.title, &series, 0.0..greatest)?;
        }
    }
    foot.draw(&Text::new(results.origin(), (16, 8), text(12, FAINT, HPos::Left)))?;
    root.present()?;
    Ok(())
}

/// The points of every kind, in the order of the rows.
fn series<'a>(results: &'a Results, figure: &str) -> Vec<Series<'a>> {
    let mut all: Vec<Series<'a>> = Vec::new();
    for row in results.rows.iter().filter(|row| row.figure == figure) {
        let Some((kind, length)) = row.case.rsplit_once('/') else { continue };
        let Ok(length) = length.parse() else { continue };
        match all.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, points)) => points.push((length, row.value)),
            None => all.push((kind, vec![(length, row.value)])),
        }
    }
    all
}

fn legend(head: &Area<'_>, all: &[Series<'_>]) -> Result<(), Box<dyn std::error::Error>> {
    let mut x = 16;
    for (number, (name, _)) in all.iter().enumerate() {
        head.draw(&PathElement::new([(x, 46), (x + 18, 46)], colour(number).stroke_width(3)))?;
        head.draw(&Text::new((*name).to_owned(), (x + 24, 46), text(14, INK, HPos::Left)))?;
        x += 24 + width(name, 14) + 22;
    }
    Ok(())
}

fn chart<Y>(area: &Area<'_>, title: &str, all: &[Series<'_>], y: Y) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    area.draw(&Text::new(title.to_owned(), (16, 14), text(14, INK, HPos::Left)))?;
    let end = all.iter().flat_map(|(_, points)| points).map(|point| point.0).fold(10_000.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(20)
        .x_label_area_size(28)
        .y_label_area_size(52)
        .build_cartesian_2d((1000.0..end * 1.05).log_scale(), y)?;
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|length| short(*length))
        .y_label_formatter(&|value| format!("{}", (value * 1000.0).round() / 1000.0))
        .bold_line_style(GRID)
        .light_line_style(PAPER)
        .axis_style(FAINT)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .draw()?;
    for (number, (_, points)) in all.iter().enumerate() {
        // The first is broad: another one may lie on it.
        let broad = if number == 0 { 5 } else { 2 };
        chart.draw_series(LineSeries::new(points.iter().copied(), colour(number).stroke_width(broad)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 2, colour(number).filled())))?;
    }
    Ok(())
}

/// 1k, 10k, 1M.
fn short(length: f64) -> String {
    if length >= 1e6 { format!("{:.0}M", length / 1e6) } else { format!("{:.0}k", length / 1e3) }
}
