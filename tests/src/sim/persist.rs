//! The persisting task: it folds the log into a snapshot, and stores it a moment later, now and then.

use selvedge_engine::Delta;
use selvedge_protocol::DocumentId;
use selvedge_region::{LogRecord, Snapshot};

use super::fault::Fault;
use super::log::Logged;
use super::plant::Plant;
use super::region::Region;
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
        let end = if early { here.log.head() } else { shipped.min(here.log.head()) };
        let regions: &[&Region] = if early { &[here] } else { &[here, other] };
        let covered = |entry: &Logged<LogRecord>| {
            let Ok(delta) = Delta::decode(&entry.record.delta) else { return false };
            regions.iter().all(|region| {
                let snapshot = region.snapshot(&entry.record.document);
                snapshot.is_some_and(|snapshot| delta.last() <= snapshot.vector.get(delta.site))
            })
        };
        let kept = here.log.durable().iter().find(|entry| !covered(entry)).map_or(end, |entry| entry.offset);
        kept.min(end)
    }
}
