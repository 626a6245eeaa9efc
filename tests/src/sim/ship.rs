//! Ship between two regions: the machine that ships, in a shell of the simulator, one for each direction.
//!
//! The link between the regions has a delay, is cut at times, and loses answers: what was asked of the peer's log may be done
//! although nobody hears of it. The process may end between any two effects; another one begins from what was committed.

use selvedge_protocol::{DocumentId, LogId, Position};
use selvedge_region::{Assignment, LogEntry, LogPage, LogRecord};
use selvedge_replicator::ship::{CopyId, Effect, Event as ShipEvent, Ship, ShipConfig};

use super::commits::Asked;
use super::fault::Fault;
use super::plant::Plant;
use super::schedule::{MS, Micros, SECOND};
use super::world::{Event, Stop, World};

/// One way between the regions.
const LINK_MS: Micros = 40;
/// How long a call over a link that is cut takes to fail.
const TIMEOUT: Micros = SECOND;
/// Records of one page: few, so that there are many copies.
const PAGE_RECORDS: usize = 8;

/// The ship of one direction.
pub(super) struct Route {
    source: usize,
    target: usize,
    machine: Option<Ship>,
    /// One up with every process: what was under way in the one before comes to nothing.
    life: u64,
    /// The next offset of the source to be read.
    read_from: u64,
    /// When the latest copy arrives: what is asked later arrives later.
    last_arrival: Micros,
    /// A call of the peer answers nothing before this.
    pub(super) cut_until: Micros,
    /// The answers of the peer are lost before this.
    pub(super) deaf_until: Micros,
}

/// What happens to a ship next.
#[derive(Debug)]
pub(super) enum Step {
    Begin,
    Read,
    Arrive { copy: CopyId, records: Vec<LogRecord> },
    Tell(ShipEvent),
    Feed,
}

impl Route {
    /// The way from one region to another.
    pub(super) fn new(source: usize, target: usize) -> Self {
        Self { source, target, machine: None, life: 0, read_from: 0, last_arrival: 0, cut_until: 0, deaf_until: 0 }
    }
}

impl World {
    /// A ship's process begins, at once or after a pause.
    pub(super) fn ship_starts(&mut self, route: usize, pause: Micros) {
        self.routes[route].machine = None;
        self.routes[route].life += 1;
        self.ship_later(route, Step::Begin, pause);
    }

    /// A ship's process is gone.
    pub(super) fn crash_ship(&mut self, route: usize) {
        self.hit(Fault::ShipCrash);
        self.note(format_args!("fault: ship {route} is gone"));
        let pause = self.fate.between(50, 3_000) * MS;
        self.ship_starts(route, pause);
    }

    fn ship_later(&mut self, route: usize, step: Step, delay: Micros) {
        let life = self.routes[route].life;
        self.schedule.after(delay, Event::Ship { route, life, step: Box::new(step) });
    }

    /// Something happens to a ship.
    pub(super) fn ship_steps(&mut self, route: usize, life: u64, step: Step) -> Result<(), Stop> {
        if self.routes[route].life != life {
            return Ok(());
        }
        match step {
            Step::Begin => self.ship_begins(route),
            Step::Read => self.ship_reads(route),
            Step::Arrive { copy, records } => {
                self.copy_arrives(route, copy, records);
                Ok(())
            }
            Step::Tell(event) => self.tell_ship(route, event),
            Step::Feed => self.feed(route),
        }
    }

    fn pair(&self, route: usize) -> (LogId, LogId) {
        let Route { source, target, .. } = self.routes[route];
        (LogId(self.regions[source].log.id()), LogId(self.regions[target].log.id()))
    }

    fn ship_begins(&mut self, route: usize) -> Result<(), Stop> {
        let (source, target) = self.pair(route);
        let region = &self.regions[self.routes[route].source];
        let committed = match self.options.plant {
            Some(Plant::OffsetsSurvivePeer) => {
                region.progress.iter().filter(|((from, _), _)| *from == source.0).map(|(_, offset)| *offset).max()
            }
            _ => region.progress.get(&(source.0, target.0)).copied(),
        };
        let start = region.log.start();
        let from = committed.unwrap_or(0).max(start);
        let committed = match self.options.plant {
            // What the log no longer holds was never there.
            Some(Plant::PeerNotFed) => Some(from),
            // Or was copied: else ship notices what is missing, and feeds it.
            Some(Plant::TrimmedEarly) => committed.map(|_| from),
            _ => committed,
        };
        self.note(format_args!("ship {route}: from offset {from} of log {} to log {}", source.0, target.0));
        let here = &mut self.routes[route];
        here.machine = Some(Ship::new(ShipConfig::default(), source, target));
        here.read_from = from;
        here.last_arrival = 0;
        self.ship_later(route, Step::Read, MS);
        self.tell_ship(route, ShipEvent::Assigned(vec![Assignment { partition: 0, from, committed }]))
    }

    /// The reader of the source's log hands over what came, and time passes.
    fn ship_reads(&mut self, route: usize) -> Result<(), Stop> {
        self.ship_later(route, Step::Read, 20 * MS);
        let region = &self.regions[self.routes[route].source];
        let from = self.routes[route].read_from;
        let entries: Vec<LogEntry> = region.all_entries(from).take(PAGE_RECORDS).collect();
        let Some(last) = entries.last() else { return self.tell_ship(route, ShipEvent::Tick) };
        let next = Position { offset: last.position.offset + 1, ..last.position };
        let at_end = next.offset == region.log.head();
        self.routes[route].read_from = next.offset;
        self.tell_ship(route, ShipEvent::Page(LogPage { entries, next, at_end }))
    }

    fn tell_ship(&mut self, route: usize, event: ShipEvent) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(machine) = self.routes[route].machine.as_mut() else { return Ok(()) };
        for effect in machine.on(event, instant) {
            self.serve_ship(route, effect);
        }
        Ok(())
    }

    fn serve_ship(&mut self, route: usize, effect: Effect) {
        let source = self.routes[route].source;
        match effect {
            Effect::Copy { copy, records, .. } => self.copy_leaves(route, copy, records),
            Effect::Reseed { .. } => self.ship_later(route, Step::Feed, 2 * LINK_MS * MS),
            Effect::Announce { watermark, documents } => self.announce(source, watermark, &documents),
            Effect::Mark { offset, .. } => self.regions[source].marked = Some(offset),
            Effect::Commit { partition, offset } => {
                let (from, to) = self.pair(route);
                // A process may end between a commit and its answer.
                self.regions[source].progress.insert((from.0, to.0), offset);
                let done = ShipEvent::Committed { partition, offset, done: true };
                let delay = self.dice.spread(5 * MS);
                self.ship_later(route, Step::Tell(done), delay);
            }
            Effect::Rewind { partition, offset } => {
                self.routes[route].read_from = offset;
                self.ship_later(route, Step::Tell(ShipEvent::Rewound { partition, done: true }), 20 * MS);
            }
        }
    }

    /// A copy leaves for the other region; over a link that is cut it fails in the end.
    fn copy_leaves(&mut self, route: usize, copy: CopyId, mut records: Vec<LogRecord>) {
        let now = self.schedule.now();
        for record in &mut records {
            self.origin_by_plant(record);
        }
        *self.figures.entry("records copied").or_default() += records.len() as u64;
        if self.routes[route].cut_until > now {
            self.hit(Fault::RegionLinkCut);
            return self.ship_later(route, Step::Tell(ShipEvent::Copied { copy, done: false }), TIMEOUT);
        }
        let delay = LINK_MS * MS + self.dice.spread(2 * MS);
        let arrival = (now + delay).max(self.routes[route].last_arrival);
        self.routes[route].last_arrival = arrival;
        let life = self.routes[route].life;
        self.schedule.at(arrival, Event::Ship { route, life, step: Box::new(Step::Arrive { copy, records }) });
    }

    /// A copy arrives at the other region's log, if that is still the log it was for.
    fn copy_arrives(&mut self, route: usize, copy: CopyId, records: Vec<LogRecord>) {
        let target = self.routes[route].target;
        let id = self.next_append;
        self.next_append += 1;
        let life = self.routes[route].life;
        self.appends.insert(id, Asked::Ship { route, life, copy });
        if self.regions[target].log.append(id, records) {
            self.begin_sync(target);
        }
    }

    /// The other region's log answers a copy; the way back may lose that.
    pub(super) fn copy_answered(&mut self, route: usize, life: u64, copy: CopyId, done: bool) {
        if self.routes[route].life != life {
            return;
        }
        let now = self.schedule.now();
        let lost = self.routes[route].deaf_until > now && self.dice.percent(60);
        if lost {
            self.hit(Fault::CopyUnknown);
        }
        let event = ShipEvent::Copied { copy, done: done && !lost };
        let delay = if lost { TIMEOUT } else { LINK_MS * MS };
        self.ship_later(route, Step::Tell(event), delay);
    }

    /// The peer is given what the source's log does not hold: the documents' snapshots, which cover all that was trimmed, or
    /// was given to the source itself when it was built anew.
    fn feed(&mut self, route: usize) -> Result<(), Stop> {
        let Route { source, target, .. } = self.routes[route];
        let cut = self.routes[route].cut_until > self.schedule.now();
        if cut {
            self.hit(Fault::RegionLinkCut);
        } else {
            for document in self.documents.clone() {
                if let Some(snapshot) = self.regions[source].snapshot(&document).cloned() {
                    self.hit(Fault::RegionFed);
                    self.note(format_args!("ship {route}: feeds {document}"));
                    self.regions[target].merge_snapshot(&document, &snapshot);
                    let given = self.regions[source].clone();
                    self.regions[target].merge_ops(&document, &given);
                    self.books.logged(&document, self.regions[target].logged(&document));
                }
            }
        }
        self.tell_ship(route, ShipEvent::Reseeded { partition: 0, done: !cut })
    }

    /// The source's rooms are told how far the other region is; the bus may lose it.
    fn announce(&mut self, region: usize, watermark: Position, documents: &[DocumentId]) {
        for document in documents {
            let event = selvedge_relay::room::RoomEvent::Replicated { watermark };
            for relay in (0..self.relays.len()).filter(|relay| self.relays[*relay].region == region).collect::<Vec<_>>()
            {
                self.carry(relay, document, &event);
            }
        }
    }

    /// Planted fault: a copied record keeps the origin it came with.
    fn origin_by_plant(&self, record: &mut LogRecord) {
        if self.options.plant == Some(Plant::FirstOriginKept)
            && let Some(first) = record.first_origin
        {
            record.origin = Some(first);
        }
    }
}
