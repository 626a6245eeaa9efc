//! The persisting task of an embedded region: it folds the log into a snapshot, and stores it a moment later, now and then.
//! And what trims a region's log where there are two.

use selvedge_protocol::DocumentId;
use selvedge_region::{LogEntry, Snapshot};
use selvedge_replicator::cleanup::trim_below;

use super::fault::Fault;
use super::plant::Plant;
use super::region::Region;
use super::schedule::{MS, SECOND};
use super::world::{Event, World};

impl World {
    /// The task of an embedded region starts, for every document.
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

    /// The cleanup job trims a region's log below what every region's snapshots cover and what ship has copied.
    pub(super) fn trim_log(&mut self, region: usize) {
        self.schedule.after(4 * SECOND, Event::Trim { region });
        let below = self.trim_horizon(region, self.options.plant == Some(Plant::TrimmedEarly));
        if below > self.regions[region].log.start() {
            self.hit(Fault::LogTrimmed);
            self.note(format_args!("region {region}: the log is trimmed below {below}"));
            self.regions[region].log.trim(below);
        }
    }

    /// The first record that has to stay; `early`: as if neither the other region nor ship mattered (a planted fault).
    fn trim_horizon(&self, region: usize, early: bool) -> u64 {
        let (here, other) = (&self.regions[region], &self.regions[1 - region]);
        let shipped = here.progress.get(&(here.log.id(), other.log.id())).copied().unwrap_or(0);
        let persisted = here.persisted.unwrap_or(0);
        let limit = if early { persisted } else { persisted.min(shipped) };
        let regions: &[&Region] = if early { &[here] } else { &[here, other] };
        let entries: Vec<LogEntry> = here.all_entries(here.log.start()).collect();
        trim_below(&entries, here.log.start(), limit, |key, header| {
            regions.iter().all(|region| {
                let snapshot = region.snapshot(&key.document);
                snapshot.is_some_and(|snapshot| header.last <= snapshot.vector.get(header.site))
            })
        })
    }
}
