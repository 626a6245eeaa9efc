//! History: what was moved to segments and what is in the op store are one, whatever else is lost.

use selvedge_engine::{Delta, Document, SiteId, VersionVector};
use selvedge_protocol::Instant;
use selvedge_region::contract::{Fault, Faults};
use selvedge_region::embedded::{EmbeddedOptions, EmbeddedRegion, FileFaults};
use selvedge_region::fold::{Fold, Persist, PersistConfig, catch_up, erase_deleted, materialise};
use selvedge_region::history::{
    History, Segment, copy_segments, document_at, document_of, fold_history, keep_segment, segments,
};
use selvedge_region::{DocumentId, DocumentKey, Error, LogRecord, NewDocument, OpRun, Region};
use tempfile::TempDir;

fn key() -> DocumentKey {
    DocumentKey::new(DocumentId::new("test", "history").unwrap(), 1)
}

async fn opened() -> (TempDir, EmbeddedRegion) {
    let folder = tempfile::tempdir().unwrap();
    let region = EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await.unwrap();
    (folder, region)
}

struct Writer(Document);

impl Writer {
    fn new(index: u32) -> Self {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(0, index), 1).unwrap();
        Self(document)
    }

    fn write(&mut self, text: &str) -> Delta {
        self.0.replace(self.0.len_utf16(), 0, text).unwrap();
        self.0.seal().remove(0)
    }
}

fn run(delta: &Delta) -> OpRun {
    OpRun { site: delta.site, first: delta.first, last: delta.last(), bytes: delta.encode() }
}

/// Appends deltas, and has persist write them, with a snapshot or without.
async fn persisted(region: &Region, key: &DocumentKey, deltas: &[Delta], snapshot: bool) {
    let record = |delta: &Delta| {
        let record = LogRecord::new(key.document.clone(), key.generation, "anon:test".to_owned(), delta.encode());
        LogRecord { generation: key.generation, ..record }
    };
    region.log.append(deltas.iter().map(record).collect()).await.unwrap();
    let (snapshot_bytes, snapshot_age_ms) = if snapshot { (1, 0) } else { (usize::MAX, u64::MAX) };
    let mut persist = Persist::new(PersistConfig { snapshot_bytes, snapshot_age_ms, ..PersistConfig::default() });
    catch_up(region, &mut persist, Instant(0)).await.unwrap();
}

/// Moves everything in the op store to one segment, and answers it.
async fn moved(region: &Region, key: &DocumentKey) -> Segment {
    let runs = region.ops.read(key, &VersionVector::new(), None, 10_000).await.unwrap().runs;
    let mut trimmed = region.ops.trimmed(key).await.unwrap();
    for run in &runs {
        trimmed.advance(run.site, run.last);
    }
    let segment = Segment::new(key, &trimmed, &runs).unwrap();
    keep_segment(&*region.blobs, key, &segment).await.unwrap();
    region.ops.trim(key, &runs.iter().map(OpRun::cursor).collect::<Vec<_>>()).await.unwrap();
    segment
}

async fn whole(region: &Region, key: &DocumentKey) -> Vec<OpRun> {
    let (mut history, mut all) = (History::of(region, key), Vec::new());
    while let Some(runs) = history.read().await.unwrap() {
        all.extend(runs);
    }
    all
}

async fn text(region: &Region) -> String {
    materialise(region, &key()).await.unwrap().document().text()
}

/// Everything below persist's offset leaves the log, so that only op store, segments and snapshots stand for it.
async fn trim_log(region: &Region) {
    let head = region.log.head(&key().document).await.unwrap();
    region.log.trim(0, head.offset).await.unwrap();
}

#[tokio::test]
async fn history_is_segments_and_op_store_in_the_order_it_was_written() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let (mut ann, mut bob) = (Writer::new(1), Writer::new(2));
    let mut places = Vec::new();
    for word in ["one ", "two ", "three "] {
        persisted(&region, &key(), &[ann.write(word), bob.write(word)], true).await;
        places.push(moved(&region, &key()).await.key);
    }
    assert!(places.is_sorted(), "names sort as they were moved: {places:?}");
    assert_eq!(segments(&*region.blobs, &key()).await.unwrap(), places);
    assert!(places.iter().all(|place| document_of(place) == Some(key())));
    persisted(&region, &key(), &[ann.write("four")], true).await;

    let all = whole(&region, &key()).await;
    assert_eq!(all.len(), 7);
    for site in [1, 2].map(|index| SiteId::leased(0, index)) {
        let counters: Vec<_> = all.iter().filter(|run| run.site == site).map(|run| run.first).collect();
        assert!(counters.is_sorted() && counters[0] == 1, "{site}: {counters:?}");
    }
    let mut fold = Fold::new();
    fold_history(&region, &key(), &mut fold).await.unwrap();
    assert_eq!(fold.document().text(), text(&region).await);
    assert!(whole(&region, &DocumentKey::new(key().document, 2)).await.is_empty(), "of this generation alone");
}

#[tokio::test]
async fn a_document_is_made_as_it_was_of_segments_and_op_store() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let (mut ann, mut bob) = (Writer::new(1), Writer::new(2));
    let mut versions = vec![(VersionVector::new(), String::new())];
    for word in ["one ", "two ", "three "] {
        let (from_ann, from_bob) = (ann.write(word), bob.write(word));
        ann.0.apply(&from_bob).unwrap();
        bob.0.apply(&from_ann).unwrap();
        versions.push((ann.0.vector().clone(), ann.0.text()));
        // What comes later takes something of it away again.
        ann.0.replace(0, 2, "").unwrap();
        let cut = ann.0.seal().remove(0);
        bob.0.apply(&cut).unwrap();
        versions.push((ann.0.vector().clone(), ann.0.text()));
        persisted(&region, &key(), &[from_ann, from_bob, cut], true).await;
        if word != "three " {
            moved(&region, &key()).await;
        }
    }
    for (version, text) in &versions {
        let document = document_at(&region, &key(), version).await.unwrap().expect("the history reaches it");
        assert_eq!((document.vector(), &document.text()), (version, text));
    }
    // In the middle of a delta.
    let mut within = VersionVector::new();
    within.advance(SiteId::leased(0, 1), 2);
    assert_eq!(document_at(&region, &key(), &within).await.unwrap().expect("that too").text(), "on");
    let mut beyond = ann.0.vector().clone();
    beyond.advance(SiteId::leased(0, 3), 1);
    assert!(document_at(&region, &key(), &beyond).await.unwrap().is_none());
    assert!(document_at(&region, &DocumentKey::new(key().document, 2), &within).await.unwrap().is_none());
}

#[tokio::test]
async fn a_document_whose_snapshots_are_lost_is_made_of_its_segments() {
    let (_folder, embedded) = opened().await;
    let (region, faults) = (embedded.region().clone(), FileFaults::new(&embedded));
    let (mut ann, mut bob) = (Writer::new(1), Writer::new(2));
    persisted(&region, &key(), &[ann.write("ann "), bob.write("bob ")], true).await;
    let segment = moved(&region, &key()).await;
    persisted(&region, &key(), &[ann.write("more ")], true).await;
    trim_log(&region).await;
    let before = text(&region).await;
    region.snapshots.erase(&key()).await.unwrap();
    // A site whose every run was moved leaves no hole behind, so nothing but the note of what was trimmed tells of it.
    assert_eq!(text(&region).await, before);

    assert!(faults.inject(Fault::DamagedBlob(segment.key.to_string())).await);
    let refused = materialise(&region, &key()).await.map(drop).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "a part of the text is not taken for the whole: {refused}");
    keep_segment(&*region.blobs, &key(), &segment).await.unwrap();
    assert_eq!(text(&region).await, before, "kept again");
}

#[tokio::test]
async fn a_segment_is_what_its_name_says_or_is_refused() {
    let (_folder, embedded) = opened().await;
    let (_other_folder, other) = opened().await;
    let (region, faults) = (embedded.region().clone(), FileFaults::new(&embedded));
    let mut writer = Writer::new(1);
    persisted(&region, &key(), &[writer.write("word ")], true).await;
    let segment = moved(&region, &key()).await;
    let (here, there) = (&*region.blobs, &*other.region().blobs);
    assert_eq!(copy_segments(here, there, &key()).await.unwrap(), 1);
    assert_eq!(copy_segments(here, there, &key()).await.unwrap(), 0, "it is there");
    assert_eq!(there.get(&segment.key).await.unwrap(), segment.bytes, "the same bytes everywhere");

    there.delete(&segment.key).await.unwrap();
    let others = Segment::new(&key(), &VersionVector::new(), &[run(&writer.write("other "))]).unwrap();
    let swapped = Segment { key: segment.key.clone(), bytes: others.bytes };
    let refused = keep_segment(here, &key(), &swapped).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "intact, and not what it is named: {refused}");
    assert_eq!(here.get(&segment.key).await.unwrap(), segment.bytes, "and not kept");
    here.put(&segment.key, swapped.bytes).await.unwrap();
    let refused = copy_segments(here, there, &key()).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "damage is not taken for a copy: {refused}");
    assert!(segments(there, &key()).await.unwrap().is_empty());
    keep_segment(here, &key(), &segment).await.unwrap();
    assert!(faults.inject(Fault::DamagedBlob(segment.key.to_string())).await);
    let refused = copy_segments(here, there, &key()).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    assert!(segments(there, &key()).await.unwrap().is_empty());
}

#[tokio::test]
async fn segments_are_erased_with_their_generation() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let new = |now_ms| NewDocument { document: key().document, creator: "anon:test".to_owned(), now_ms };
    region.control.create(new(1)).await.unwrap();
    persisted(&region, &key(), &[Writer::new(1).write("old")], true).await;
    moved(&region, &key()).await;
    region.control.delete(&key(), 100).await.unwrap();
    region.control.create(new(101)).await.unwrap();
    let next = DocumentKey::new(key().document, 2);
    persisted(&region, &next, &[Writer::new(1).write("new")], true).await;
    moved(&region, &next).await;
    assert_eq!(erase_deleted(&region, &[], 101, 10).await.unwrap(), 1);
    assert!(segments(&*region.blobs, &key()).await.unwrap().is_empty());
    assert!(whole(&region, &key()).await.is_empty());
    assert_eq!(region.ops.trimmed(&key()).await.unwrap(), VersionVector::new());
    assert_eq!(whole(&region, &next).await.len(), 1, "the other generation stays");
}

#[tokio::test]
async fn more_beyond_a_hole_than_a_fold_holds_is_read_again() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let mut writer = Writer::new(1);
    // 10 MiB, of which a fold holds 8.
    let runs: Vec<OpRun> = (0..640).map(|_| run(&writer.write(&"0123456789abcdef".repeat(1000)))).collect();
    for (number, some) in runs.chunks(160).enumerate() {
        // The later the lower: the worst order there is.
        let reach = [(SiteId::leased(0, 1), 10 - number as u64)].into_iter().collect();
        keep_segment(&*region.blobs, &key(), &Segment::new(&key(), &reach, some).unwrap()).await.unwrap();
    }
    let mut fold = Fold::new();
    fold_history(&region, &key(), &mut fold).await.unwrap();
    assert_eq!(fold.vector(), writer.0.vector());
    assert!(fold.holes().is_empty());
}
