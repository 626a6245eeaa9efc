//! One run: everything that exists, and the loop that moves it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use selvedge_engine::Delta;
use selvedge_protocol::client::{StoreError, StoreTicket};
use selvedge_protocol::{Channel, DocumentId};

use super::clients::{Device, Load};
use super::dice::Dice;
use super::fault::{Fault, FaultCounts};
use super::history::History;
use super::log::Answer;
use super::network::{ConnectionId, End, Link, Network, Parcel};
use super::outcome::{Invariant, Outcome, Violation};
use super::panics;
use super::plant::Plant;
use super::relay::Relay;
use super::schedule::{MS, Micros, SECOND, Schedule};
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
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 60, plant: None, story: false, calm: false }
    }
}

/// Seconds of virtual time after the last fault, in which everything has to come to rest.
const QUIET_SECONDS: u64 = 60;

/// Lines of the story kept for the case that something does not hold.
const TAIL_LINES: usize = 60;

/// Faults that every run must really suffer.
const FAULTS_LEAST: u64 = 3;

/// Ends a run: an invariant did not hold.
#[derive(Debug)]
pub(super) struct Stop(pub(super) Violation);

/// Everything that can happen next.
#[derive(Debug)]
pub(super) enum Event {
    Dialled { load: usize, attempt: u64 },
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
    RelayStart { restored: bool },
    RelayEnd { process: u64 },
    RelayJob { job: u64 },
    LogSync { process: u64 },
    LogAnswers { process: u64, answers: Vec<Answer> },
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
    pub(super) relay: Relay,
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
    /// Nothing comes after so many.
    pub(super) stop_after: Option<usize>,
    /// Nothing came after so many.
    pub(super) stopped: bool,
    /// Chunks waiting for the rest of their transfer.
    pub(super) waiting: Vec<Vec<u8>>,
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
        let devices = (0..setup.between(2, 4)).map(|index| device(index, &mut setup)).collect();
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
            troubles: Troubles::draw(&mut dice.fork("troubles", 0)),
            relay: Relay::new(dice.fork("relay", 0)),
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

    /// The relay is up, every device opens its tabs, and trouble is on its way.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        self.relay_starts(false)?;
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
            Event::Dialled { load, attempt } => self.dialled(load, attempt),
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
            Event::RelayStart { restored } => self.relay_starts(restored),
            Event::RelayEnd { process } => {
                self.relay_ends(process);
                Ok(())
            }
            Event::RelayJob { job } => self.relay_job(job),
            Event::LogSync { process } => self.log_syncs(process),
            Event::LogAnswers { process, answers } => self.log_answers(process, answers),
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
                self.flush_sessions()
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
