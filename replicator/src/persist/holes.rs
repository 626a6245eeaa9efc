//! Holes that were seen, and when one may be closed: so long after every region was heard that nobody is left to fill it.

use std::collections::BTreeMap;

use selvedge_engine::SiteId;
use selvedge_protocol::Instant;
use selvedge_region::DocumentKey;
use selvedge_region::fold::Hole;

/// Holes that are remembered; more are found again by the next snapshots.
const HOLES_MAX: usize = 10_000;

struct Seen {
    hole: Hole,
    /// When every region was heard first after the hole was seen.
    heard: Option<Instant>,
}

/// The holes of all documents.
#[derive(Default)]
pub(super) struct Holes {
    seen: BTreeMap<(DocumentKey, SiteId), Seen>,
}

impl Holes {
    /// The holes a document has now: those that filled are forgotten.
    pub(super) fn update(&mut self, key: &DocumentKey, holes: &[Hole]) {
        self.seen.retain(|(document, _), seen| {
            document != key || holes.iter().any(|hole| hole.first == seen.hole.first && hole.site == seen.hole.site)
        });
        for hole in holes {
            let place = (key.clone(), hole.site);
            if let Some(seen) = self.seen.get_mut(&place) {
                seen.hole = *hole;
            } else if self.seen.len() < HOLES_MAX {
                self.seen.insert(place, Seen { hole: *hole, heard: None });
            }
        }
    }

    /// Every region was heard now.
    pub(super) fn heard(&mut self, now: Instant) {
        for seen in self.seen.values_mut() {
            seen.heard.get_or_insert(now);
        }
    }

    /// The holes to close now. Each is given once; one that stays open is given again as late.
    pub(super) fn take_due(&mut self, now: Instant, hole_ms: u64) -> Vec<(DocumentKey, Hole)> {
        let mut due = Vec::new();
        for ((key, _), seen) in &mut self.seen {
            if seen.heard.is_some_and(|heard| now.since(heard) >= hole_ms) {
                seen.heard = None;
                due.push((key.clone(), seen.hole));
            }
        }
        due
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }
}
