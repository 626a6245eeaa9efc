//! What drills say: figures beside their targets, as a table and as rows.

use super::case::Case;
use super::run::Outcome;
use crate::history::{Event, Level, acked_within_ms, gaps, percentile, promotions};
use crate::replay::Row;

/// Marks typed this long before something happened count to the gap: they may still have been on their way.
const BEFORE_MS: u64 = 500;
/// And this long after it.
const AFTER_MS: u64 = 60_000;

/// One figure of a drill over all its runs.
struct Figure {
    name: &'static str,
    unit: &'static str,
    value: Option<u64>,
    target: Option<u64>,
}

/// Prints a drill's figures beside its targets, and every breach.
pub fn print(case: Case, outcomes: &[Outcome]) {
    println!("{}: {} runs", case.name(), outcomes.len());
    for figure in figures(case, outcomes) {
        let Some(value) = figure.value else { continue };
        let target = match figure.target {
            Some(target) if value <= target => format!("  target {target} {}: met", figure.unit),
            Some(target) => format!("  target {target} {}: MISSED", figure.unit),
            None => String::new(),
        };
        println!("  {:28} {value:>9} {:5}{target}", figure.name, figure.unit);
    }
    for (number, outcome) in outcomes.iter().enumerate() {
        for breach in &outcome.breaches {
            println!("  VIOLATED: {} run {}: {breach}", case.name(), number + 1);
        }
    }
}

/// The same as rows; verified when no invariant was broken.
#[must_use]
pub fn rows(case: Case, outcomes: &[Outcome]) -> Vec<Row> {
    let verified = outcomes.iter().all(|outcome| outcome.breaches.is_empty());
    let row = |figure: Figure| {
        Some(Row {
            suite: "drill".to_owned(),
            case: case.name().to_owned(),
            subject: "selvedge".to_owned(),
            figure: figure.name.to_owned(),
            value: figure.value? as f64,
            unit: figure.unit.to_owned(),
            runs: u32::try_from(outcomes.len()).unwrap_or(u32::MAX),
            verified,
        })
    };
    figures(case, outcomes).into_iter().filter_map(row).collect()
}

fn figures(case: Case, outcomes: &[Outcome]) -> Vec<Figure> {
    let all = |of: &dyn Fn(&Outcome) -> Vec<u64>| outcomes.iter().flat_map(of).collect::<Vec<u64>>();
    let gap = all(&|outcome| gaps(&outcome.history, BEFORE_MS, AFTER_MS).iter().map(|gap| gap.ms).collect());
    let region = all(&|outcome| acked_within_ms(&outcome.history, Level::Region));
    let replicated = all(&|outcome| {
        let acked =
            outcome.history.events.iter().any(|event| matches!(event, Event::Acked { level: Level::Replicated, .. }));
        if acked { acked_within_ms(&outcome.history, Level::Replicated) } else { Vec::new() }
    });
    let promoted = all(&|outcome| promotions(&outcome.history).iter().map(|promotion| promotion.ms).collect());
    let drained = all(&|outcome| drained(outcome).into_iter().collect());
    let typed = all(&|outcome| {
        vec![outcome.history.events.iter().filter(|event| matches!(event, Event::Typed { .. })).count() as u64]
    });
    let broken = all(&|outcome| vec![outcome.breaches.len() as u64]);
    let targets = case.targets();
    let ms = |name, value, target| Figure { name, unit: "ms", value, target };
    let count = |name, values: &[u64]| Figure { name, unit: "count", value: Some(values.iter().sum()), target: None };
    vec![
        ms("client_gap_p50", percentile(&gap, 0.5), None),
        ms("client_gap_p99", percentile(&gap, 0.99), targets.gap_ms),
        ms("control_plane_promoted_max", promoted.iter().max().copied(), targets.promotion_ms),
        ms("ack_region_p50", percentile(&region, 0.5), None),
        ms("ack_region_p99", percentile(&region, 0.99), None),
        ms("ack_replicated_p50", percentile(&replicated, 0.5), None),
        ms("ack_replicated_p99", percentile(&replicated, 0.99), None),
        ms("backlog_drained_max", drained.iter().max().copied(), None),
        count("marks_typed", &typed),
        Figure { target: Some(0), ..count("invariants_broken", &broken) },
    ]
}

/// From healing to rest.
fn drained(outcome: &Outcome) -> Option<u64> {
    let last =
        |wanted: fn(&Event) -> bool| outcome.history.events.iter().rev().find(|event| wanted(event)).map(Event::at);
    let healed = last(|event| matches!(event, Event::Healed { .. }))?;
    let quiet = last(|event| matches!(event, Event::Quiet { .. }))?;
    Some(quiet.saturating_sub(healed))
}
