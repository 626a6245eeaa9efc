//! The bus between the relays of a region: nothing on it is durable, and it may lose, repeat, delay and reorder.

use selvedge_protocol::{DocumentId, Position};
use selvedge_region::LogRecord;
use selvedge_relay::room::RoomEvent;

use super::fault::Fault;
use super::schedule::{MS, Micros, SECOND};
use super::world::{Event, Stop, World};

/// What goes wrong for a while with what one relay hears.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bus {
    lost_until: Micros,
    repeated_until: Micros,
    late_until: Micros,
}

impl Bus {
    /// A fault of the bus, for a while.
    pub(super) fn trouble(&mut self, fault: Fault, until: Micros) {
        match fault {
            Fault::BusLost => self.lost_until = until,
            Fault::BusRepeated => self.repeated_until = until,
            Fault::BusLate => self.late_until = until,
            other => unreachable!("{} is no fault of a bus", other.name()),
        }
    }

    /// Everything is well from `now` on.
    pub(super) fn clear(&mut self, now: Micros) {
        *self = Self { lost_until: now, repeated_until: now, late_until: now };
    }
}

impl World {
    /// A room tells the region's other relays what the log holds now.
    pub(super) fn publish_records(&mut self, relay: usize, document: &DocumentId, records: Vec<(Position, LogRecord)>) {
        for (position, record) in records {
            let event = RoomEvent::Heard { position, generation: record.generation, delta: record.delta };
            self.publish(relay, document, event);
        }
    }

    /// A room tells the region's other relays what it shows while the log is silent.
    pub(super) fn publish_tentative(&mut self, relay: usize, document: &DocumentId, records: Vec<LogRecord>) {
        *self.figures.entry("shown before logged").or_default() += records.len() as u64;
        for record in records {
            let event = RoomEvent::HeardTentative { generation: record.generation, delta: record.delta };
            self.publish(relay, document, event);
        }
    }

    /// The region's lock for a document's rebase token: whether the session has it now. A bus that loses messages loses its
    /// word on locks, too.
    pub(super) fn take_token(&mut self, relay: usize, document: &DocumentId, session: u64, for_ms: u64) -> bool {
        let now = self.schedule.now();
        let place = (self.relays[relay].region, document.clone());
        let elsewhere = |(holder, until): &(u64, Micros)| *holder != session && *until > now;
        let taken = self.relays[relay].bus.lost_until > now || !self.tokens.get(&place).is_some_and(elsewhere);
        if taken {
            self.tokens.insert(place, (session, now + for_ms * MS));
            *self.figures.entry("rebase tokens granted").or_default() += 1;
        }
        taken
    }

    /// A session gives the token back, if it still has it.
    pub(super) fn give_token(&mut self, relay: usize, document: &DocumentId, session: u64) {
        let place = (self.relays[relay].region, document.clone());
        if self.tokens.get(&place).is_some_and(|(holder, _)| *holder == session) {
            self.tokens.remove(&place);
        }
    }

    /// A relay tells the others of its region; what each of them hears, and when, is another matter.
    pub(super) fn publish(&mut self, relay: usize, document: &DocumentId, event: RoomEvent) {
        let region = self.relays[relay].region;
        for other in (0..self.relays.len()).filter(|other| *other != relay) {
            if self.relays[other].region == region {
                self.carry(other, document, &event);
            }
        }
    }

    pub(super) fn carry(&mut self, to: usize, document: &DocumentId, event: &RoomEvent) {
        let (now, bus) = (self.schedule.now(), self.relays[to].bus);
        let Some(process) = self.relays[to].process() else { return };
        if bus.lost_until > now && self.dice.percent(60) {
            self.hit(Fault::BusLost);
            if self.dice.percent(10) {
                // Some losses are noticed, and told.
                self.deliver_later(process, document, RoomEvent::BusLagged, 10 * MS);
            }
            return;
        }
        let repeated = bus.repeated_until > now && self.dice.percent(50);
        for copy in 0..if repeated { 2 } else { 1 } {
            let mut delay = self.dice.spread(2 * MS);
            if copy > 0 {
                self.hit(Fault::BusRepeated);
                delay += self.dice.spread(SECOND);
            }
            if bus.late_until > now && self.dice.percent(50) {
                self.hit(Fault::BusLate);
                delay += self.dice.spread(2 * SECOND);
            }
            self.deliver_later(process, document, event.clone(), delay);
        }
    }

    fn deliver_later(&mut self, process: u64, document: &DocumentId, event: RoomEvent, delay: Micros) {
        self.schedule.after(delay, Event::Heard { process, document: document.clone(), event: Box::new(event) });
    }

    /// A relay hears something; a room that nobody has opened there does not.
    pub(super) fn hears(&mut self, process: u64, document: &DocumentId, event: RoomEvent) -> Result<(), Stop> {
        match self.relay_of(process) {
            Some(relay) => self.tell_room(relay, document, event),
            None => Ok(()),
        }
    }
}
