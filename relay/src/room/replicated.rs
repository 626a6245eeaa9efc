//! What the other region holds too: `logged` paired with positions, and the watermark that passes them.
//!
//! Everything of this region's log below the watermark is durable in the other region. What entered `logged` is paired with
//! one past the highest position of any record in it, own confirmations included: a record is replicated when the watermark
//! has reached its pair, never earlier.

use std::collections::VecDeque;

use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::Position;

/// Pairs kept; later ones are joined to the newest, which only makes its ack a little later.
const PAIRS_MAX: usize = 1024;

/// A part of `logged`, all of whose records lie below an offset.
#[derive(Debug)]
struct Pair {
    offset: u64,
    reached: VersionVector,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Replicated {
    vector: VersionVector,
    /// In the order of their offsets.
    pairs: VecDeque<Pair>,
    /// The log's partition that positions are of, and how far the other region has it, as last told.
    watermark: Position,
}

impl Replicated {
    /// Nothing is known of the other region yet; `logged` pairs with `paired`.
    pub(crate) fn new(logged: &VersionVector, paired: Position) -> Self {
        let mut pairs = VecDeque::new();
        if !logged.is_empty() {
            pairs.push_back(Pair { offset: paired.offset, reached: logged.clone() });
        }
        Replicated { vector: VersionVector::new(), pairs, watermark: Position { offset: 0, ..paired } }
    }

    /// What both regions hold.
    pub(crate) fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// How far the other region has this region's log, as last told; offset 0 while nothing is known.
    pub(crate) fn watermark(&self) -> Position {
        self.watermark
    }

    /// Whether something waits for the watermark.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// The log holds this site up to `counter`; no record of it lies at `paired` or above.
    pub(crate) fn logged(&mut self, site: SiteId, counter: u64, paired: u64) {
        if counter <= self.vector.get(site) {
            return;
        }
        let joined = self.pairs.len() >= PAIRS_MAX;
        match self.pairs.back_mut().filter(|last| joined || last.offset >= paired) {
            Some(last) => {
                last.offset = last.offset.max(paired);
                last.reached.advance(site, counter);
            }
            None => {
                let mut reached = VersionVector::new();
                reached.advance(site, counter);
                self.pairs.push_back(Pair { offset: paired, reached });
            }
        }
    }

    /// The other region holds everything below this, as far as is known now; another log's watermark means nothing. It
    /// may be lower than before: the other region was wiped and is being filled anew.
    pub(crate) fn told(&mut self, watermark: Position) {
        if (watermark.log, watermark.partition) == (self.watermark.log, self.watermark.partition) {
            self.watermark = watermark;
        }
    }

    /// Takes over the pairs that the watermark has reached, and answers the sites that moved.
    pub(crate) fn pass(&mut self) -> Vec<SiteId> {
        let mut moved: Vec<SiteId> = Vec::new();
        while let Some(pair) = self.pairs.pop_front_if(|pair| pair.offset <= self.watermark.offset) {
            for (site, counter) in pair.reached.iter() {
                if counter > self.vector.get(site) {
                    self.vector.advance(site, counter);
                    moved.push(site);
                }
            }
        }
        moved.sort_unstable();
        moved.dedup();
        moved
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::LogId;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { log: LogId(3), partition: 1, offset }
    }

    fn site(number: u32) -> SiteId {
        SiteId::leased(0, number)
    }

    #[test]
    fn a_pair_is_replicated_when_the_watermark_reaches_it() {
        let mut logged = VersionVector::new();
        logged.advance(site(1), 5);
        let mut replicated = Replicated::new(&logged, at(10));
        replicated.logged(site(2), 3, 12);
        replicated.logged(site(1), 7, 15);
        replicated.told(at(9));
        assert!(replicated.pass().is_empty());
        replicated.told(at(12));
        assert_eq!(replicated.pass(), [site(1), site(2)]);
        assert_eq!((replicated.vector().get(site(1)), replicated.vector().get(site(2))), (5, 3));
        replicated.told(Position { log: LogId(4), ..at(99) });
        replicated.told(Position { partition: 0, ..at(99) });
        assert!(replicated.pass().is_empty() && replicated.is_waiting(), "another log's or partition's watermark");
        replicated.told(at(15));
        assert_eq!(replicated.pass(), [site(1)]);
        assert!(!replicated.is_waiting());
    }

    #[test]
    fn a_watermark_that_goes_back_takes_nothing_back_and_gives_nothing_new() {
        let mut replicated = Replicated::new(&VersionVector::new(), at(0));
        replicated.logged(site(1), 1, 1);
        replicated.told(at(1));
        assert_eq!(replicated.pass(), [site(1)]);
        replicated.told(at(0));
        replicated.logged(site(1), 2, 1);
        assert!(replicated.pass().is_empty());
        assert_eq!(replicated.vector().get(site(1)), 1);
    }

    #[test]
    fn pairs_are_bounded_and_joined_ones_wait_for_the_highest() {
        let mut replicated = Replicated::new(&VersionVector::new(), at(0));
        let most = PAIRS_MAX as u64 * 3;
        for counter in 1..=most {
            replicated.logged(site(1), counter, counter);
        }
        assert_eq!(replicated.pairs.len(), PAIRS_MAX);
        replicated.told(at(most - 1));
        replicated.pass();
        assert_eq!(replicated.vector().get(site(1)), PAIRS_MAX as u64 - 1);
        replicated.told(at(most));
        replicated.pass();
        assert_eq!(replicated.vector().get(site(1)), most);
    }
}
