//! One client that types: marks mostly, sometimes taking one of its own back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selvedge_client::{AckLevel, Doc, Handle};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::Recorder;
use crate::history::{Event, Level, Mark, Ranges, marks, ranges};

/// How often its screen is read.
const SCREEN: Duration = Duration::from_secs(1);
/// Of a hundred edits so many take a mark back.
const ERASED_PERCENT: u32 = 10;
/// Of a hundred marks so many are typed somewhere else than after the client's last one.
const MOVED_PERCENT: u32 = 10;

/// A client with what it has typed.
pub(super) struct Typist {
    client: u32,
    handle: Handle,
    doc: Arc<Doc>,
    recorder: Recorder,
    random: ChaCha8Rng,
    next: u64,
    living: BTreeSet<u64>,
    told: Told,
}

/// What it was told last.
#[derive(Default)]
struct Told {
    region: u64,
    replicated: u64,
    relay: Option<String>,
}

impl Typist {
    pub(super) fn new(client: u32, seed: u64, handle: Handle, doc: Arc<Doc>, recorder: Recorder) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed ^ u64::from(client));
        Self { client, handle, doc, recorder, random, next: 0, living: BTreeSet::new(), told: Told::default() }
    }

    /// Types a mark every `pause`, a little unsteadily, and notes what happens, until told to stop typing; goes on noting until
    /// told to stop.
    pub(super) async fn run(mut self, pause: Duration, look: Duration, mut stage: watch::Receiver<Stage>) {
        let mut look = tokio::time::interval(look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = Instant::now() + pause.mul_f64(self.random.random::<f64>());
        // Not all of them at one moment.
        let mut screen_due = Instant::now() + SCREEN.mul_f64(self.random.random::<f64>());
        loop {
            tokio::select! {
                _ = look.tick() => {}
                _ = stage.wait_for(|stage| *stage == Stage::Stopped) => break,
            }
            let stage = *stage.borrow();
            self.note_told();
            if stage == Stage::Typing && Instant::now() >= due {
                self.edit();
                due += pause.mul_f64(0.5 + self.random.random::<f64>());
                // Whoever was held up does not type all that was missed at once.
                due = due.max(Instant::now());
            }
            if Instant::now() >= screen_due {
                self.look();
                screen_due += SCREEN;
            }
        }
        self.note_told();
        self.look();
    }

    /// Types or erases one mark.
    fn edit(&mut self) {
        let erased = (self.living.len() > 1 && self.random.random_range(0..100) < ERASED_PERCENT)
            .then(|| self.random.random_range(0..self.living.len()))
            .and_then(|index| self.living.iter().nth(index).copied());
        match erased {
            Some(number) => self.erase(number),
            None => self.type_mark(),
        }
    }

    fn type_mark(&mut self) {
        let mark = Mark { client: self.client, number: self.next };
        let moved = self.random.random_range(0..100) < MOVED_PERCENT;
        let last = self.living.last().filter(|_| !moved).map(|&number| Mark { client: self.client, number });
        let share = self.random.random::<f64>();
        let place = |text: &str| match last {
            Some(last) => after(text, last).or(Some(text.len())),
            None => Some(boundary(text, share)),
        };
        if let Some(edit) = self.replace(place, 0, &mark.to_string()) {
            self.next += 1;
            self.living.insert(mark.number);
            let (client, number) = (self.client, mark.number);
            self.recorder.note(|at| Event::Typed { at, client, number, edit });
        }
    }

    fn erase(&mut self, number: u64) {
        let mark = Mark { client: self.client, number }.to_string();
        // Where it is not on the screen, the next look tells.
        if let Some(edit) = self.replace(|text| text.find(&mark), mark.len(), "") {
            self.living.remove(&number);
            let client = self.client;
            self.recorder.note(|at| Event::Erased { at, client, number, edit });
        }
    }

    /// Edits at a place of the text as it is at that moment: nothing of others comes between looking and editing, or another mark
    /// than the one that is meant would be erased. Texts are ASCII: a byte is a UTF-16 unit. Answers the edit's number.
    fn replace(&self, place: impl FnOnce(&str) -> Option<usize>, delete: usize, insert: &str) -> Option<u64> {
        let edited = self.doc.transact(|edits| {
            let Some(at) = place(&edits.document()?.text()) else { return Ok(false) };
            edits.replace(at, delete, insert).map(|_| true)
        });
        matches!(edited, Ok(true)).then(|| self.doc.saved().map(|saved| saved.edited)).flatten()
    }

    fn note_told(&mut self) {
        let client = self.client;
        if let Some(saved) = self.doc.saved() {
            if saved.region.through != self.told.region {
                self.told.region = saved.region.through;
                let through = self.told.region;
                self.recorder.note(|at| Event::Acked { at, client, level: Level::Region, through });
            }
            if saved.highest == AckLevel::Replicated && saved.replicated.through != self.told.replicated {
                self.told.replicated = saved.replicated.through;
                let through = self.told.replicated;
                self.recorder.note(|at| Event::Acked { at, client, level: Level::Replicated, through });
            }
        }
        let relay = self.handle.link().map(|link| link.url);
        if relay != self.told.relay {
            self.told.relay.clone_from(&relay);
            self.recorder.note(|at| Event::Linked { at, client, relay });
        }
    }

    /// Reads its own marks off its screen.
    fn look(&self) {
        let client = self.client;
        let own: BTreeSet<u64> = marks(&self.doc.text())
            .0
            .into_iter()
            .filter(|mark| mark.client == client)
            .map(|mark| mark.number)
            .collect();
        let own: Ranges = ranges(&own);
        self.recorder.note(|at| Event::Looked { at, client, own });
    }
}

/// What typists are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Type.
    Typing,
    /// Type no more, and note what comes.
    Listening,
    /// End.
    Stopped,
}

/// The place right behind a mark.
fn after(text: &str, mark: Mark) -> Option<usize> {
    let mark = mark.to_string();
    text.find(&mark).map(|at| at + mark.len())
}

/// The place between two marks that is nearest before this share of the text.
fn boundary(text: &str, share: f64) -> usize {
    let near = (share * text.len() as f64) as usize;
    text[..near.min(text.len())].rfind('>').map_or(0, |at| at + 1)
}
