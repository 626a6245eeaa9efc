//! Rules broken on purpose: each is a mistake a data path like this one is known to make, and the simulator has to find it.
//!
//! A plant sits in an adapter of the simulator (the log, the store, the network, the shell around a room or a client), or it
//! takes one rule away from a room by [`Room::without`](selvedge_relay::room::Room::without), or from a client by
//! [`Client::without`](selvedge_protocol::client::Client::without): both are there with the feature `planted-faults` alone, which
//! this crate asks for and nothing that ships is built with.

use selvedge_protocol::client;
use selvedge_relay::room::Rule;

use super::shape::Shape;

macro_rules! plants {
    ($($name:ident = $text:literal in $shape:ident: $meaning:literal,)*) => {
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

            /// The smallest world in which it can do harm.
            pub fn shape(self) -> Shape {
                match self {
                    $(Plant::$name => Shape::$shape,)*
                }
            }
        }
    };
}

plants! {
    AckBeforeAppend = "ack-before-append" in Alone: "an append is confirmed before it is durable",
    LyingSync = "lying-sync" in Alone: "a confirmed record is gone after a crash",
    GapIgnored = "gap-ignored" in Alone: "a record is confirmed although the one before it is not there",
    DedupeOff = "dedupe-off" in Alone: "what is appended again enters the log as something new",
    OutboxDroppedAtSend = "outbox-dropped-at-send" in Alone: "the outbox forgets a delta when it is sent, not when it is acked",
    SavedBeforeStored = "saved-before-stored" in Alone: "the device says that it stored what it has not",
    StateOverwritten = "state-overwritten" in Alone: "an older state replaces a newer one in the device's store",
    SiteContinued = "site-continued" in Alone: "a load writes on as the site of the load before it",
    FanOutLost = "fan-out-lost" in Alone: "a session misses frames, and nobody notices",
    AckBackwards = "ack-backwards" in Alone: "an ack names less than the one before it",
    TornSnapshot = "torn-snapshot" in Alone: "a snapshot claims more of the log than it holds",
    SnapshotAhead = "snapshot-ahead" in Alone: "a state diff is older than the vector it is sent for",
    SiteContinuedIfAgreed = "site-continued-if-agreed" in Alone: "a load writes on as the site read back, when its server has no more of it",
    BeyondHoleSkipped = "beyond-hole-skipped" in Relays: "what lies beyond a hole of the log is passed over",
    HeldForEver = "held-for-ever" in Relays: "what waited beyond a hole stays in the room when the hole fills",
    SentBySeen = "sent-by-seen" in Relays: "a session is not sent what its room has seen already, shown to it or not",
    KeptToOneself = "kept-to-oneself" in Relays: "what was shown with a proof is given back on the next connection alone",
    SyncsUntagged = "syncs-untagged" in Regions: "what answers an opening comes without proofs",
    FirstOriginKept = "first-origin-kept" in Regions: "a copied record names the log it was written to first, not the one it came from",
    OffsetsSurvivePeer = "offsets-survive-peer" in Regions: "ship goes on where it was, although the other region has another log",
    PeerNotFed = "peer-not-fed" in Regions: "a new log is not given what the other's log no longer holds",
    TrimmedEarly = "trimmed-early" in Regions: "a log is trimmed below what its own region has stored, and ship takes what is gone for copied",
    FramesNotStored = "frames-not-stored" in Regions: "what was shown with a proof is stored without it",
    HoleLeftOpen = "hole-left-open" in Relays: "a hole that nobody is left to fill stays open",
    LeaseOutlived = "lease-outlived" in Regions: "who holds the control plane decides until somebody tells it otherwise",
    PairedLow = "paired-low" in Regions: "what a room holds is paired with how far it has read, not with its highest record",
}

impl Plant {
    /// The rule of a room that it takes away.
    pub(super) fn rule(self) -> Option<Rule> {
        match self {
            Self::BeyondHoleSkipped => Some(Rule::HoldBeyondHoles),
            Self::HeldForEver => Some(Rule::ReleaseHeld),
            Self::PairedLow => Some(Rule::PairWithHighest),
            Self::SentBySeen => Some(Rule::SentByOwnVector),
            Self::SyncsUntagged => Some(Rule::TagSyncs),
            _ => None,
        }
    }

    /// The rule of a client that it takes away.
    pub(super) fn client_rule(self) -> Option<client::Rule> {
        (self == Self::KeptToOneself).then_some(client::Rule::GiveBackWhileConnected)
    }

    /// The plant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|plant| plant.name() == name)
    }
}
