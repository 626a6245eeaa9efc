//! What holds a region under load up, by what was measured beside it: whoever typed, the processor, the log, the relays, or
//! what comes behind the log.

use std::fmt;

/// Of the machine's processors so much in use leaves nothing for whoever wants more.
const BUSY: f64 = 0.9;
/// Of what is used so much has to be the deployment's own before it counts as what uses the machine up.
const OWN: f64 = 0.8;
/// Less of something than this is too little of it.
const NEARLY_ALL: f64 = 0.95;
/// Who types so much less than it would has no time for more.
const HELD_UP: f64 = 0.9;
/// Of the writes that may be on their way so many on their way all the time leave no room for more.
const FULL: f64 = 0.8;
/// The part of an ack's time from which on a stage is what it waits for.
const MOST: f64 = 0.5;

/// What was seen of a region under load.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Edits a second that the clients would make if nothing held them up.
    pub offered_per_s: f64,
    /// Edits a second that they made.
    pub typed_per_s: f64,
    /// Edits a second that were acked while they typed.
    pub acked_per_s: f64,
    /// From an edit to its ack, the median, in milliseconds.
    pub ack_ms: f64,
    /// From a relay's append to the log's confirmation, the mean, in milliseconds.
    pub append_ms: f64,
    /// Processors of the machine.
    pub cores: f64,
    /// Of them in use, by anybody.
    pub busy: f64,
    /// Of them in use by each process of the deployment, greatest first.
    pub shares: Vec<(String, f64)>,
    /// Of the records appended while they typed, the part that persist had read by then.
    pub read_share: f64,
    /// One write to the op store, the mean, in milliseconds.
    pub write_ms: f64,
    /// Of the writes to the op store that may be on their way at one time, the part that was, on the average.
    pub writes_share: f64,
}

/// What holds it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bottleneck {
    /// The machine's processors, which the deployment uses up.
    Processor,
    /// The machine's processors, which others use.
    Others,
    /// The process of all clients, which cannot type as fast as it would.
    Typists,
    /// What the clients type: all of it went through in time.
    Offered,
    /// The log.
    Log,
    /// The relays, before and after the log.
    Relays,
    /// What comes behind the log: reading it, and writing to the op store.
    OpStore,
}

impl Bottleneck {
    /// The one that was seen.
    #[must_use]
    pub fn of(seen: &Observed) -> Self {
        let used: f64 = seen.shares.iter().map(|(_, share)| share).sum();
        if seen.busy >= BUSY * seen.cores {
            return if used >= OWN * seen.busy { Self::Processor } else { Self::Others };
        }
        if seen.acked_per_s < NEARLY_ALL * seen.typed_per_s {
            return if seen.append_ms >= MOST * seen.ack_ms { Self::Log } else { Self::Relays };
        }
        if seen.writes_share >= FULL || seen.read_share < NEARLY_ALL {
            return Self::OpStore;
        }
        if seen.typed_per_s < HELD_UP * seen.offered_per_s { Self::Typists } else { Self::Offered }
    }
}

/// What holds it up, with the figures that say so.
impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered_per_s, typed_per_s, acked_per_s, ack_ms, append_ms, cores, busy, write_ms, .. } = self;
        let used: f64 = self.shares.iter().map(|(_, share)| share).sum();
        let (most, share) = self.shares.first().map_or(("nobody", 0.0), |(name, share)| (name.as_str(), *share));
        let [reads, writes] = [self.read_share, self.writes_share].map(|share| share * 100.0);
        let found = Bottleneck::of(self);
        match found {
            Bottleneck::Processor => {
                write!(
                    f,
                    "the processor: {busy:.2} of {cores} cores are in use, {used:.2} by this deployment, {most} most with {share:.2}"
                )
            }
            Bottleneck::Others => {
                write!(
                    f,
                    "others on this machine: {busy:.2} of {cores} cores are in use, only {used:.2} by this deployment"
                )
            }
            Bottleneck::Typists => write!(
                f,
                "the clients' own process: it made {typed_per_s:.0} of {offered_per_s:.0} edits/s with {busy:.2} of {cores} cores in use"
            ),
            Bottleneck::Offered => write!(
                f,
                "the offered load: all {typed_per_s:.0} edits/s went through, {busy:.2} of {cores} cores are in use, an append takes \
                 {append_ms:.1} ms, {writes:.0} % of the writes to the op store are on their way"
            ),
            Bottleneck::Log => write!(
                f,
                "the log: {acked_per_s:.0} of {typed_per_s:.0} edits/s were acked, and of {ack_ms:.1} ms to an ack an append takes \
                 {append_ms:.1} ms"
            ),
            Bottleneck::Relays => write!(
                f,
                "the relays: {acked_per_s:.0} of {typed_per_s:.0} edits/s were acked, and of {ack_ms:.1} ms to an ack an append takes \
                 only {append_ms:.1} ms"
            ),
            Bottleneck::OpStore => write!(
                f,
                "the op store, behind the log: persist has read {reads:.0} % of what was appended, a write takes {write_ms:.1} ms, and \
                 {writes:.0} % of the writes that may be are on their way"
            ),
        }?;
        // Of two that are at their end at once the second is told, too.
        if self.writes_share >= FULL && found != Bottleneck::OpStore {
            write!(
                f,
                "; behind the log {writes:.0} % of the writes to the op store are on their way, each for {write_ms:.1} ms"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bottleneck, Observed};

    /// All that was offered went through, on an idle machine.
    fn easy() -> Observed {
        Observed {
            offered_per_s: 1_000.0,
            typed_per_s: 980.0,
            acked_per_s: 975.0,
            ack_ms: 12.0,
            append_ms: 5.0,
            cores: 4.0,
            busy: 1.0,
            shares: vec![("relay-a1".to_owned(), 0.5), ("a-kafka".to_owned(), 0.3)],
            read_share: 0.99,
            write_ms: 8.0,
            writes_share: 0.1,
        }
    }

    #[track_caller]
    fn check(seen: Observed, expected: Bottleneck, words: &[&str]) {
        assert_eq!(Bottleneck::of(&seen), expected, "{seen}");
        for word in words {
            assert!(seen.to_string().contains(word), "{word:?} is missing in: {seen}");
        }
    }

    #[test]
    fn each_is_told_by_its_figures() {
        check(easy(), Bottleneck::Offered, &["the offered load", "980 edits/s", "5.0 ms"]);
        let shares = vec![("a-kafka".to_owned(), 2.2), ("relay-a1".to_owned(), 1.3)];
        check(
            Observed { busy: 3.9, shares, ..easy() },
            Bottleneck::Processor,
            &["3.90 of 4 cores", "a-kafka most with 2.20"],
        );
        let both = Observed { busy: 3.9, shares: vec![("a-dynamodb".to_owned(), 3.5)], writes_share: 0.98, ..easy() };
        check(both, Bottleneck::Processor, &["a-dynamodb most", "behind the log 98 %"]);
        check(Observed { busy: 3.9, ..easy() }, Bottleneck::Others, &["others on this machine", "only 0.80"]);
        check(
            Observed { typed_per_s: 500.0, acked_per_s: 499.0, ..easy() },
            Bottleneck::Typists,
            &["500 of 1000 edits/s"],
        );
        let slow = Observed { acked_per_s: 600.0, ack_ms: 900.0, ..easy() };
        check(Observed { append_ms: 700.0, ..slow.clone() }, Bottleneck::Log, &["the log", "600 of 980", "700.0 ms"]);
        check(Observed { append_ms: 20.0, ..slow }, Bottleneck::Relays, &["the relays", "only 20.0 ms"]);
        check(Observed { writes_share: 0.97, ..easy() }, Bottleneck::OpStore, &["the op store", "97 %", "8.0 ms"]);
        check(Observed { read_share: 0.4, ..easy() }, Bottleneck::OpStore, &["has read 40 %"]);
    }
}
