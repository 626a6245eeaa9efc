//! The sites of a state, numbered: those of its vector in order, then those that only paths name, in order.

use super::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::SiteId;
use crate::state::StateDiff;
use crate::vector::VersionVector;

/// Sites by number and numbers by site: O(1) and O(log s), s = sites.
#[derive(Clone, Debug)]
pub(super) struct Sites {
    all: Vec<SiteId>,
    /// How many of them the vector has.
    covered: usize,
}

impl Sites {
    pub(super) fn of(diff: &StateDiff) -> Self {
        let mut extra = Vec::new();
        for group in &diff.groups {
            if extra.last() != Some(&group.site) && diff.vector.get(group.site) == 0 {
                extra.push(group.site);
            }
        }
        extra.sort_unstable();
        extra.dedup();
        Self::new(&diff.vector, extra)
    }

    fn new(vector: &VersionVector, extra: Vec<SiteId>) -> Self {
        let mut all = Vec::with_capacity(vector.len() + extra.len());
        all.extend(vector.iter().map(|entry| entry.0));
        all.extend(extra);
        Self { all, covered: vector.len() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<SiteId> {
        usize::try_from(number).ok().and_then(|number| self.all.get(number)).copied()
    }

    /// The number of a site that has one.
    pub(super) fn number(&self, site: SiteId) -> usize {
        let (covered, extra) = self.all.split_at(self.covered);
        let number = covered.binary_search(&site);
        number.or_else(|_| extra.binary_search(&site).map(|number| self.covered + number)).unwrap_or_default()
    }

    pub(super) fn has_extra(&self) -> bool {
        self.all.len() > self.covered
    }

    /// Those that the vector does not have: `count { site }*`.
    pub(super) fn write_extra(&self, writer: &mut Writer) {
        let extra = &self.all[self.covered..];
        writer.varint(extra.len() as u64);
        extra.iter().for_each(|site| writer.varint(site.get()));
    }

    /// Reads those that the vector does not have, of which one at least is told if `extra` says so.
    pub(super) fn read(vector: &VersionVector, extra: bool, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = if extra { reader.count(1)? } else { 0 };
        if extra && count == 0 {
            return Err(DecodeError::NotCanonical);
        }
        let mut sites: Vec<SiteId> = Vec::with_capacity(count);
        for _ in 0..count {
            let site = reader.site()?;
            if vector.get(site) != 0 || sites.last().is_some_and(|&last| last >= site) {
                return Err(DecodeError::Order);
            }
            sites.push(site);
        }
        Ok(Self::new(vector, sites))
    }
}
