//! Recorded editing sessions: of one writer, replayed on one replica and by deltas on another, and of several, each on a replica of
//! its own. `*.json.gz` of the folder that `SELVEDGE_TRACES` names, or of the public ones beside the checkout; and `tests/traces`.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod trace;

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use checked::Checked;
use flate2::read::GzDecoder;
use selvedge_engine::{Delta, Document, Op, SiteId};

/// The folder of public recordings, if there is one.
fn public() -> Option<PathBuf> {
    let named = std::env::var_os("SELVEDGE_TRACES").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces").into());
    (named.is_some() || folder.exists()).then_some(folder)
}

/// The recordings in a folder: `*.json` and `*.json.gz`.
fn recordings(folder: PathBuf) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).expect("SELVEDGE_TRACES names a folder");
    let paths = entries.map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let mut json = String::new();
        let mut file = std::fs::File::open(&path).unwrap();
        match path.extension()?.to_str()? {
            "gz" => GzDecoder::new(file).read_to_string(&mut json).unwrap(),
            "json" => file.read_to_string(&mut json).unwrap(),
            _ => return None,
        };
        Some((path, json))
    };
    paths.filter_map(read).collect()
}

#[test]
fn recorded_sessions_end_as_recorded() {
    let Some(folder) = public() else {
        eprintln!("skipped: recorded_sessions_end_as_recorded (there are none in ../shared/traces)");
        return;
    };
    let mut replayed = 0;
    for (path, json) in recordings(folder) {
        if let Some(trace) = trace::Trace::read(&json) {
            println!("{}", path.display());
            replay(&trace);
            replayed += 1;
        }
    }
    assert!(replayed > 0, "there is a recording of one writer");
}

#[test]
fn recorded_sessions_of_several_writers_never_rebase() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/traces").into();
    let mut replayed = 0;
    for (path, json) in [Some(own), public()].into_iter().flatten().flat_map(recordings) {
        if let Some(trace) = trace::Concurrent::read(&json) {
            println!("{}", path.display());
            let text = replay_concurrent(&trace);
            // Others may have been merged otherwise where several wrote at once.
            assert!(text == trace.end || !path.ends_with("on-edges.json"), "{text}");
            replayed += 1;
        }
    }
    assert!(replayed > 0, "there is a recording of several writers");
}

fn check_no_rebase(deltas: &[Delta]) {
    let rebases = deltas.iter().flat_map(|delta| &delta.ops).filter(|op| matches!(op, Op::Rebase(_))).count();
    assert_eq!(rebases, 0, "nobody who edits as people do is rebased");
}

/// Every writer edits a replica of its own, which has heard at each transaction what the recorded one had. The text at the end.
fn replay_concurrent(trace: &trace::Concurrent) -> String {
    let steps = trace.transactions.len() as u64;
    let mut documents: Vec<Checked> = (0..trace.writers).map(|_| Checked::over(steps, Document::new())).collect();
    for (document, number) in documents.iter_mut().zip(1..) {
        document.begin_writing(SiteId::leased(0, number), 1).unwrap();
    }
    // By writer, then transaction; and how many of each writer every document has.
    let mut sent: Vec<Vec<Vec<Delta>>> = vec![Vec::new(); trace.writers];
    let mut heard = vec![vec![0; trace.writers]; trace.writers];
    let listen =
        |document: &mut Checked, own: usize, heard: &mut [usize], sent: &[Vec<Vec<Delta>>], until: &[usize]| {
            for other in (0..sent.len()).filter(|other| *other != own) {
                let new = heard[other]..until[other].max(heard[other]);
                sent[other][new.clone()].iter().flatten().for_each(|delta| drop(document.apply(delta).unwrap()));
                heard[other] = new.end;
            }
        };
    let mut depth_max = 0;
    for (index, transaction) in trace.transactions.iter().enumerate() {
        let writer = transaction.writer;
        let document = &mut documents[writer];
        listen(document, writer, &mut heard[writer], &sent, &transaction.past);
        for edit in &transaction.edits {
            // Replicas that order concurrent text otherwise may delete some of it together, and have it longer.
            let end = document.len_scalars();
            let (from, to) = (edit.at.min(end), (edit.at + edit.delete).min(end));
            let (from, to) = (document.scalar_to_utf16(from), document.scalar_to_utf16(to));
            document.replace(from, to - from, &edit.insert).unwrap();
        }
        let deltas = document.seal();
        check_no_rebase(&deltas);
        sent[writer].push(deltas);
        if index % 64 == 0 {
            depth_max = depth_max.max(document.stats().depth_max);
        }
    }
    let all: Vec<usize> = sent.iter().map(Vec::len).collect();
    for (own, document) in documents.iter_mut().enumerate() {
        listen(document, own, &mut heard[own], &sent, &all);
    }
    for document in &documents {
        assert_eq!(document.snapshot(), documents[0].snapshot());
        assert_eq!(document.stats().moved_ranges, 0);
    }
    let text = documents[0].text();
    println!("  {steps} transactions, depth max {depth_max}; as recorded: {}", text == trace.end);
    text
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
    let sealed_at_once = here.seal();
    let sealed = start.elapsed();
    check_no_rebase(&sealed_at_once);
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
    check_no_rebase(&deltas);
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
