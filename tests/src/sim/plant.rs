//! Rules broken on purpose: each is a mistake a data path like this one is known to make, and the simulator has to find it.
//!
//! A plant sits in an adapter of the simulator (the log, the store, the network, the shell around a room or a client), not
//! in the machines: the machines are the ones that ship.

macro_rules! plants {
    ($($name:ident = $text:literal: $meaning:literal,)*) => {
        /// A rule broken on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Plant {
            $(#[doc = $meaning] $name,)*
        }

        impl Plant {
            /// Every plant.
            pub const ALL: &[Plant] = &[$(Plant::$name,)*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Plant::$name => $text,)*
                }
            }

            /// What it breaks.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Plant::$name => $meaning,)*
                }
            }
        }
    };
}

plants! {
    AckBeforeAppend = "ack-before-append": "an append is confirmed before it is durable",
    LyingSync = "lying-sync": "a confirmed record is gone after a crash",
    GapIgnored = "gap-ignored": "a record is confirmed although the one before it is not there",
    DedupeOff = "dedupe-off": "what is appended again enters the log as something new",
    OutboxDroppedAtSend = "outbox-dropped-at-send": "the outbox forgets a delta when it is sent, not when it is acked",
    SavedBeforeStored = "saved-before-stored": "the device says that it stored what it has not",
    StateOverwritten = "state-overwritten": "an older state replaces a newer one in the device's store",
    SiteContinued = "site-continued": "a load writes on as the site of the load before it",
    FanOutLost = "fan-out-lost": "a session misses frames, and nobody notices",
    AckBackwards = "ack-backwards": "an ack names less than the one before it",
    TornSnapshot = "torn-snapshot": "a snapshot claims more of the log than it holds",
    SnapshotAhead = "snapshot-ahead": "a state diff is older than the vector it is sent for",
}

impl Plant {
    /// The plant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|plant| plant.name() == name)
    }
}
