//! Trouble: which faults a run suffers, when, and what they do.
//!
//! A run draws a subset of all kinds and sticks to it, so that some runs see one kind often and in rare company; what
//! never meets another fault hides as well as what never happens.

use super::clients::Device;
use super::dice::Dice;
use super::fault::Fault;
use super::network::{End, Link, Parcel};
use super::schedule::{MS, Micros, SECOND};
use super::shape::Shape;
use super::world::{Event, Stop, World};

/// Devices a run may have, copies included.
const DEVICES_MAX: usize = 6;

/// Faults that are caused; the others follow from these.
const CAUSES: &[(u64, Fault)] = &[
    (8, Fault::ConnectionCut),
    (4, Fault::ConnectionSilent),
    (6, Fault::LateDelivery),
    (4, Fault::Partition),
    (4, Fault::SlowLink),
    (6, Fault::Offline),
    (6, Fault::TabCrash),
    (6, Fault::CrashBeforeStore),
    (5, Fault::Reload),
    (5, Fault::PowerCut),
    (3, Fault::StoreFailed),
    (4, Fault::StoreSlow),
    (3, Fault::ProfileCopied),
    (4, Fault::BackupRestored),
    (6, Fault::RelayCrash),
    (4, Fault::LogLostWrite),
    (2, Fault::RelayRestored),
    (3, Fault::RelayDrain),
    (4, Fault::LogSlow),
    (4, Fault::AppendFailed),
    (4, Fault::AppendUnknown),
    (3, Fault::SnapshotLost),
    (4, Fault::LogShuffled),
    (5, Fault::BusLost),
    (4, Fault::BusRepeated),
    (4, Fault::BusLate),
    (5, Fault::RegionLinkCut),
    (4, Fault::CopyUnknown),
    (4, Fault::ShipCrash),
    (2, Fault::RegionWiped),
    (4, Fault::OpsRefused),
    (4, Fault::PersistCrash),
    (4, Fault::WitnessCut),
    (4, Fault::ObserverStopped),
    (3, Fault::ObserverCrash),
    (2, Fault::Switchover),
];

/// The kinds of one run, weighted, and how often they come.
#[derive(Clone, Debug)]
pub(super) struct Troubles {
    causes: Vec<(u64, Fault)>,
    every: Micros,
}

impl Troubles {
    /// A selection for one run, of what its shape can suffer.
    pub(super) fn draw(shape: Shape, dice: &mut Dice) -> Self {
        let share = dice.between(25, 100);
        let possible: Vec<_> = CAUSES.iter().copied().filter(|(_, fault)| fault.befalls(shape)).collect();
        let mut causes: Vec<_> = possible.iter().copied().filter(|_| dice.percent(share)).collect();
        if causes.is_empty() {
            causes.push(possible[dice.index(possible.len())]);
        }
        Self { causes, every: dice.between(500, 5_000) * MS }
    }
}

impl World {
    /// The next fault.
    pub(super) fn trouble(&mut self) -> Result<(), Stop> {
        if self.quiet {
            return Ok(());
        }
        let pause = self.fate.spread(self.troubles.every);
        self.schedule.after(pause, Event::Trouble);
        let fault = *self.fate.weighted(&self.troubles.causes);
        let device = self.fate.index(self.devices.len());
        let now = self.schedule.now();
        let lasting = self.fate.between(1, 12) * SECOND;
        match fault {
            Fault::ConnectionCut | Fault::ConnectionSilent | Fault::LateDelivery => {
                return self.break_connection(fault);
            }
            Fault::Partition => self.darken(device, now + lasting),
            Fault::SlowLink => {
                self.hit(Fault::SlowLink);
                self.devices[device].link = Link::slow(&mut self.fate);
                self.schedule.after(lasting, Event::UsualLink { device });
            }
            Fault::Offline => return self.go_offline(device, now + lasting * 2),
            Fault::TabCrash => {
                let tab = self.fate.index(self.devices[device].tabs.len());
                self.crash_tab(device, tab, Fault::TabCrash);
            }
            Fault::CrashBeforeStore => self.crash_before_store(),
            Fault::Reload => {
                let tab = self.fate.index(self.devices[device].tabs.len());
                return self.reload(device, tab);
            }
            Fault::PowerCut => {
                let lost = self.fate.index(8);
                self.cut_power(device, lost);
            }
            Fault::StoreFailed => self.devices[device].full_until = now + lasting,
            Fault::StoreSlow => self.devices[device].slow_store_until = now + lasting,
            Fault::ProfileCopied => self.copy_profile(device),
            Fault::BackupRestored => self.restore_device(device),
            Fault::RelayCrash => {
                let relay = self.fate.index(self.relays.len());
                self.crash_relay(relay);
            }
            Fault::LogLostWrite => self.regions[0].weather.crash_in_sync = true,
            Fault::RelayRestored => self.restore_relay(),
            Fault::RelayDrain => {
                let relay = self.fate.index(self.relays.len());
                return self.drain_relay(relay);
            }
            Fault::BusLost | Fault::BusRepeated | Fault::BusLate => {
                let relay = self.fate.index(self.relays.len());
                self.relays[relay].bus.trouble(fault, now + lasting);
            }
            Fault::RegionLinkCut => {
                let route = self.fate.index(self.routes.len());
                self.routes[route].cut_until = now + lasting;
            }
            Fault::CopyUnknown => {
                let route = self.fate.index(self.routes.len());
                self.routes[route].deaf_until = now + lasting;
            }
            Fault::ShipCrash => {
                let route = self.fate.index(self.routes.len());
                self.crash_ship(route);
            }
            Fault::RegionWiped => {
                let region = self.fate.index(self.regions.len());
                self.wipe_region(region);
            }
            Fault::OpsRefused => {
                let region = self.fate.index(self.regions.len());
                self.synchronizers[region].refused_until = now + lasting;
            }
            Fault::PersistCrash => {
                let region = self.fate.index(self.regions.len());
                self.crash_synchronizer(region);
            }
            Fault::WitnessCut => {
                let observer = self.fate.index(self.observers.len());
                self.observers[observer].cut_until = now + lasting;
            }
            Fault::ObserverStopped => {
                let observer = self.fate.index(self.observers.len());
                self.observers[observer].stopped_until = now + lasting;
            }
            Fault::ObserverCrash => {
                let observer = self.fate.index(self.observers.len());
                self.crash_observer(observer);
            }
            Fault::Switchover => self.order_switchover(),
            other => {
                let region = self.fate.index(self.regions.len());
                self.regions[region].weather.trouble(other, now + lasting);
            }
        }
        Ok(())
    }

    /// Something happens to one connection.
    fn break_connection(&mut self, fault: Fault) -> Result<(), Stop> {
        let connections: Vec<_> =
            self.loads.iter().flatten().flat_map(|load| load.connections.values().copied()).collect();
        if connections.is_empty() {
            return Ok(());
        }
        let connection = connections[self.fate.index(connections.len())];
        let Some(known) = self.network.connection(connection) else { return Ok(()) };
        let (load, attempt) = (known.load, known.attempt);
        self.hit(fault);
        self.note(format_args!("fault: {} of connection {}", fault.name(), connection.0));
        match fault {
            Fault::ConnectionSilent => {
                self.network.silence(connection, End::Client);
                self.network.silence(connection, End::Relay);
                Ok(())
            }
            Fault::LateDelivery => {
                // The client is told at once and dials again; what it had sent arrives seconds later, and then the end.
                let late = self.fate.between(200, 4_000) * MS;
                for arrival in self.network.delay(connection, End::Relay, late) {
                    self.schedule.at(arrival, Event::Arrive { connection, to: End::Relay });
                }
                self.network.lose(connection, End::Client);
                self.network.silence(connection, End::Client);
                let link = Link { delay: late, jitter: 0, rate: 1_000_000 };
                self.send(connection, End::Relay, Parcel::Closed(None), link);
                self.client_receives(load, attempt, Parcel::Closed(None))
            }
            _ => {
                self.network.lose(connection, End::Relay);
                self.network.lose(connection, End::Client);
                let link = Link { delay: 0, jitter: 50 * MS, rate: 1_000_000 };
                self.send(connection, End::Relay, Parcel::Closed(None), link);
                self.send(connection, End::Client, Parcel::Closed(None), link);
                Ok(())
            }
        }
    }

    fn darken(&mut self, device: usize, until: Micros) {
        self.hit(Fault::Partition);
        self.note(format_args!("fault: device {device} is dark"));
        self.devices[device].dark_until = until;
        let connections: Vec<_> = self
            .loads
            .iter()
            .flatten()
            .filter(|load| load.device == device)
            .flat_map(|load| load.connections.values().copied())
            .collect();
        for connection in connections {
            self.network.silence(connection, End::Client);
            self.network.silence(connection, End::Relay);
        }
    }

    pub(super) fn go_offline(&mut self, device: usize, until: Micros) -> Result<(), Stop> {
        self.note(format_args!("fault: device {device} goes offline"));
        self.devices[device].offline_until = until;
        self.schedule.at(until, Event::GoOnline { device });
        let instant = self.schedule.instant();
        for id in self.devices[device].tabs.clone().into_iter().flatten() {
            self.hit(Fault::Offline);
            if let Some(load) = self.loads[id].as_mut() {
                load.client.go_offline(instant);
            }
            self.pump(id)?;
        }
        Ok(())
    }

    /// A device's user wants to be online again.
    pub(super) fn go_online(&mut self, device: usize) -> Result<(), Stop> {
        let now = self.schedule.now();
        if self.devices[device].offline_until > now {
            return Ok(());
        }
        let instant = self.schedule.instant();
        for id in self.devices[device].tabs.clone().into_iter().flatten() {
            if let Some(load) = self.loads[id].as_mut() {
                load.client.go_online(instant);
            }
            self.pump(id)?;
        }
        Ok(())
    }

    /// A tab is gone. Its transaction under way commits or does not; what it sent is on its way.
    pub(super) fn crash_tab(&mut self, device: usize, tab: usize, fault: Fault) {
        let Some(id) = self.devices[device].tabs[tab].take() else { return };
        let Some(mut load) = self.loads[id].take() else { return };
        self.note(format_args!("fault: load {id} ends: {}", fault.name()));
        self.hit(fault);
        for opened in &mut load.opened {
            let Some((_, transaction)) = opened.storing.take() else { continue };
            if opened.sent_unstored && fault != Fault::Reload {
                self.hit(Fault::CrashBeforeStore);
            }
            if self.fate.percent(40) && self.devices[device].full_until <= self.schedule.now() {
                // Nobody is told, so nothing is promised.
                let _ = self.devices[device].store.commit(&opened.document, transaction);
            }
        }
        for connection in load.connections.into_values() {
            self.network.silence(connection, End::Client);
            let link = self.devices[device].link;
            self.send(connection, End::Relay, Parcel::Closed(None), link);
        }
        let delay = self.fate.spread(3 * SECOND);
        self.schedule.after(delay, Event::OpenTab { device, tab });
    }

    /// Ends a tab that has sent something and not stored it, if there is one.
    fn crash_before_store(&mut self) {
        let now = self.schedule.now();
        let found = self.loads.iter().flatten().find(|load| load.opened.iter().any(|opened| opened.sent_unstored));
        if let Some((device, tab)) = found.map(|load| (load.device, load.tab)) {
            self.crash_tab(device, tab, Fault::TabCrash);
        } else {
            // Make it likely: a store that is slow, and another look in a moment.
            for device in &mut self.devices {
                device.slow_store_until = now + SECOND;
            }
            self.schedule.after(150 * MS, Event::CrashBeforeStore);
        }
    }

    /// The second look.
    pub(super) fn crash_if_unstored(&mut self) {
        let found = self.loads.iter().flatten().find(|load| load.opened.iter().any(|opened| opened.sent_unstored));
        if let Some((device, tab)) = found.map(|load| (load.device, load.tab))
            && !self.quiet
        {
            self.crash_tab(device, tab, Fault::TabCrash);
        }
    }

    /// A tab is closed as a page is, and opened again.
    fn reload(&mut self, device: usize, tab: usize) -> Result<(), Stop> {
        let Some(id) = self.devices[device].tabs[tab] else { return Ok(()) };
        let instant = self.schedule.instant();
        if let Some(load) = self.loads[id].as_mut() {
            for channel in load.opened.iter().map(|opened| opened.channel).collect::<Vec<_>>() {
                load.client.close(channel, instant);
            }
        }
        self.pump(id)?;
        self.crash_tab(device, tab, Fault::Reload);
        Ok(())
    }

    /// A device's power is cut, and its store loses the last `lost` transactions.
    pub(super) fn cut_power(&mut self, device: usize, lost: usize) {
        for tab in 0..self.devices[device].tabs.len() {
            self.crash_tab(device, tab, Fault::TabCrash);
        }
        let lost = self.devices[device].store.power_cut(lost);
        self.note(format_args!("fault: device {device} loses its power and {lost} transactions"));
        if lost > 0 {
            self.hit(Fault::PowerCut);
            self.promise_what_is_stored(device);
        }
    }

    /// The whole profile of a device is copied to another one, while the first goes on.
    pub(super) fn copy_profile(&mut self, device: usize) {
        if self.devices.len() >= DEVICES_MAX {
            return;
        }
        self.hit(Fault::ProfileCopied);
        let copy = self.devices.len();
        self.note(format_args!("fault: device {device} is copied to device {copy}"));
        let from = &self.devices[device];
        let (store, principal, reader, near) = (from.store.clone(), from.principal.clone(), from.reader, from.near);
        let link = Link::usual(&mut self.fate);
        self.devices.push(Device { store, link, usual_link: link, reader, near, ..Device::new(principal, link) });
        self.promise_what_is_stored(copy);
        let delay = self.fate.spread(2 * SECOND);
        self.schedule.after(delay, Event::OpenTab { device: copy, tab: 0 });
    }

    /// A device goes back to an older copy of its store; the first time the copy is taken.
    pub(super) fn restore_device(&mut self, device: usize) {
        let Some(backup) = self.devices[device].backup.take() else {
            self.devices[device].backup = Some(self.devices[device].store.clone());
            return;
        };
        for tab in 0..self.devices[device].tabs.len() {
            self.crash_tab(device, tab, Fault::TabCrash);
        }
        self.hit(Fault::BackupRestored);
        self.note(format_args!("fault: device {device} is put back from its backup"));
        self.devices[device].store = backup;
        self.promise_what_is_stored(device);
    }

    /// Every fault ends: links are as usual, stores work, everybody is there and online, nobody writes.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        self.quiet = true;
        self.count_the_living();
        self.note(format_args!("quiet"));
        for device in 0..self.devices.len() {
            let now = self.schedule.now();
            let usual = &mut self.devices[device];
            usual.link = usual.usual_link;
            (usual.dark_until, usual.full_until, usual.slow_store_until, usual.offline_until) = (now, now, now, now);
            for tab in 0..self.devices[device].tabs.len() {
                self.open_tab(device, tab)?;
            }
            self.go_online(device)?;
        }
        self.relays_settle()
    }
}
