//! The relays' processes: how they start, end, drain and are put back from a backup. What a region keeps outlives them.

use std::collections::BTreeMap;

use selvedge_protocol::DocumentId;

use super::bus::Bus;
use super::dice::Dice;
use super::fault::Fault;
use super::log::Remains;
use super::plant::Plant;
use super::region::Region;
use super::rooms::{Host, Question};
use super::schedule::{MS, Micros, SECOND};
use super::sessions::Sessions;
use super::shape::Shape;
use super::world::{Event, Stop, World};

/// The place of one relay: at most one process at a time.
pub(super) struct Relay {
    /// Number of its region.
    pub(super) region: usize,
    pub(super) sessions: Sessions,
    pub(super) dice: Dice,
    /// What it hears of the region's other relays.
    pub(super) bus: Bus,
    /// Number of the process, while there is one. No two processes of a run have the same.
    process: Option<u64>,
    pub(super) rooms: BTreeMap<DocumentId, Host>,
    /// Questions of rooms that were not answered yet.
    pub(super) jobs: BTreeMap<u64, (DocumentId, Question)>,
    pub(super) next_job: u64,
}

impl Relay {
    /// The relay of number `index`, of a region.
    pub(super) fn new(index: usize, region: usize, dice: Dice) -> Self {
        Self {
            region,
            sessions: Sessions::new(index),
            dice,
            bus: Bus::default(),
            process: None,
            rooms: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
        }
    }

    /// The number of the process that answers now.
    pub(super) fn process(&self) -> Option<u64> {
        self.process
    }
}

impl World {
    /// The relay whose present process has this number.
    pub(super) fn relay_of(&self, process: u64) -> Option<usize> {
        self.relays.iter().position(|relay| relay.process == Some(process))
    }

    /// A relay's process starts.
    pub(super) fn relay_starts(&mut self, relay: usize, restored: bool) -> Result<(), Stop> {
        if self.relays[relay].process.is_some() {
            return Ok(());
        }
        self.processes += 1;
        self.relays[relay].process = Some(self.processes);
        self.restored |= restored;
        let (process, region) = (self.processes, self.relays[relay].region);
        self.note(format_args!("relay {relay}: process {process} starts, log {}", self.regions[region].log.id()));
        if self.options.shape == Shape::Alone {
            self.persist_starts(region);
        }
        Ok(())
    }

    /// A process is gone, and with it all that is not in the region.
    pub(super) fn crash_relay(&mut self, relay: usize) {
        let Some(process) = self.relays[relay].process.take() else { return };
        let region = self.relays[relay].region;
        self.hit(Fault::RelayCrash);
        if self.options.shape == Shape::Alone {
            self.crash_embedded_log(relay, region);
        } else {
            self.note(format_args!("fault: relay {relay} is gone"));
            self.abandon_appends(process, region);
        }
        self.appends.retain(|_, asked| !asked.is_of(process));
        let place = &mut self.relays[relay];
        place.rooms.clear();
        place.jobs.clear();
        self.hang_up_all(relay);
        let pause = self.fate.between(50, 4_000) * MS;
        self.schedule.after(pause, Event::RelayStart { relay, restored: false });
    }

    /// The log that lived in the process ends with it, in the middle of what it did.
    fn crash_embedded_log(&mut self, relay: usize, region: usize) {
        let remains = self.regions[region].log.crash(&mut self.relays[relay].dice);
        self.regions[region].begin_life();
        self.note(format_args!("fault: the relay is gone; of a commit: {remains:?}"));
        match remains {
            Remains::Idle => {}
            Remains::Lost => self.hit(Fault::LogLostWrite),
            Remains::Torn => self.hit(Fault::LogTornWrite),
            Remains::Unconfirmed => self.hit(Fault::LogUnconfirmed),
        }
        self.count_logged(region);
        if self.options.plant == Some(Plant::LyingSync) {
            let _ = self.regions[region].log.forget_last();
        }
        self.regions[region].weather.crash_in_sync = false;
    }

    /// What a process that is gone had asked the region's log for happens later, or does not.
    fn abandon_appends(&mut self, process: u64, region: usize) {
        let asked: Vec<u64> =
            self.appends.iter().filter(|(_, asked)| asked.is_of(process)).map(|(&id, _)| id).collect();
        let mut kept = 0;
        for id in asked {
            if !self.fate.percent(40) || !self.regions[region].log.withdraw(id) {
                kept += 1;
            }
        }
        if kept > 0 {
            self.hit(Fault::LogUnconfirmed);
        }
    }

    /// The region's data is put back from a backup; the first time the backup is taken.
    pub(super) fn restore_relay(&mut self) {
        let Some((backup, control)) = self.backup.take() else {
            self.backup = Some((self.regions[0].backup(), self.control.clone()));
            return;
        };
        if backup.log.head() == self.regions[0].log.head() {
            return;
        }
        self.crash_relay(0);
        self.hit(Fault::RelayRestored);
        self.logs += 1;
        let life = self.regions[0].life();
        self.regions[0] = backup.restored(self.logs, life);
        self.control = control.restored();
        self.note(format_args!("fault: the region is put back to offset {}", self.regions[0].log.head()));
        for document in self.documents.clone() {
            self.books.log_restored(&document, self.regions[0].logged(&document));
            self.history.entry(document).or_default().retelling = true;
        }
        self.restored = true;
    }

    /// A region is lost with everything in it, and built anew as another log. Not while it alone holds what both had acked, in
    /// its state or in its operations: a region that was just built anew has the other's snapshots before it has what they hold
    /// one by one, and losing the other as well loses two regions at once.
    pub(super) fn wipe_region(&mut self, region: usize) {
        let other = 1 - region;
        let (lost, left) = (&self.regions[region], &self.regions[other]);
        let whole = self.documents.iter().all(|document| {
            self.books.replicated(document).is_none_or(|owed| left.logged(document).dominates(owed))
                && left.operations(document).dominates(lost.rebuilt(document).vector())
        });
        if !whole {
            return;
        }
        self.hit(Fault::RegionWiped);
        self.note(format_args!("fault: region {region} is lost, and with it log {}", self.regions[region].log.id()));
        for relay in 0..self.relays.len() {
            if self.relays[relay].region == region {
                self.crash_relay(relay);
            }
        }
        self.logs += 1;
        let (life, dice) = (self.regions[region].life(), self.dice.fork("region", self.processes));
        self.regions[region] = Region::anew(self.logs, dice, life);
        let documents = self.documents.iter();
        let kept = documents.map(|document| (document.clone(), self.regions[other].logged(document).clone())).collect();
        self.books.region_lost(region, kept);
        self.crash_synchronizer(region);
        self.crash_observer(region);
        for route in 0..self.routes.len() {
            let pause = self.fate.between(100, 4_000) * MS;
            self.ship_starts(route, pause);
        }
    }

    /// A process is told to end, sends everybody away, and starts again.
    pub(super) fn drain_relay(&mut self, relay: usize) -> Result<(), Stop> {
        let Some(process) = self.relays[relay].process else { return Ok(()) };
        self.hit(Fault::RelayDrain);
        self.note(format_args!("fault: relay {relay} drains"));
        self.drain_sessions(relay)?;
        self.schedule.after(SECOND, Event::RelayEnd { process });
        Ok(())
    }

    /// A drained process ends.
    pub(super) fn relay_ends(&mut self, process: u64) {
        if let Some(relay) = self.relay_of(process) {
            self.crash_relay(relay);
        }
    }

    /// Faults of regions and relays end, and every process runs.
    pub(super) fn relays_settle(&mut self) -> Result<(), Stop> {
        let now: Micros = self.schedule.now();
        for region in &mut self.regions {
            region.weather.clear(now);
        }
        for route in &mut self.routes {
            (route.cut_until, route.deaf_until) = (now, now);
        }
        self.synchronizers_settle();
        for observer in &mut self.observers {
            (observer.cut_until, observer.stopped_until) = (now, now);
        }
        for relay in 0..self.relays.len() {
            self.relays[relay].bus.clear(now);
            self.relay_starts(relay, false)?;
        }
        Ok(())
    }
}
