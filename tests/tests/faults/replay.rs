//! Replay, checked on the project's own recording, on one with another merge order, and on the public ones where they are.

use std::path::Path;

use selvedge_tests::process::RelayProcess;
use selvedge_tests::replay::{Outcome, RAISED_LIMITS, SAMPLE_SEED, Trace, Venue, play, sample};

async fn replayed(trace: &Trace) -> Outcome {
    let data = tempfile::tempdir().unwrap();
    let relay = RelayProcess::start(data.path(), RAISED_LIMITS).await.unwrap();
    play(trace, &Venue::at(relay.url()), "replay", &|| ()).await.unwrap()
}

fn own_recording() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/traces/on-edges.json")).unwrap()
}

#[test]
fn the_own_recording_is_what_the_generator_makes() {
    let kept: serde_json::Value = serde_json::from_slice(&own_recording()).unwrap();
    assert!(
        kept == sample(SAMPLE_SEED),
        "write it anew with `replay --record` if the generator was changed on purpose"
    );
    assert_ne!(sample(SAMPLE_SEED), sample(SAMPLE_SEED + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_recording_matches_exactly() {
    let trace = Trace::parse(&own_recording(), Path::new("on-edges.json")).unwrap();
    assert!(trace.transactions.len() > 300 && trace.agents == 2);
    assert_eq!(replayed(&trace).await.difference, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_recordings_match_exactly() {
    let Ok(files) = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces")) else {
        eprintln!("skipped: the_public_recordings_match_exactly (there are none in ../shared/traces)");
        return;
    };
    let files = files.map(|file| file.unwrap().path()).filter(|file| file.to_string_lossy().ends_with(".json.gz"));
    for file in files {
        let outcome = replayed(&Trace::read(&file).unwrap()).await;
        assert_eq!(outcome.difference, None, "{}", file.display());
        println!("{}: {} characters in {:.1?}", file.display(), outcome.length, outcome.elapsed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_merge_order_is_reported_and_all_agree() {
    // Two people type at one place at once; a recorder that interleaves them ends with neither of our orders.
    let recording = r#"{"kind": "concurrent", "endContent": "abAB!", "numAgents": 2, "txns": [
        {"parents": [], "agent": 0, "patches": [[0, 0, "a"]]},
        {"parents": [], "agent": 1, "patches": [[0, 0, "b"]]},
        {"parents": [0], "agent": 0, "patches": [[1, 0, "A"]]},
        {"parents": [1], "agent": 1, "patches": [[1, 0, "B"]]},
        {"parents": [2, 3], "agent": 0, "patches": [[4, 0, "!"]]}]}"#;
    let trace = Trace::parse(recording.as_bytes(), Path::new("interleaved.json")).unwrap();
    let difference = replayed(&trace).await.difference.expect("ours stay whole");
    // Whose text stands first is open; the recording's differs from the first or from the second place on.
    assert_eq!(difference.transaction, Some(difference.at), "{difference:?}");

    // And one whose positions do not fit our text at all.
    let recording = r#"{"endContent": "abcx", "txns": [{"patches": [[0, 0, "abc"]]}, {"patches": [[9, 0, "x"]]}]}"#;
    let trace = Trace::parse(recording.as_bytes(), Path::new("unfit.json")).unwrap();
    assert_eq!(replayed(&trace).await.difference.unwrap().transaction, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequential_recording_with_a_beginning() {
    let recording = r#"{"startContent": "\u00e9\ud83d\ude00", "endContent": "\u00e9-\ud83d\ude01",
        "txns": [{"patches": [[1, 0, "-"]]}, {"patches": [[2, 1, "\ud83d\ude01"]]}]}"#;
    let trace = Trace::parse(recording.as_bytes(), Path::new("start.json")).unwrap();
    let outcome = replayed(&trace).await;
    assert_eq!((outcome.difference, outcome.length), (None, 3));
}
