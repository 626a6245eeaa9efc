//! One run: everything that exists, and the loop that moves it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use selvedge_engine::Delta;
use selvedge_protocol::client::{StoreError, StoreTicket};
use selvedge_protocol::tag::TagKeys;
use selvedge_protocol::{Channel, DocumentId};
use selvedge_region::Snapshot;
use selvedge_relay::room::RoomEvent;

use super::clients::{Device, Load};
use super::commits::Asked;
use super::control::Control;
use super::dice::Dice;
use super::failover::{self, Observer, Witness};
use super::fault::{Fault, FaultCounts};
use super::history::History;
use super::log::{Answer, AppendId};
use super::network::{ConnectionId, End, Link, Network, Parcel};
use super::outcome::{Invariant, Outcome, Violation};
use super::panics;
use super::plant::Plant;
use super::region::Region;
use super::relay::Relay;
use super::schedule::{MS, Micros, SECOND, Schedule};
use super::shape::Shape;
use super::ship::{Route, Step};
use super::synchronizer::{self, Synchronizer};
use super::trace::Trace;
use super::trouble::Troubles;

/// How to run a seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seconds of virtual time under faults.
    pub seconds: u64,
    /// A rule broken on purpose.
    pub plant: Option<Plant>,
    /// Print the whole story.
    pub story: bool,
    /// No faults but those that a test causes by hand.
    pub calm: bool,
    /// How much of the system there is.
    pub shape: Shape,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 60, plant: None, story: false, calm: false, shape: Shape::Alone }
    }
}

/// Seconds of virtual time after the last fault, in which everything has to come to rest.
const QUIET_SECONDS: u64 = 60;

/// Lines of the story kept for the case that something does not hold.
const TAIL_LINES: usize = 60;

/// The key of broadcast tags of every run.
const TAG_KEYS: &str = "1 5e1fed9e5e1fed9e5e1fed9e5e1fed9e5e1fed9e5e1fed9e5e1fed9e5e1fed9e";

/// Of a hundred seeds, in how many people write brackets within brackets.
const NESTING_PERCENT: u64 = 10;

/// Faults that every run must really suffer.
const FAULTS_LEAST: u64 = 3;

/// Ends a run: an invariant did not hold.
#[derive(Debug)]
pub(super) struct Stop(pub(super) Violation);

/// Everything that can happen next.
#[derive(Debug)]
pub(super) enum Event {
    Dialled { load: usize, attempt: u64, relay: usize },
    DialFailed { load: usize, attempt: u64 },
    Arrive { connection: ConnectionId, to: End },
    Wake { load: usize },
    StoreCommit { load: usize, channel: Channel, ticket: StoreTicket },
    StoreReply { load: usize, channel: Channel, ticket: StoreTicket, result: Result<(), StoreError> },
    TabDelta { load: usize, document: DocumentId, bytes: Vec<u8> },
    Write { load: usize, index: usize },
    OpenTab { device: usize, tab: usize },
    GoOnline { device: usize },
    UsualLink { device: usize },
    CrashBeforeStore,
    RoomWake { process: u64, document: DocumentId },
    SessionWake { process: u64, connection: ConnectionId },
    RelayStart { relay: usize, restored: bool },
    RelayEnd { process: u64 },
    RelayJob { process: u64, job: u64 },
    Heard { process: u64, document: DocumentId, event: Box<RoomEvent> },
    LogSync { region: usize, life: u64 },
    LogAnswers { region: usize, answers: Vec<Answer> },
    Fold { region: usize, life: u64, document: DocumentId },
    Put { region: usize, life: u64, document: DocumentId, snapshot: Box<Snapshot> },
    Persist { region: usize, life: u64, step: Box<synchronizer::Step> },
    Ship { route: usize, life: u64, step: Box<Step> },
    Watch { observer: usize, life: u64, step: Box<failover::Step> },
    Trim { region: usize },
    Trouble,
    Inspect,
}

/// A run.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) schedule: Schedule<Event>,
    pub(super) dice: Dice,
    /// Draws for the faults.
    pub(super) fate: Dice,
    pub(super) trace: Trace,
    pub(super) faults: FaultCounts,
    pub(super) figures: BTreeMap<&'static str, u64>,
    pub(super) network: Network,
    pub(super) documents: Vec<DocumentId>,
    pub(super) devices: Vec<Device>,
    pub(super) loads: Vec<Option<Load>>,
    pub(super) regions: Vec<Region>,
    pub(super) relays: Vec<Relay>,
    /// The conflict synchronizer of each region; an embedded one has a task of its own.
    pub(super) synchronizers: Vec<Synchronizer>,
    /// The ships between the regions, where there are two.
    pub(super) routes: Vec<Route>,
    /// Who watches the lease on the control plane, where there are two regions.
    pub(super) observers: Vec<Observer>,
    pub(super) witness: Witness,
    pub(super) control: Control,
    /// Processes of relays that ever were.
    pub(super) processes: u64,
    /// Logs that ever were: the number of the latest is its identity.
    pub(super) logs: u128,
    /// Appends under way, and who waits for them.
    pub(super) appends: BTreeMap<AppendId, Asked>,
    pub(super) next_append: AppendId,
    /// Region and control plane as a backup holds them.
    pub(super) backup: Option<(Region, Control)>,
    /// Keys of broadcast tags, the same everywhere.
    pub(super) tag_keys: Option<Arc<TagKeys>>,
    /// Who has the rebase token of a document in a region, and until when.
    pub(super) tokens: BTreeMap<(usize, DocumentId), (u64, Micros)>,
    /// Its people write brackets within brackets: identifiers become deep.
    pub(super) nesting: bool,
    /// A log was put back: relays take from writers what it lacks.
    pub(super) restored: bool,
    pub(super) troubles: Troubles,
    /// Everything ever written, by document: sites are a document's own.
    pub(super) history: BTreeMap<DocumentId, History>,
    pub(super) books: super::checks::Books,
    /// Faults and writing have ended.
    pub(super) quiet: bool,
    /// What befalls state diffs on their way.
    pub(super) chunks: Chunks,
}

/// What befalls the chunks of a state diff on their way to a client.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// They come in another order, and some twice.
    pub(super) shuffle: bool,
    /// Nothing comes after so many different ones.
    pub(super) stop_after: Option<usize>,
    /// How many different ones the last transfer had.
    pub(super) of: usize,
    /// Nothing came after so many.
    pub(super) stopped: bool,
    /// Chunks waiting for the rest of their transfer.
    pub(super) waiting: Vec<Vec<u8>>,
}

/// An observer of the lease in each region, and one in a third place.
fn observers(dice: &Dice) -> Vec<Observer> {
    let places = [Some(0), Some(1), None].into_iter().zip(1..);
    places.map(|(region, process)| Observer::new(region, process, dice.fork("observer", process))).collect()
}

/// Runs `seed` once.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let mut world = World::new(seed, options);
    let ended = panics::quietly(|| catch_unwind(AssertUnwindSafe(|| world.whole())));
    let violation = match ended {
        Ok(Ok(())) => None,
        Ok(Err(Stop(violation))) => Some(violation),
        Err(_) => Some(world.stop(Invariant::Sound, panics::last()).0),
    };
    world.outcome(seed, violation)
}

impl World {
    pub(super) fn new(seed: u64, options: &Options) -> Self {
        let dice = Dice::new(seed);
        let mut setup = dice.fork("setup", 0);
        let documents = (0..if setup.percent(25) { 2 } else { 1 })
            .map(|index| DocumentId::parse(&format!("default/text-{index}"), "default").expect("the name is one"))
            .collect();
        let relays = match options.shape {
            Shape::Alone => 1,
            Shape::Relays => setup.between(2, 3) as usize,
            Shape::Regions => setup.between(2, 4) as usize,
        };
        let regions = if options.shape == Shape::Regions { 2 } else { 1 };
        let mut devices: Vec<Device> = (0..setup.between(2, 4)).map(|index| device(index, &mut setup)).collect();
        for device in &mut devices {
            device.near = setup.index(relays);
        }
        Self {
            options: options.clone(),
            schedule: Schedule::default(),
            fate: dice.fork("fate", 0),
            trace: Trace::new(TAIL_LINES, options.story),
            faults: FaultCounts::default(),
            figures: BTreeMap::new(),
            network: Network::default(),
            documents,
            devices,
            loads: Vec::new(),
            troubles: Troubles::draw(options.shape, &mut dice.fork("troubles", 0)),
            regions: (0..regions)
                .map(|index| Region::new(1 + index as u128, dice.fork("region", index as u64)))
                .collect(),
            relays: (0..relays)
                .map(|index| Relay::new(index, index % regions, dice.fork("relay", index as u64)))
                .collect(),
            synchronizers: (0..regions).map(|_| Synchronizer::default()).collect(),
            routes: if regions > 1 { vec![Route::new(0, 1), Route::new(1, 0)] } else { Vec::new() },
            observers: if regions > 1 { observers(&dice) } else { Vec::new() },
            witness: Witness::default(),
            control: Control::default(),
            processes: 0,
            logs: regions as u128,
            appends: BTreeMap::new(),
            next_append: 0,
            backup: None,
            tag_keys: (options.shape != Shape::Alone).then(|| Arc::new(TagKeys::parse(TAG_KEYS).expect("it is a key"))),
            tokens: BTreeMap::new(),
            nesting: dice.fork("nesting", 0).percent(NESTING_PERCENT),
            restored: false,
            history: BTreeMap::new(),
            books: super::checks::Books::default(),
            quiet: false,
            chunks: Chunks::default(),
            dice,
        }
    }

    /// The whole run: trouble, quiet, and the reckoning.
    fn whole(&mut self) -> Result<(), Stop> {
        self.begin()?;
        let mut end = self.options.seconds * SECOND;
        self.advance(end)?;
        while !self.options.calm && self.faults.total() < FAULTS_LEAST {
            end += 10 * SECOND;
            self.advance(end)?;
        }
        self.settle()?;
        self.advance(end + QUIET_SECONDS * SECOND)?;
        self.reckon()
    }

    /// The relays are up, every device opens its tabs, and trouble is on its way.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        for relay in 0..self.relays.len() {
            self.relay_starts(relay, false)?;
        }
        if self.options.shape != Shape::Alone {
            self.synchronizers_begin();
        }
        for route in 0..self.routes.len() {
            self.ship_starts(route, 10 * MS);
            self.schedule.after(4 * SECOND, Event::Trim { region: route });
        }
        (0..self.observers.len()).for_each(|observer| self.observer_starts(observer, 10 * MS));
        for device in 0..self.devices.len() {
            for tab in 0..self.devices[device].tabs.len() {
                let delay = self.dice.spread(SECOND);
                self.schedule.after(delay, Event::OpenTab { device, tab });
            }
        }
        if !self.options.calm {
            self.schedule.after(2 * SECOND, Event::Trouble);
        }
        self.schedule.after(SECOND, Event::Inspect);
        Ok(())
    }

    /// Lets everything happen up to `end`.
    pub(super) fn advance(&mut self, end: Micros) -> Result<(), Stop> {
        while let Some(event) = self.schedule.next(end) {
            *self.figures.entry("events").or_default() += 1;
            self.dispatch(event)?;
        }
        Ok(())
    }

    fn dispatch(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Dialled { load, attempt, relay } => self.dialled(load, attempt, relay),
            Event::DialFailed { load, attempt } => self.dial_failed(load, attempt),
            Event::Arrive { connection, to } => self.arrive(connection, to),
            Event::Wake { load } => self.wake(load),
            Event::StoreCommit { load, channel, ticket } => self.store_commits(load, channel, ticket),
            Event::StoreReply { load, channel, ticket, result } => self.store_replies(load, channel, ticket, result),
            Event::TabDelta { load, document, bytes } => self.tab_hears(load, &document, &bytes),
            Event::Write { load, index } => self.write(load, index),
            Event::OpenTab { device, tab } => self.open_tab(device, tab),
            Event::GoOnline { device } => self.go_online(device),
            Event::UsualLink { device } => {
                self.devices[device].link = self.devices[device].usual_link;
                Ok(())
            }
            Event::CrashBeforeStore => {
                self.crash_if_unstored();
                Ok(())
            }
            Event::RoomWake { process, document } => self.room_wakes(process, &document),
            Event::SessionWake { process, connection } => self.session_wakes(process, connection),
            Event::RelayStart { relay, restored } => self.relay_starts(relay, restored),
            Event::RelayEnd { process } => {
                self.relay_ends(process);
                Ok(())
            }
            Event::RelayJob { process, job } => self.relay_job(process, job),
            Event::Heard { process, document, event } => self.hears(process, &document, *event),
            Event::LogSync { region, life } => self.log_syncs(region, life),
            Event::LogAnswers { region, answers } => self.log_answers(region, answers),
            Event::Fold { region, life, document } => {
                self.persist_folds(region, life, document);
                Ok(())
            }
            Event::Put { region, life, document, snapshot } => {
                self.persist_puts(region, life, document, *snapshot);
                Ok(())
            }
            Event::Persist { region, life, step } => self.persist_steps(region, life, *step),
            Event::Ship { route, life, step } => self.ship_steps(route, life, *step),
            Event::Watch { observer, life, step } => self.watch_steps(observer, life, *step),
            Event::Trim { region } => {
                self.trim_log(region);
                Ok(())
            }
            Event::Trouble => self.trouble(),
            Event::Inspect => {
                self.inspect()?;
                self.schedule.after(SECOND, Event::Inspect);
                Ok(())
            }
        }
    }

    /// Puts a parcel on its way.
    pub(super) fn send(&mut self, connection: ConnectionId, to: End, parcel: Parcel, link: Link) {
        let now = self.schedule.now();
        if let Some(arrival) = self.network.send(connection, to, parcel, link, &mut self.dice, now) {
            self.schedule.at(arrival, Event::Arrive { connection, to });
        }
    }

    fn arrive(&mut self, connection: ConnectionId, to: End) -> Result<(), Stop> {
        let now = self.schedule.now();
        let Some((parcel, overtaken)) = self.network.arrive(connection, to, now) else { return Ok(()) };
        if overtaken && !self.quiet {
            self.hit(Fault::Overtaken);
        }
        let Some(known) = self.network.connection(connection) else { return Ok(()) };
        let (load, attempt, relay) = (known.load, known.attempt, known.relay);
        match to {
            End::Client => {
                self.client_receives(load, attempt, parcel)?;
                // The socket has room again.
                match self.relay_of(relay) {
                    Some(relay) => self.flush_sessions(relay),
                    None => Ok(()),
                }
            }
            End::Relay => self.session_receives(relay, connection, parcel),
        }
    }

    /// A sealed delta was seen somewhere: it must say what it always said.
    pub(super) fn learn(&mut self, document: &DocumentId, bytes: &[u8], place: &str) -> Result<(), Stop> {
        let delta = Delta::decode(bytes).map_err(|error| {
            self.stop(Invariant::OneContent, format!("{place} holds bytes that are no delta: {error}"))
        })?;
        let history = self.history.entry(document.clone()).or_default();
        history.add(&delta, hash_of(bytes)).map_err(|two| {
            let detail = format!("{place} has {:?} as {}; it was {}", two.dot, two.contents[1], two.contents[0]);
            self.stop(Invariant::OneContent, detail)
        })
    }

    /// Ends the run.
    pub(super) fn stop(&self, invariant: Invariant, detail: String) -> Stop {
        Stop(Violation { invariant, detail, at_ms: self.schedule.now() / MS })
    }

    /// A line of the story.
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.schedule.now(), what);
    }

    /// A fault met something.
    pub(super) fn hit(&mut self, fault: Fault) {
        self.faults.hit(fault);
    }

    fn outcome(mut self, seed: u64, violation: Option<Violation>) -> Outcome {
        let events = self.figures.remove("events").unwrap_or_default();
        let mut arguments = String::new();
        if self.options.seconds != Options::default().seconds {
            arguments += &format!(" --seconds {}", self.options.seconds);
        }
        if self.options.shape != Shape::Alone {
            arguments += &format!(" --shape {}", self.options.shape.name());
        }
        if let Some(plant) = self.options.plant {
            arguments += &format!(" --plant {}", plant.name());
        }
        Outcome {
            seed,
            hash: self.trace.hash(),
            simulated_ms: self.schedule.now() / MS,
            events,
            tail: if violation.is_some() { self.trace.tail() } else { Vec::new() },
            figures: self.figures,
            faults: self.faults,
            violation,
            arguments,
        }
    }
}

/// A hash of durable bytes, to tell what was seen before.
fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// A device of some kind.
fn device(index: u64, setup: &mut Dice) -> Device {
    let link = Link::usual(setup);
    let tabs = if setup.percent(30) { 2 } else { 1 };
    let reader = index > 1 && setup.percent(20);
    Device { tabs: vec![None; tabs], reader, ..Device::new(format!("anon:{index:032x}"), link) }
}
