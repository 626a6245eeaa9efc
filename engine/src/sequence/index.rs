//! The index: where a living dot is. Made when a dot is first asked for, kept from then on: who only reads, or only
//! writes at places, never pays for it.
//!
//! ```text
//! chunk   up to 64 runs of one site, by the lowest counter of each: (counter, leaf)
//! chunks  by a dot that is none of the chunk's above its own
//! ```

use super::leaf::LeafIndex;
use crate::id::{Dot, SiteId};
use crate::sorted_map::{Place, SortedMap};

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
    /// The chunk changed or turned to last: what goes together was mostly written together.
    recent: Place,
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

    /// Whoever looks for a dot and then changes something there turns to it first.
    pub(super) fn turn_to(&mut self, dot: Dot) {
        if let Some(place) = self.chunks.as_ref().and_then(|chunks| chunks.floor_near(&dot, self.recent)) {
            self.recent = place;
        }
    }

    /// The chunk that has `dot` if one has.
    fn chunk_mut(&mut self, dot: Dot) -> Option<(Dot, &mut Vec<Entry>)> {
        self.turn_to(dot);
        let (key, chunk) = self.chunks.as_mut()?.at_mut(self.recent)?;
        (key.site == dot.site && *key <= dot).then_some((*key, chunk))
    }

    /// A run begins at `dot`, in `leaf`.
    pub(super) fn insert(&mut self, dot: Dot, leaf: LeafIndex) {
        if !self.is_made() {
            return;
        }
        let entry = (dot.counter, leaf);
        let chunk = match self.chunk_mut(dot) {
            Some((_, chunk)) => match chunk.binary_search_by_key(&dot.counter, |entry| entry.0) {
                Ok(at) => return chunk[at] = entry,
                Err(at) => {
                    chunk.insert(at, entry);
                    let full = chunk.len() > CHUNK_ENTRIES_MAX;
                    full.then(|| chunk.split_off(CHUNK_ENTRIES_MAX / 2))
                }
            },
            None => Some(vec![entry]),
        };
        self.length += 1;
        if let (Some(chunks), Some(chunk)) = (&mut self.chunks, chunk) {
            chunks.insert(Dot::new(dot.site, chunk[0].0), chunk);
        }
    }

    /// No run begins at `dot`.
    pub(super) fn remove(&mut self, dot: Dot) {
        if self.is_made() {
            self.take(dot);
        }
    }

    fn take(&mut self, dot: Dot) {
        let Some((key, chunk)) = self.chunk_mut(dot) else { return };
        let Ok(at) = chunk.binary_search_by_key(&dot.counter, |entry| entry.0) else { return };
        chunk.remove(at);
        let is_empty = chunk.is_empty();
        self.length -= 1;
        if let Some(chunks) = self.chunks.as_mut().filter(|_| is_empty) {
            chunks.remove(&key);
        }
    }

    /// The last run of `site` that begins at most at `counter`; none before the index is made.
    pub(super) fn floor(&self, site: SiteId, counter: u64) -> Option<Entry> {
        let chunks = self.chunks.as_ref()?;
        let mut before = chunks.floor_near(&Dot::new(site, counter), self.recent).and_then(|place| chunks.at(place));
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
        let before = chunks.floor_near(&start, self.recent).and_then(|place| chunks.at(place));
        let before = before.filter(|(key, _)| key.site == site);
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
