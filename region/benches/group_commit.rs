//! What a durable append costs: processor time a row and rows a second, one row a commit against group commits.
//!
//! `cargo bench -p selvedge-region --bench group_commit` prints a table. Processor time is that of the whole process, this
//! program's own tasks included.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::time::{Duration, Instant};

use selvedge_region::embedded::{EmbeddedOptions, EmbeddedRegion};
use selvedge_region::{DocumentId, LogRecord};

const TIME: Duration = Duration::from_millis(1500);

fn main() {
    // Cargo's test runner calls benches, too, to see whether they still run.
    let time = if std::env::args().any(|argument| argument == "--bench") { TIME } else { TIME / 50 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!(
        "{:>12} {:>10} {:>12} {:>16} {:>12}",
        "rows a call", "callers", "rows/s", "processor us/row", "wall ms/call"
    );
    for (rows, callers) in [(1, 1), (1, 16), (1, 256), (16, 16), (100, 16), (1000, 4)] {
        runtime.block_on(measure(rows, callers, time));
    }
}

async fn measure(rows: usize, callers: usize, time: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let region = EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await.unwrap();
    let log = region.region().log.clone();
    let document: DocumentId = "bench/document".parse().unwrap();
    let record = LogRecord::new(document, 1, "anon:bench".to_owned(), vec![7; 60]);
    let (began, processor) = (Instant::now(), processor_time());
    let caller = || {
        let (log, record) = (log.clone(), record.clone());
        tokio::spawn(async move {
            let mut calls = 0;
            while began.elapsed() < time {
                log.append(vec![record.clone(); rows]).await.unwrap();
                calls += 1;
            }
            calls
        })
    };
    let tasks: Vec<_> = (0..callers).map(|_| caller()).collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    let (wall, processor) = (began.elapsed().as_secs_f64(), processor_time() - processor);
    let total = f64::from(calls) * rows as f64;
    println!(
        "{rows:>12} {callers:>10} {:>12.0} {:>16.2} {:>12.2}",
        total / wall,
        processor / total * 1e6,
        wall * 1e3 * callers as f64 / f64::from(calls),
    );
    region.close().await;
}

/// Seconds that all threads of this process spent on a processor, as Linux counts them; 0 elsewhere.
fn processor_time() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = |task: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    tasks.filter_map(Result::ok).filter_map(nanoseconds).sum::<f64>() / 1e9
}
