//! Failover: which region holds the control plane, and what has to happen when that changes.
//!
//! The lease is one item in a witness, in a third place. [`Failover`] decides (instants in, effects out) when to renew it, when
//! it has run out, when enough observers agree that it has, and when to take it; [`FailoverTask`] speaks to the witness and
//! carries out a [`promotion`]. Every taking begins a new epoch, the fencing token of every decision of the control plane.
//!
//! No clock is compared with another one: whoever holds the lease counts from before it asked for it, whoever waits for its
//! end counts from when it saw it last move, each on its own monotonic clock. So the holder has always stopped before anybody
//! else begins. Operations need none of this: every region takes them at any time.

mod machine;
pub mod promotion;
mod task;
pub mod witness;

use selvedge_protocol::Instant;

pub use machine::Failover;
pub use task::{Drain, FailoverTask, Standing};

/// The lease as the witness keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The control plane's epoch: grows by one each time the lease changes hands.
    pub epoch: u64,
    /// The region that holds it.
    pub region: String,
    /// The process of that region that renews it; 0: the lease was handed over and nobody there has taken it up yet.
    pub process: u64,
    /// Grows with every write: whoever sees it stand still for the lease's time knows that it has run out.
    pub renewal: u64,
    /// When it last went to another region without being planned, in milliseconds of wall time.
    pub promoted_ms: u64,
    /// The last order that was carried out.
    pub order: u64,
}

impl Lease {
    /// What a conditional write compares.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { epoch: self.epoch, renewal: self.renewal }
    }
}

/// Names one state of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The epoch.
    pub epoch: u64,
    /// The renewal.
    pub renewal: u64,
}

/// What one observer says, kept in the witness for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Names the observer.
    pub observer: String,
    /// Grows with every look, so that one that died is told from one that agrees.
    pub beat: u64,
    /// The state of the lease that it has seen run out.
    pub suspects: Option<Stamp>,
}

/// What a person has ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Grows by one with every order.
    pub id: u64,
    /// The region that is to hold the control plane.
    pub to: String,
}

/// Everything the witness knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The lease; `None`: nobody ever held it.
    pub lease: Option<Lease>,
    /// What the observers say.
    pub observations: Vec<Observation>,
    /// The newest order.
    pub order: Option<Order>,
}

/// How failover works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverConfig {
    /// This region's name.
    pub region: String,
    /// Names this process among all of all regions; not 0.
    pub process: u64,
    /// Names it for people, and among the observers.
    pub observer: String,
    /// Whether this process may take the lease; one that may not only observes.
    pub candidate: bool,
    /// Whether this region takes a lease that nobody ever held.
    pub home: bool,
    /// How long a lease holds after it was asked for, in milliseconds.
    pub ttl_ms: u64,
    /// How much earlier its holder stops, in milliseconds: for clocks that do not run alike.
    pub margin_ms: u64,
    /// How often the holder renews it, in milliseconds.
    pub renew_ms: u64,
    /// How often everybody looks, in milliseconds.
    pub look_ms: u64,
    /// How many observers have to agree that it has run out before another region takes it,
    pub agree_count: usize,
    /// and for how long, in milliseconds.
    pub agree_ms: u64,
    /// The shortest time between two promotions that nobody ordered, in milliseconds.
    pub promotion_pause_ms: u64,
    /// How long a handing over may wait for the other region to have everything, in milliseconds.
    pub drain_ms: u64,
}

impl FailoverConfig {
    /// The rhythms of production for a process of that region.
    #[must_use]
    pub fn new(region: String, process: u64) -> Self {
        Self {
            observer: format!("{region}/{process:016x}"),
            region,
            process,
            candidate: true,
            home: false,
            ttl_ms: 6_000,
            margin_ms: 1_000,
            renew_ms: 2_000,
            look_ms: 500,
            agree_count: 2,
            agree_ms: 5_000,
            promotion_pause_ms: 10 * 60 * 1000,
            drain_ms: 30_000,
        }
    }
}

/// What failover is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The witness was read.
    Looked {
        /// What it knows.
        view: View,
        /// Milliseconds of wall time, for the pause between promotions and for nothing else.
        wall_ms: u64,
    },
    /// The witness did not answer a look.
    LookFailed,
    /// A write to the lease was answered.
    Wrote {
        /// What was written.
        lease: Lease,
        /// When it was asked for.
        asked: Instant,
        /// What came of it.
        outcome: Outcome,
    },
    /// The other region has everything that the control plane needs there; answers [`Effect::Drain`].
    Drained,
    /// Time passes.
    Tick,
}

/// What came of a write to the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It stands.
    Done,
    /// The lease had changed: it does not stand.
    Conflict,
    /// Nobody knows: the witness did not answer.
    Unknown,
}

/// What failover asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the witness; answered by [`Event::Looked`] or [`Event::LookFailed`].
    Look,
    /// Tell the other observers. No answer.
    Observe(Observation),
    /// Write the lease if it still is what `expected` names; answered by [`Event::Wrote`].
    Write {
        /// What it has to be before; `None`: not there.
        expected: Option<Stamp>,
        /// What it is to be.
        lease: Lease,
    },
    /// This process holds the control plane from now on, in this epoch: make it so.
    Began {
        /// The epoch.
        epoch: u64,
    },
    /// This process does not hold the control plane any more: decide nothing from now on.
    Ended {
        /// The epoch that ended here.
        epoch: u64,
    },
    /// Wait until the other region has everything; answered by [`Event::Drained`].
    Drain {
        /// The region that is to hold the control plane.
        to: String,
    },
}
