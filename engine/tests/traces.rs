//! Recorded editing sessions of one writer, replayed on one replica and by deltas on another: `*.json.gz` of the folder that
//! `SELVEDGE_TRACES` names, or of the public ones beside the checkout.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod trace;

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use checked::Checked;
use flate2::read::GzDecoder;
use selvedge_engine::{Document, SiteId};

#[test]
fn recorded_sessions_end_as_recorded() {
    let named = std::env::var_os("SELVEDGE_TRACES").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces").into());
    if named.is_none() && !folder.exists() {
        eprintln!("skipped: recorded_sessions_end_as_recorded (there are none in ../shared/traces)");
        return;
    }
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("SELVEDGE_TRACES names a folder") {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let mut json = String::new();
        GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut json).unwrap();
        if let Some(trace) = trace::Trace::read(&json) {
            println!("{}", path.display());
            replay(&trace);
            replayed += 1;
        }
    }
    assert!(replayed > 0, "there is a recording of one writer");
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
    // Once more where no clock runs, and checked on the way.
    let mut checked = Checked::over(trace.edits.len() as u64, Document::new());
    checked.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    for edit in &trace.edits {
        checked.replace(edit.at, edit.delete, &edit.insert).unwrap();
    }
    drop(checked);
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
    let mut checked = Checked::over(deltas.len() as u64, Document::new());
    deltas.iter().for_each(|delta| drop(checked.apply(delta).unwrap()));
    drop(checked);
    assert_eq!(there.text(), trace.end);
    assert_eq!(there.snapshot(), writer.snapshot());

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
