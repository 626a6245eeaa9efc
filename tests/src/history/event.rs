//! The notes of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Ranges of numbers, both ends within, in order and apart.
pub type Ranges = Vec<(u64, u64)>;

/// A whole run. Instants are milliseconds since it began, by one clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Who typed, by index.
    pub writers: Vec<Writer>,
    /// What happened, in the order it was noted; a client's own events are in its order.
    pub events: Vec<Event>,
    /// What everybody had when all had come to rest.
    pub finals: Vec<Final>,
    /// What each region's log held then.
    pub logs: Vec<Logged>,
    /// Marks that stand in quarantine with an audit record, as `(client, number)`.
    pub quarantined: Vec<(u32, u64)>,
    /// Whether a region was lost with all it kept: then acks of level `region` promise nothing by themselves.
    pub region_lost: bool,
}

/// Somebody who types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// The document it types into.
    pub document: String,
    /// The region it is at home in.
    pub region: String,
}

/// How safe an edit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// In the log of a region.
    Region,
    /// In the logs of both regions.
    Replicated,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A client typed a mark.
    Typed {
        /// When.
        at: u64,
        /// Who.
        client: u32,
        /// Which of its marks.
        number: u64,
        /// Which edit that was to its replica.
        edit: u64,
    },
    /// A client deleted one of its own marks.
    Erased {
        /// When.
        at: u64,
        /// Who.
        client: u32,
        /// Which of its marks.
        number: u64,
        /// Which edit that was to its replica.
        edit: u64,
    },
    /// A client was told how far its edits have come.
    Acked {
        /// When.
        at: u64,
        /// Who.
        client: u32,
        /// To which level.
        level: Level,
        /// All its edits up to this one.
        through: u64,
    },
    /// A client's screen was looked at.
    Looked {
        /// When.
        at: u64,
        /// Whose.
        client: u32,
        /// The numbers of its own marks on it.
        own: Ranges,
    },
    /// A client's connection changed.
    Linked {
        /// When.
        at: u64,
        /// Whose.
        client: u32,
        /// The relay it is connected to, if to any.
        relay: Option<String>,
    },
    /// A client's device is gone for good, with what it alone had.
    Died {
        /// When.
        at: u64,
        /// Whose.
        client: u32,
    },
    /// Something was done to the system; what was whole before is not.
    Wronged {
        /// When.
        at: u64,
        /// What.
        what: String,
    },
    /// Everything is as it should be again, but for the backlog.
    Healed {
        /// When.
        at: u64,
    },
    /// The backlog is drained: all replicas are equal.
    Quiet {
        /// When.
        at: u64,
    },
    /// Somebody says who holds the control plane.
    Reigns {
        /// When.
        at: u64,
        /// Who says so.
        observer: String,
        /// In which epoch.
        epoch: u64,
        /// The region that holds it.
        holder: String,
    },
}

/// Where a text was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "place")]
pub enum Place {
    /// A client's replica.
    Client {
        /// Whose.
        client: u32,
    },
    /// A relay, asked for the text.
    Relay {
        /// Of which region.
        region: String,
        /// Its address.
        relay: String,
    },
    /// A region's snapshot and nothing else.
    Snapshot {
        /// Which region's.
        region: String,
    },
    /// Rebuilt from a region's op store alone.
    Ops {
        /// Which region's.
        region: String,
    },
    /// Rebuilt from a region's log alone.
    Log {
        /// Which region's.
        region: String,
    },
}

/// What stood somewhere in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// Where.
    pub place: Place,
    /// Of which document.
    pub document: String,
    /// The text.
    pub text: String,
    /// What it covers: the highest counter of each site; `None` where that cannot be asked.
    pub vector: Option<BTreeMap<String, u64>>,
}

/// What a region's log holds of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Whose log.
    pub region: String,
    /// Of which document.
    pub document: String,
    /// Counters of each site.
    pub counters: BTreeMap<String, Ranges>,
}
