//! Recorded editing sessions, replayed on one replica and by deltas on another. `SELVEDGE_TRACES` names a folder of
//! traces (`*.json`, sequential, unpacked: `gunzip -k`); without it there is nothing to do.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod trace;

use std::time::Instant;

use selvedge_engine::{Document, SiteId};

#[test]
fn recorded_sessions_end_as_recorded() {
    let Some(folder) = std::env::var_os("SELVEDGE_TRACES") else { return };
    for entry in std::fs::read_dir(folder).expect("SELVEDGE_TRACES names a folder") {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json")
            && let Some(trace) = trace::Trace::read(&std::fs::read_to_string(&path).unwrap())
        {
            println!("{}", path.display());
            replay(&trace);
        }
    }
}

fn replay(trace: &trace::Trace) {
    let mut here = Document::new();
    here.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    let start = Instant::now();
    for edit in &trace.edits {
        here.replace(edit.at, edit.delete, &edit.insert).unwrap();
    }
    let local = start.elapsed();
    let start = Instant::now();
    here.seal();
    let sealed = start.elapsed();
    assert_eq!(here.text(), trace.end);
    here.assert_invariants();
    let start = Instant::now();
    let snapshot = here.snapshot();
    let encoded = start.elapsed();
    let start = Instant::now();
    let loaded = Document::load(&snapshot).unwrap();
    let decoded = start.elapsed();
    assert_eq!(loaded.text(), trace.end);
    assert_eq!(loaded.snapshot(), snapshot);

    let mut writer = Document::new();
    writer.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    let start = Instant::now();
    let mut deltas = Vec::with_capacity(trace.edits.len());
    for edit in &trace.edits {
        writer.replace(edit.at, edit.delete, &edit.insert).unwrap();
        deltas.extend(writer.seal());
    }
    let each = start.elapsed();
    let bytes: usize = deltas.iter().map(|delta| delta.encode().len()).sum();
    let mut there = Document::new();
    let start = Instant::now();
    for delta in &deltas {
        there.apply(delta).unwrap();
    }
    let remote = start.elapsed();
    assert_eq!(there.text(), trace.end);
    assert_eq!(there.snapshot(), writer.snapshot());
    there.assert_invariants();

    let stats = here.stats();
    assert_eq!(stats.moved_ranges, 0, "nobody who edits as people do is rebased");
    println!("  {} edits: local {local:?}, seal {sealed:?}; with a delta each {each:?}, {bytes} B", trace.edits.len());
    println!("  remote, one delta at a time {remote:?}");
    println!("  snapshot {} B in {encoded:?}, loaded in {decoded:?}", snapshot.len());
    println!(
        "  depth max {}, mean {:.2}; {} runs, {} groups; heap {} B, loaded {} B",
        stats.depth_max,
        stats.depth_sum as f64 / stats.scalars as f64,
        stats.runs,
        stats.groups,
        stats.heap_bytes,
        loaded.stats().heap_bytes
    );
}
