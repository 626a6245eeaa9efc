//! The fold: log records into one document, in order, and from it into op store and snapshots.
//!
//! Written once, for `persist` on the region's log and for the embedded relay in process. A snapshot is exactly the fold of
//! the log below its position (I12), and an advertised vector has no holes (I4): dots that arrive beyond a hole are held,
//! bounded, and are neither in the document nor in its vector until the hole fills.

mod due;
mod gather;
mod materialise;
mod persist;
mod publish;

use std::collections::BTreeMap;

use selvedge_engine::{ApplyError, DecodeError, Delta, Document, Outcome, SiteId, VersionVector};

pub use due::{Due, DueConfig};
pub use gather::{Gather, GatheredRun};
pub use materialise::materialise;
pub use persist::{
    PERSIST_READER, Persist, PersistBatch, PersistConfig, PersistError, PersistTask, Readable, catch_up, erase_deleted,
    readable, snapshot_document,
};
pub use publish::{PUBLISH_ATTEMPTS_MAX, publish_snapshot};

use crate::snapshots::Snapshot;
use crate::{EntryContent, LogEntry, Position};

/// Bytes of deltas that one fold holds beyond holes. What does not fit is left to the log: the fold's position stays before it.
pub const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What became of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// It is in the document, and with it whatever waited for it.
    Applied,
    /// All of it was known.
    Known,
    /// It lies beyond a hole and is held.
    Held,
    /// It lies beyond a hole and there is no room to hold it: read it again from the fold's position.
    Dropped,
}

/// A hole: a site's counters that nobody has brought yet, though later ones arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The site.
    pub site: SiteId,
    /// The first missing counter.
    pub first: u64,
    /// The last missing counter before the first one held.
    pub last: u64,
}

struct Held {
    delta: Delta,
    bytes: usize,
    position: Option<Position>,
}

/// One document, folded from its log.
#[derive(Default)]
pub struct Fold {
    document: Document,
    held: BTreeMap<(SiteId, u64), Held>,
    held_bytes: usize,
    /// Every record of the document below this has been read.
    read_to: Option<Position>,
    /// The lowest position of a delta that was dropped for want of room.
    dropped_at: Option<Position>,
}

impl Fold {
    /// The fold of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The fold that a snapshot holds.
    ///
    /// # Errors
    /// What is wrong with its bytes.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Self, DecodeError> {
        let document = Document::load(&snapshot.bytes)?;
        Ok(Self { document, read_to: snapshot.position, ..Self::default() })
    }

    /// The document at [`Fold::vector`].
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The document itself; what was held beyond holes is let go.
    #[must_use]
    pub fn into_document(self) -> Document {
        self.document
    }

    /// What the document holds, without holes and without what is held beyond them.
    #[must_use]
    pub fn vector(&self) -> &VersionVector {
        self.document.vector()
    }

    /// Every record of the document below this position is in the document. `None`: unknown.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let held = self.held.values().filter_map(|held| held.position);
        let open = held.chain(self.dropped_at).map(|position| position.offset).min();
        let read_to = self.read_to?;
        Some(Position { offset: open.map_or(read_to.offset, |open| open.min(read_to.offset)), ..read_to })
    }

    /// One past the highest record that was given to this fold, held ones included. `None`: unknown.
    #[must_use]
    pub fn read_to(&self) -> Option<Position> {
        self.read_to
    }

    /// The same, of a log whose end is not known.
    pub(crate) fn without_position(self) -> Self {
        Self { read_to: None, ..self }
    }

    /// The holes before what is held, one a site.
    #[must_use]
    pub fn holes(&self) -> Vec<Hole> {
        let mut holes: Vec<Hole> = Vec::new();
        for &(site, first) in self.held.keys() {
            if holes.last().is_none_or(|hole| hole.site != site) {
                holes.push(Hole { site, first: self.vector().get(site) + 1, last: first - 1 });
            }
        }
        holes
    }

    /// Folds a delta in.
    ///
    /// # Errors
    /// `Invalid` when it breaks a rule of the format; nothing is changed.
    pub fn integrate(&mut self, delta: Delta) -> Result<Folded, ApplyError> {
        self.integrate_at(delta, None)
    }

    /// Folds in one entry of the log whose document and generation are this fold's. What is undecodable is passed over: the
    /// caller has put it aside.
    ///
    /// # Errors
    /// The delta in the record cannot be decoded or breaks a rule.
    pub fn integrate_entry(&mut self, entry: &LogEntry) -> Result<Folded, ApplyError> {
        let EntryContent::Record(record) = &entry.content else {
            return Ok(Folded::Known);
        };
        let delta = Delta::decode(&record.delta)?;
        self.integrate_at(delta, Some(entry.position))
    }

    /// Notes that every record of the document below `position` was given to this fold.
    pub fn advance_to(&mut self, position: Position) {
        self.read_to = Some(position);
    }

    fn integrate_at(&mut self, delta: Delta, position: Option<Position>) -> Result<Folded, ApplyError> {
        match self.document.apply(&delta) {
            Ok(applied) if applied.outcome == Outcome::Known => Ok(Folded::Known),
            Ok(_) => {
                self.release(delta.site);
                Ok(Folded::Applied)
            }
            Err(ApplyError::Gap { .. }) => {
                delta.validate()?;
                Ok(self.hold(delta, position))
            }
            Err(error) => Err(error),
        }
    }

    fn hold(&mut self, delta: Delta, position: Option<Position>) -> Folded {
        let bytes = delta.encode().len();
        let key = (delta.site, delta.first);
        let longer = self.held.get(&key).is_none_or(|held| held.delta.last() < delta.last());
        if !longer {
            return Folded::Held;
        }
        let freed = self.held.get(&key).map_or(0, |held| held.bytes);
        if self.held_bytes - freed + bytes > HELD_BYTES_MAX {
            let lower = |dropped: Position| position.is_none_or(|position| dropped.offset <= position.offset);
            if !self.dropped_at.is_some_and(lower) {
                self.dropped_at = position;
            }
            return Folded::Dropped;
        }
        let position = match self.held.get(&key).and_then(|held| held.position) {
            Some(earlier) => Some(earlier),
            None => position,
        };
        self.held.insert(key, Held { delta, bytes, position });
        self.held_bytes += bytes;
        self.held_bytes -= freed;
        Folded::Held
    }

    /// Applies what waited for this site's hole to fill.
    fn release(&mut self, site: SiteId) {
        while let Some((&key, _)) = self.held.range((site, 0)..=(site, self.vector().get(site) + 1)).next() {
            let Some(held) = self.held.remove(&key) else {
                break;
            };
            self.held_bytes -= held.bytes;
            // It was validated when it was held, and its hole is filled.
            if let Err(error) = self.document.apply(&held.delta) {
                tracing::error!(%site, %error, "a held delta was refused");
            }
        }
    }

    /// The document as a snapshot at its vector.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { vector: self.vector().clone(), position: self.position(), bytes: self.document.snapshot() }
    }

    /// Takes over everything of another fold's document.
    ///
    /// # Errors
    /// As the engine's `apply_state`.
    pub fn merge(&mut self, other: &Document) -> Result<(), ApplyError> {
        self.document.apply_state(&other.state_diff(self.document.vector()))?;
        let sites: Vec<SiteId> = self.held.keys().map(|&(site, _)| site).collect();
        for site in sites {
            self.release(site);
        }
        Ok(())
    }
}
