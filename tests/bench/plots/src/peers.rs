//! The engine beside its peers: a bar for every figure, as a ratio to the best peer, and a dot for each peer.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::results::{Comparison, Results};
use crate::style::{AHEAD, BEHIND, FAINT, GRID, INK, PAPER, colour, text, width};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const OURS: &str = "selvedge";
const COLUMNS: usize = 2;
const WIDTH: u32 = 1100;
const HEAD: u32 = 84;
const FOOT: u32 = 26;
/// Of a figure, and of what stands above and below the figures of a case.
const LINE: i32 = 17;
const CAPTION: i32 = 46;
/// Where the bars begin and end in a case's panel.
const BARS: core::ops::Range<i32> = 180..480;
/// What the scale shows; what lies outside stands at its end.
const SCALE: core::ops::Range<f64> = 0.05..20.0;
const TICKS: [f64; 5] = [0.1, 0.25, 1.0, 4.0, 10.0];

pub fn draw(results: &Results, file: &Path) -> Result<()> {
    let mut cases: Vec<(&str, Vec<&Comparison>)> = Vec::new();
    for one in &results.comparisons {
        match cases.iter_mut().find(|(case, _)| *case == one.case) {
            Some((_, of_case)) => of_case.push(one),
            None => cases.push((&one.case, vec![one])),
        }
    }
    let tallest = |row: &[(&str, Vec<&Comparison>)]| {
        let most = row.iter().map(|(_, figures)| figures.len()).max().unwrap_or(0);
        CAPTION + LINE * most as i32
    };
    let body: i32 = cases.chunks(COLUMNS).map(tallest).sum();
    let root = SVGBackend::new(file, (WIDTH, HEAD + body as u32 + FOOT)).into_drawing_area();
    let drawn = (|| -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&PAPER)?;
        let subjects = subjects(results);
        head(&root, results, &subjects)?;
        let mut top = HEAD as i32;
        for row in cases.chunks(COLUMNS) {
            for (column, (case, figures)) in row.iter().enumerate() {
                let left = column as i32 * WIDTH as i32 / COLUMNS as i32;
                let area = root.clone().shrink((left, top), (WIDTH / COLUMNS as u32, tallest(row) as u32));
                panel(&area, case, figures, results, &subjects)?;
            }
            top += tallest(row);
        }
        root.draw(&Text::new(results.origin(), (16, top + 10), text(12, FAINT, HPos::Left)))?;
        root.present()?;
        Ok(())
    })();
    drawn.map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// The peers, in the order of the rows.
fn subjects(results: &Results) -> Vec<&str> {
    let mut names = Vec::new();
    for row in &results.rows {
        let name = row.subject.as_str();
        if name != OURS && !name.starts_with("reference-") && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn head(root: &Area<'_>, results: &Results, subjects: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let ahead = results.comparisons.iter().filter(|one| one.ratio < 1.0).count();
    let title = format!(
        "Selvedge beside the best peer in each figure: ahead in {ahead} of {} (shorter is better)",
        results.comparisons.len()
    );
    root.draw(&Text::new(title, (16, 20), text(18, INK, HPos::Left)))?;
    let note =
        "Bars: ratio to the best peer, which stands at 1. Dots: the peers. Time is of the processor, bytes are bytes.";
    root.draw(&Text::new(note, (16, 42), text(13, FAINT, HPos::Left)))?;
    let mut x = 16;
    for (name, fill) in [("ahead", AHEAD), ("behind", BEHIND)] {
        root.draw(&Rectangle::new([(x, 59), (x + 16, 69)], fill.filled()))?;
        root.draw(&Text::new(name, (x + 22, 64), text(13, INK, HPos::Left)))?;
        x += 22 + width(name, 13) + 20;
    }
    for (number, name) in subjects.iter().enumerate() {
        root.draw(&Circle::new((x + 5, 64), 4, colour(number).filled()))?;
        root.draw(&Text::new((*name).to_owned(), (x + 15, 64), text(13, INK, HPos::Left)))?;
        x += 15 + width(name, 13) + 20;
    }
    Ok(())
}

fn panel(
    area: &Area<'_>,
    case: &str,
    figures: &[&Comparison],
    results: &Results,
    subjects: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    area.draw(&Text::new(case.to_owned(), (16, 10), text(14, INK, HPos::Left)))?;
    let bottom = 20 + LINE * figures.len() as i32;
    for tick in TICKS {
        let line = if tick == 1.0 { FAINT } else { GRID };
        area.draw(&PathElement::new([(place(tick), 20), (place(tick), bottom)], line.stroke_width(1)))?;
        area.draw(&Text::new(format!("{tick}"), (place(tick), bottom + 8), text(11, FAINT, HPos::Center)))?;
    }
    for (number, one) in figures.iter().enumerate() {
        let middle = 20 + LINE * number as i32 + LINE / 2;
        let name = one.figure.replace('_', " ");
        area.draw(&Text::new(name, (BARS.start - 8, middle), text(12, INK, HPos::Right)))?;
        let fill = if one.ratio < 1.0 { AHEAD } else { BEHIND };
        area.draw(&Rectangle::new([(BARS.start, middle - 6), (place(one.ratio), middle + 6)], fill.filled()))?;
        for row in results.rows.iter().filter(|row| row.case == one.case && row.figure == one.figure) {
            let Some(peer) = subjects.iter().position(|name| *name == row.subject) else { continue };
            let ratio = if one.figure.ends_with("_per_s") { one.best / row.value } else { row.value / one.best };
            area.draw(&Circle::new((place(ratio), middle), 3, colour(peer).filled()))?;
        }
        let told = format!("{:.2}", one.ratio);
        area.draw(&Text::new(told, (BARS.end + 42, middle), text(12, INK, HPos::Right)))?;
    }
    Ok(())
}

/// Where a ratio stands.
fn place(ratio: f64) -> i32 {
    let scaled = (ratio.clamp(SCALE.start, SCALE.end) / SCALE.start).ln() / (SCALE.end / SCALE.start).ln();
    BARS.start + (scaled * f64::from(BARS.end - BARS.start)) as i32
}
