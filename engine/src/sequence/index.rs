//! The index: where a living dot is. Made when a dot is first asked for, kept from then on: who only reads, or only
//! writes at places, never pays for it.
//!
//! ```text
//! chunk   up to 64 runs of one site, by the lowest counter of each: (counter, leaf)
//! chunks  by a dot that is none of the chunk's above its own
//! ```

use super::leaf::LeafIndex;
use crate::id::{Dot, SiteId};
use crate::sorted_map::SortedMap;

const CHUNK_ENTRIES_MAX: usize = 64;

/// A run by its lowest counter, and its leaf.
type Entry = (u64, LeafIndex);

type Chunks = SortedMap<Dot, Vec<Entry>>;

/// The dot of each run's lowest counter to the run's leaf. O(log n) each, n = runs.
#[derive(Clone, Debug, Default)]
pub(super) struct DotIndex {
    /// Chunks are never empty.
    chunks: Option<Chunks>,
    length: usize,
}

impl DotIndex {
    pub(super) const fn is_made(&self) -> bool {
        self.chunks.is_some()
    }

    /// Makes it of all runs. O(n log n), n = runs.
    pub(super) fn make(&mut self, runs: impl Iterator<Item = (Dot, LeafIndex)>) {
        let mut entries: Vec<(Dot, LeafIndex)> = runs.collect();
        entries.sort_unstable();
        self.length = entries.len();
        let sites = entries.chunk_by(|a, b| a.0.site == b.0.site);
        let chunks = sites.flat_map(|entries| entries.chunks(CHUNK_ENTRIES_MAX / 2));
        let chunk = |entries: &[(Dot, LeafIndex)]| entries.iter().map(|&(dot, leaf)| (dot.counter, leaf)).collect();
        self.chunks = Some(chunks.map(|entries| (entries[0].0, chunk(entries))).collect());
    }

    /// A run begins at `dot`, in `leaf`.
    pub(super) fn insert(&mut self, dot: Dot, leaf: LeafIndex) {
        let Some(chunks) = &mut self.chunks else { return };
        let Some((_, chunk)) = chunk_mut(chunks, dot) else {
            chunks.insert(dot, vec![(dot.counter, leaf)]);
            self.length += 1;
            return;
        };
        match chunk.binary_search_by_key(&dot.counter, |entry| entry.0) {
            Ok(at) => chunk[at].1 = leaf,
            Err(at) => {
                chunk.insert(at, (dot.counter, leaf));
                self.length += 1;
                if chunk.len() > CHUNK_ENTRIES_MAX {
                    let upper = chunk.split_off(CHUNK_ENTRIES_MAX / 2);
                    chunks.insert(Dot::new(dot.site, upper[0].0), upper);
                }
            }
        }
    }

    /// No run begins at `dot`.
    pub(super) fn remove(&mut self, dot: Dot) {
        let Some(chunks) = &mut self.chunks else { return };
        let Some((key, chunk)) = chunk_mut(chunks, dot) else { return };
        if let Ok(at) = chunk.binary_search_by_key(&dot.counter, |entry| entry.0) {
            chunk.remove(at);
            self.length -= 1;
            if chunk.is_empty() {
                chunks.remove(&key);
            }
        }
    }

    /// The last run of `site` that begins at most at `counter`; none before the index is made.
    pub(super) fn floor(&self, site: SiteId, counter: u64) -> Option<Entry> {
        let chunks = self.chunks.as_ref()?;
        let mut before = chunks.floor(&Dot::new(site, counter));
        // What is left of a chunk may begin above its own dot.
        while let Some((key, chunk)) = before.filter(|(key, _)| key.site == site) {
            if let Some(at) = chunk.partition_point(|entry| entry.0 <= counter).checked_sub(1) {
                return Some(chunk[at]);
            }
            before = chunks.below(key);
        }
        None
    }

    /// The first run of `site` that begins at least at `counter`; none before the index is made.
    pub(super) fn ceiling(&self, site: SiteId, counter: u64) -> Option<Entry> {
        let chunks = self.chunks.as_ref()?;
        let start = Dot::new(site, counter);
        let before = chunks.floor(&start).filter(|(key, _)| key.site == site);
        let behind = chunks.from(&start).take_while(|(key, _)| key.site == site).take(2);
        let from = |chunk: &Vec<Entry>| chunk.get(chunk.partition_point(|entry| entry.0 < counter)).copied();
        before.into_iter().chain(behind).find_map(|(_, chunk)| from(chunk))
    }

    /// Every run's lowest dot and its leaf, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Dot, LeafIndex)> + '_ {
        let chunks = self.chunks.iter().flatten();
        chunks.flat_map(|(key, chunk)| chunk.iter().map(|&(counter, leaf)| (Dot::new(key.site, counter), leaf)))
    }

    pub(super) const fn len(&self) -> usize {
        self.length
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let Some(chunks) = &self.chunks else { return 0 };
        chunks.heap_bytes() + chunks.values().map(|chunk| chunk.capacity() * size_of::<Entry>()).sum::<usize>()
    }

    /// Checks that chunks are in order and keep their limits.
    pub(super) fn assert_invariants(&self) {
        let mut entries = 0;
        for (key, chunk) in self.chunks.iter().flatten() {
            entries += chunk.len();
            assert!((1..=CHUNK_ENTRIES_MAX).contains(&chunk.len()), "a chunk has 1 to 64 entries");
            assert!(key.counter <= chunk[0].0, "a chunk's dot is not above what it has");
        }
        assert!(self.iter().zip(self.iter().skip(1)).all(|(a, b)| a.0 < b.0), "the index is in order");
        assert_eq!(entries, self.length, "the index knows how much it has");
    }
}

/// The chunk that has `dot` if one has.
fn chunk_mut(chunks: &mut Chunks, dot: Dot) -> Option<(Dot, &mut Vec<Entry>)> {
    let (key, chunk) = chunks.floor_mut(&dot)?;
    (key.site == dot.site).then_some((*key, chunk))
}
