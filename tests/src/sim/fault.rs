//! The faults a run can suffer, and how often each was really suffered.

use std::collections::BTreeMap;

use super::shape::Shape;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A kind of fault. It counts as hit when it met something it could harm, not when it was planned.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// Every kind, in the order of reports.
            pub const ALL: &[Fault] = &[$(Fault::$name,)*];

            /// The name in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// A connection ends at both sides; what was on the way is lost.
    ConnectionCut = "connection-cut",
    /// A connection goes silent: neither side is told.
    ConnectionSilent = "connection-silent",
    /// The client's side ends, and what it had sent still arrives, after its next connection was opened.
    LateDelivery = "late-delivery",
    /// A dial that is refused or never answered.
    DialFailed = "dial-failed",
    /// A device that nothing can reach for a while.
    Partition = "partition",
    /// A link that turns slow and thin for a while.
    SlowLink = "slow-link",
    /// A message that overtook one sent before it on another connection.
    Overtaken = "overtaken",
    /// The user switches the client offline and back.
    Offline = "offline",
    /// A tab is gone between two steps; its store stays as committed.
    TabCrash = "tab-crash",
    /// A tab is gone after it sent something that its store did not hold yet.
    CrashBeforeStore = "crash-before-store",
    /// A tab is closed in order and opened again.
    Reload = "reload",
    /// A device loses its power and with it the last committed transactions.
    PowerCut = "power-cut",
    /// A store transaction fails: quota, disk, private mode.
    StoreFailed = "store-failed",
    /// Store transactions take long.
    StoreSlow = "store-slow",
    /// A device's profile is copied to another device, and both go on.
    ProfileCopied = "profile-copied",
    /// A device's profile is put back from a backup.
    BackupRestored = "backup-restored",
    /// The relay's process is gone; its log stays as synced.
    RelayCrash = "relay-crash",
    /// The relay is gone inside a group commit of which nothing stayed.
    LogLostWrite = "log-lost-write",
    /// The relay is gone inside a group commit of which a part stayed.
    LogTornWrite = "log-torn-write",
    /// The relay is gone after a group commit was durable and before it was confirmed.
    LogUnconfirmed = "log-unconfirmed",
    /// The relay's data is put back from a backup and started with `--restored`.
    RelayRestored = "relay-restored",
    /// The relay says goodbye, sends its clients away and starts again.
    RelayDrain = "relay-drain",
    /// Syncing the log takes long.
    LogSlow = "log-slow",
    /// An append fails and nothing of it stayed.
    AppendFailed = "append-failed",
    /// An append is reported failed although it is durable.
    AppendUnknown = "append-unknown",
    /// A snapshot is lost or late.
    SnapshotLost = "snapshot-lost",
    /// The records of an append lie in the log in another order than they were asked for.
    LogShuffled = "log-shuffled",
    /// A relay does not hear what another one told.
    BusLost = "bus-lost",
    /// A relay hears something twice.
    BusRepeated = "bus-repeated",
    /// A relay hears something late, and behind what was told after it.
    BusLate = "bus-late",
    /// Nothing gets from one region to the other for a while.
    RegionLinkCut = "region-link-cut",
    /// A copy is in the other region's log, and ship is told that it is not.
    CopyUnknown = "copy-unknown",
    /// The process that ships is gone, and another one begins.
    ShipCrash = "ship-crash",
    /// A region is lost with everything it kept.
    RegionWiped = "region-wiped",
    /// A region that was lost is given what the other's log no longer holds.
    RegionFed = "region-fed",
    /// The cleanup job trims a log.
    LogTrimmed = "log-trimmed",
    /// The op store refuses writes for a while.
    OpsRefused = "ops-refused",
    /// The process of a synchronizer is gone, and another one begins.
    PersistCrash = "persist-crash",
    /// The witness does not answer an observer of the lease for a while.
    WitnessCut = "witness-cut",
    /// An observer's process is stopped for a while, and does not know.
    ObserverStopped = "observer-stopped",
    /// An observer's process is gone, and another one begins.
    ObserverCrash = "observer-crash",
    /// The control plane is ordered to the other region.
    Switchover = "switchover",
}

/// What only a relay suffers that carries its log inside itself.
const OF_EMBEDDED: &[Fault] = &[Fault::LogLostWrite, Fault::LogTornWrite, Fault::RelayRestored];
/// What only relays suffer that share a log.
const OF_SHARED: &[Fault] =
    &[Fault::LogShuffled, Fault::BusLost, Fault::BusRepeated, Fault::BusLate, Fault::OpsRefused, Fault::PersistCrash];

/// What only regions suffer that have each other.
const OF_REGIONS: &[Fault] = &[
    Fault::RegionLinkCut,
    Fault::CopyUnknown,
    Fault::ShipCrash,
    Fault::RegionWiped,
    Fault::RegionFed,
    Fault::LogTrimmed,
    Fault::WitnessCut,
    Fault::ObserverStopped,
    Fault::ObserverCrash,
    Fault::Switchover,
];

impl Fault {
    /// Whether a world of this shape can suffer it.
    pub fn befalls(self, shape: Shape) -> bool {
        match shape {
            Shape::Alone => !OF_SHARED.contains(&self) && !OF_REGIONS.contains(&self),
            Shape::Relays => !OF_EMBEDDED.contains(&self) && !OF_REGIONS.contains(&self),
            Shape::Regions => !OF_EMBEDDED.contains(&self),
        }
    }
}

/// How often each kind was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<Fault, u64>);

impl FaultCounts {
    /// One more of `fault`.
    pub fn hit(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// How often `fault` was hit.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    /// All hits together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &FaultCounts) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// The kinds never hit of those that a world of this shape can suffer.
    pub fn missing(&self, shape: Shape) -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|fault| fault.befalls(shape) && self.of(*fault) == 0).collect()
    }
}
