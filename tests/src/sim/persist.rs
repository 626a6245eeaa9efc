//! The persisting task: it folds the log into a snapshot, and stores it a moment later, now and then.

use selvedge_protocol::DocumentId;
use selvedge_region::Snapshot;

use super::fault::Fault;
use super::plant::Plant;
use super::schedule::{MS, SECOND};
use super::world::{Event, World};

impl World {
    /// The task starts, for every document.
    pub(super) fn persist_starts(&mut self, region: usize) {
        let life = self.regions[region].life();
        for document in self.documents.clone() {
            let pause = self.regions[region].dice.spread(4 * SECOND);
            self.schedule.after(pause, Event::Fold { region, life, document });
        }
    }

    /// The task folds a document.
    pub(super) fn persist_folds(&mut self, region: usize, life: u64, document: DocumentId) {
        if self.regions[region].life() != life {
            return;
        }
        let mut snapshot = self.regions[region].fold(&document).snapshot();
        if self.options.plant == Some(Plant::TornSnapshot)
            && let Some(kept) = self.regions[region].snapshot(&document)
        {
            snapshot.bytes.clone_from(&kept.bytes);
        }
        self.schedule.after(200 * MS, Event::Put { region, life, document, snapshot: Box::new(snapshot) });
    }

    /// And stores what it folded.
    pub(super) fn persist_puts(&mut self, region: usize, life: u64, document: DocumentId, snapshot: Snapshot) {
        if self.regions[region].life() != life {
            return;
        }
        if self.regions[region].weather.snapshots_lost_until > self.schedule.now() {
            self.hit(Fault::SnapshotLost);
        } else {
            self.regions[region].keep_snapshot(&document, snapshot);
        }
        let pause = self.regions[region].dice.spread(8 * SECOND);
        self.schedule.after(pause, Event::Fold { region, life, document });
    }
}
