//! How the plots look: on light paper of their own, which reads on a light and on a dark page.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub const PAPER: RGBColor = RGBColor(250, 250, 248);
pub const INK: RGBColor = RGBColor(45, 50, 60);
pub const FAINT: RGBColor = RGBColor(120, 126, 138);
pub const GRID: RGBColor = RGBColor(228, 229, 232);
/// Ahead of every peer, and behind the best.
pub const AHEAD: RGBColor = RGBColor(104, 178, 150);
pub const BEHIND: RGBColor = RGBColor(226, 140, 120);
/// Told apart also by those who see few colours: after Okabe and Ito.
pub const SERIES: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(110, 90, 170),
    RGBColor(213, 94, 0),
];

/// Text of a size and colour, beginning, centred or ending at its point.
pub fn text(size: u32, colour: RGBColor, side: HPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(side, VPos::Center))
}

/// How wide a text is, about: the backend has no fonts to ask.
pub fn width(text: &str, size: u32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.56) as i32
}

/// The colour of the n-th of several subjects.
pub const fn colour(number: usize) -> RGBColor {
    SERIES[number % SERIES.len()]
}
