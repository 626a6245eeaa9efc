//! What happened in a run on real processes, and whether it was allowed to.
//!
//! Clients type *marks*: short pieces of text that name their author and number, each typed once. While a run goes on, it is
//! noted what was typed, what was acknowledged, what stood on each screen and what was done to the system; in the end, what
//! every client, relay, snapshot, op store and log has. [`check`] looks for breaches of the invariants in that, and shares
//! no code with what it judges: it reads texts and numbers.

mod check;
mod event;
mod figures;
mod mark;
#[cfg(test)]
mod tests;

pub(crate) use check::ranges;
pub use check::{Breach, check};
pub use event::{Event, Final, History, Level, Logged, Place, Ranges, Writer};
pub use figures::{Gap, Promotion, acked_within_ms, gaps, percentile, promotions};
pub use mark::{Mark, marks};
