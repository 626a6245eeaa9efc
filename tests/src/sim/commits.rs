//! From a room's append to the log's answer: group commits, how they end, and who is told.

use selvedge_engine::{Delta, Op, SiteId};
use selvedge_protocol::DocumentId;
use selvedge_region::LogRecord;
use selvedge_relay::room::{Failure, RoomEvent};
use selvedge_replicator::ship::CopyId;

use super::fault::Fault;
use super::log::{Answer, AppendId, Ending};
use super::plant::Plant;
use super::schedule::{MS, Micros};
use super::world::{Event, Stop, World};

/// Who waits for an append.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// A room, with its number for it.
    Room { process: u64, document: DocumentId, append: u64 },
    /// A ship of the other region.
    Ship { route: usize, life: u64, copy: CopyId },
}

impl Asked {
    /// Whether this process of a relay waits for it.
    pub(super) fn is_of(&self, process: u64) -> bool {
        matches!(self, Self::Room { process: mine, .. } if *mine == process)
    }
}

/// What goes wrong with a region for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) slow_until: Micros,
    pub(super) failing_until: Micros,
    pub(super) unknown_until: Micros,
    pub(super) shuffled_until: Micros,
    pub(super) snapshots_lost_until: Micros,
    /// Nothing that is asked of the log comes about, not in part either. Named cases alone set it.
    pub(super) refusing: bool,
    /// The next group commit is the last of the process that holds the log.
    pub(super) crash_in_sync: bool,
}

impl Weather {
    /// A fault of the region, for a while.
    pub(super) fn trouble(&mut self, fault: Fault, until: Micros) {
        match fault {
            Fault::LogSlow => self.slow_until = until,
            Fault::AppendFailed => self.failing_until = until,
            Fault::AppendUnknown => self.unknown_until = until,
            Fault::LogShuffled => self.shuffled_until = until,
            Fault::SnapshotLost => self.snapshots_lost_until = until,
            other => unreachable!("{} is no fault of a region", other.name()),
        }
    }

    /// Everything is well from `now` on.
    pub(super) fn clear(&mut self, now: Micros) {
        *self = Self {
            slow_until: now,
            failing_until: now,
            unknown_until: now,
            shuffled_until: now,
            snapshots_lost_until: now,
            refusing: false,
            crash_in_sync: false,
        };
    }
}

impl World {
    /// A room appends.
    pub(super) fn append(
        &mut self,
        relay: usize,
        document: &DocumentId,
        append: u64,
        records: Vec<LogRecord>,
    ) -> Result<(), Stop> {
        let Some(process) = self.relays[relay].process() else { return Ok(()) };
        for record in &records {
            self.learn(document, &record.delta, "an append")?;
            self.count_rebases(&record.delta);
        }
        let (id, region) = (self.next_append, self.relays[relay].region);
        self.next_append += 1;
        self.appends.insert(id, Asked::Room { process, document: document.clone(), append });
        let records = self.append_by_plant(id, region, records);
        if self.regions[region].log.append(id, records) {
            self.begin_sync(region);
        }
        Ok(())
    }

    fn count_rebases(&mut self, delta: &[u8]) {
        let ops = Delta::decode(delta).map(|delta| delta.ops).unwrap_or_default();
        let rebases = ops.iter().filter(|op| matches!(op, Op::Rebase(_))).count();
        if rebases > 0 {
            *self.figures.entry("rebases appended").or_default() += rebases as u64;
        }
    }

    /// Planted faults between a room and the log.
    fn append_by_plant(&mut self, id: AppendId, region: usize, mut records: Vec<LogRecord>) -> Vec<LogRecord> {
        match self.options.plant {
            Some(Plant::AckBeforeAppend) => {
                let head = self.regions[region].log.head();
                let offsets = (head..head + records.len() as u64).collect();
                let answers = vec![Answer { append: id, offsets: Some(offsets) }];
                self.schedule.after(0, Event::LogAnswers { region, answers });
            }
            Some(Plant::GapIgnored) if self.dice.percent(2) => {
                records.remove(0);
            }
            Some(Plant::DedupeOff) => {
                for record in &mut records {
                    self.append_anew(region, record);
                }
            }
            _ => {}
        }
        records
    }

    /// A record that the log has already becomes another site's.
    fn append_anew(&mut self, region: usize, record: &mut LogRecord) {
        let known =
            self.regions[region].log.durable().iter().any(|logged| logged.record.payload_hash == record.payload_hash);
        let Ok(mut delta) = Delta::decode(&record.delta) else { return };
        if known {
            delta.site = SiteId::system(self.next_append);
            delta.first = 1;
            *record =
                LogRecord::new(record.document.clone(), record.generation, record.principal.clone(), delta.encode());
        }
    }

    pub(super) fn begin_sync(&mut self, region: usize) {
        let mean = if self.regions[region].weather.slow_until > self.schedule.now() {
            self.hit(Fault::LogSlow);
            1_500 * MS
        } else {
            5 * MS
        };
        let delay = self.regions[region].dice.spread(mean);
        let life = self.regions[region].life();
        self.schedule.after(delay, Event::LogSync { region, life });
    }

    /// A group commit ends.
    pub(super) fn log_syncs(&mut self, region: usize, life: u64) -> Result<(), Stop> {
        if self.regions[region].life() != life {
            return Ok(());
        }
        if self.regions[region].weather.crash_in_sync {
            for relay in 0..self.relays.len() {
                if self.relays[relay].region == region {
                    self.crash_relay(relay);
                }
            }
            return Ok(());
        }
        let ending = self.ending(region);
        let shuffled = self.regions[region].weather.shuffled_until > self.schedule.now();
        let here = &mut self.regions[region];
        if shuffled && here.log.shuffle(&mut here.dice) {
            self.faults.hit(Fault::LogShuffled);
        }
        let (answers, again) = self.regions[region].log.sync(ending);
        self.count_logged(region);
        if again {
            self.begin_sync(region);
        }
        let delay = self.regions[region].dice.spread(3 * MS);
        self.schedule.after(delay, Event::LogAnswers { region, answers });
        Ok(())
    }

    fn ending(&mut self, region: usize) -> Ending {
        let (now, weather) = (self.schedule.now(), self.regions[region].weather);
        if weather.refusing {
            self.hit(Fault::AppendFailed);
            Ending::Failed
        } else if weather.failing_until > now {
            self.hit(Fault::AppendFailed);
            if self.regions[region].dice.percent(50) { Ending::Failed } else { Ending::Partly }
        } else if weather.unknown_until > now {
            self.hit(Fault::AppendUnknown);
            Ending::Unknown
        } else {
            Ending::Well
        }
    }

    /// Counts what became durable.
    pub(super) fn count_logged(&mut self, region: usize) {
        for record in self.regions[region].count() {
            self.trace.absorb(&record.payload_hash);
            self.books.logged(&record.document, self.regions[region].logged(&record.document));
        }
    }

    /// The outcome of a group commit is told to the rooms that asked.
    pub(super) fn log_answers(&mut self, region: usize, answers: Vec<Answer>) -> Result<(), Stop> {
        for answer in answers {
            // Under a planted fault an append is answered early; its true answer comes to nobody. Nor does that of a process
            // which is gone.
            let Some(asked) = self.appends.remove(&answer.append) else { continue };
            let (process, document, append) = match asked {
                Asked::Room { process, document, append } => (process, document, append),
                Asked::Ship { route, life, copy } => {
                    self.copy_answered(route, life, copy, answer.offsets.is_some());
                    continue;
                }
            };
            let Some(relay) = self.relay_of(process) else { continue };
            let here = &self.regions[region];
            let outcome = match answer.offsets {
                Some(offsets) => Ok(offsets.into_iter().map(|offset| here.position(offset)).collect()),
                None => Err(Failure::Retry),
            };
            self.note(format_args!(
                "relay {relay}: append {append} of {document} {}",
                if outcome.is_ok() { "confirmed" } else { "failed" }
            ));
            self.tell_room(relay, &document, RoomEvent::Appended { append, outcome })?;
        }
        Ok(())
    }
}
