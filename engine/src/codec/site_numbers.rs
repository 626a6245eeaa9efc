//! The sites a delta names, numbered in the order they come.

use smallvec::SmallVec;

use crate::id::SiteId;
use crate::sorted_map::SortedMap;

/// How many sites are looked for one by one: a delta seldom names more.
const LISTED: usize = 16;

/// Sites by number and numbers by site. Both ways O(log s) at worst, s = sites, whatever a stranger sends.
#[derive(Debug)]
pub(super) struct SiteNumbers {
    sites: SmallVec<[SiteId; 4]>,
    /// Those behind the first [`LISTED`].
    later: SortedMap<SiteId, usize>,
}

impl SiteNumbers {
    /// The numbers of a delta of `site`, which is number 0.
    pub(super) fn of(site: SiteId) -> Self {
        Self { sites: SmallVec::from_slice(&[site]), later: SortedMap::new() }
    }

    /// The site the delta is of.
    pub(super) fn own(&self) -> SiteId {
        self.sites[0]
    }

    pub(super) fn len(&self) -> usize {
        self.sites.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<SiteId> {
        self.sites.get(number).copied()
    }

    pub(super) fn number(&self, site: SiteId) -> Option<usize> {
        let listed = self.sites.iter().take(LISTED).position(|known| *known == site);
        listed.or_else(|| self.later.get(&site).copied())
    }

    /// Gives the next number to a site that has none.
    pub(super) fn add(&mut self, site: SiteId) {
        if self.sites.len() >= LISTED {
            self.later.insert(site, self.sites.len());
        }
        self.sites.push(site);
    }
}
