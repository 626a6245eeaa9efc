//! What a run, and what many runs, came to.

use std::collections::BTreeMap;
use std::fmt;

use super::fault::FaultCounts;

/// The invariants of the design that a run checks, by their numbers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// I1: acked operations survive what their level promises.
    NoLoss,
    /// I2: replaying anything in any order changes nothing.
    ReplayProof,
    /// I3: equal vectors mean equal state, and the state is what was written.
    Convergence,
    /// I4: an advertised vector has no holes.
    NoHoles,
    /// I5: one chain of epochs, one process that decides.
    OneChain,
    /// I8: no refusal, close or error that nothing explains.
    ClearErrors,
    /// I9: acks never go back.
    MonotoneAcks,
    /// I10: users always see their own text.
    OwnText,
    /// I11: faults end, the backlog drains.
    Drained,
    /// I12: a snapshot is the fold of the log.
    SnapshotIsFold,
    /// No dot ever has two contents.
    OneContent,
    /// What the patches make of the editor's text is the document's text.
    Patches,
    /// A machine's own assertion failed, or it panicked.
    Sound,
    /// One seed, one story.
    Deterministic,
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoLoss => "I1 no acked operation lost",
            Self::ReplayProof => "I2 replay-proof",
            Self::Convergence => "I3 equal vectors, equal state",
            Self::NoHoles => "I4 no hole advertised",
            Self::OneChain => "I5 one chain of epochs",
            Self::ClearErrors => "I8 every refusal explained",
            Self::MonotoneAcks => "I9 acks never go back",
            Self::OwnText => "I10 own text always visible",
            Self::Drained => "I11 faults end, backlog drains",
            Self::SnapshotIsFold => "I12 snapshot = fold(log)",
            Self::OneContent => "no dot with two contents",
            Self::Patches => "patches lead to the text",
            Self::Sound => "assertions of the machines",
            Self::Deterministic => "one seed, one story",
        })
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was found.
    pub detail: String,
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
}

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hash of the whole story.
    pub hash: u64,
    /// Virtual time that passed.
    pub simulated_ms: u64,
    /// Events handled.
    pub events: u64,
    /// Counts of what the workload did and how far it came.
    pub figures: BTreeMap<&'static str, u64>,
    /// The faults suffered.
    pub faults: FaultCounts,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// The last lines of the story, when an invariant did not hold.
    pub tail: Vec<String>,
    /// Arguments beside the seed that replay this run.
    pub arguments: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.violation {
            None => write!(
                formatter,
                "seed {}: held; hash {:016x}, {} events, {} faults",
                self.seed,
                self.hash,
                self.events,
                self.faults.total()
            ),
            Some(violation) => {
                writeln!(formatter, "seed {}: VIOLATED {} at {} ms", self.seed, violation.invariant, violation.at_ms)?;
                writeln!(formatter, "  {}", violation.detail)?;
                writeln!(formatter, "the last of what happened:")?;
                for line in &self.tail {
                    writeln!(formatter, "  {line}")?;
                }
                write!(formatter, "replay with: cargo xtask sim --seed {}{}", self.seed, self.arguments)
            }
        }
    }
}
