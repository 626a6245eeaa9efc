//! Version vectors: the highest contiguous counter seen per site.

use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::hash::digest64;
use crate::id::{COUNTER_END, Dot, SiteId};

/// Per site the highest counter up to which everything is known. Sites at 0 are absent.
///
/// A sorted array: look-up O(log s), a new site O(s), a join O(s), s = number of sites.
///
/// ```
/// use selvedge_engine::{Dot, SiteId, VersionVector};
///
/// let (a, b) = (SiteId::leased(0, 1), SiteId::leased(0, 2));
/// let mut vector = VersionVector::new();
/// vector.advance(a, 3);
/// assert!(vector.covers(Dot::new(a, 3)) && !vector.covers(Dot::new(b, 1)));
/// assert_eq!(VersionVector::decode(&vector.encode()), Ok(vector));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionVector {
    /// Sorted by site; counters at least 1.
    entries: Vec<(SiteId, u64)>,
}

impl VersionVector {
    /// The vector that covers nothing.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The highest counter covered of `site`; 0 if none.
    pub fn get(&self, site: SiteId) -> u64 {
        self.find(site).map_or(0, |index| self.entries[index].1)
    }

    /// Sets `site`'s counter, downwards too; 0 removes the entry.
    pub fn set(&mut self, site: SiteId, counter: u64) {
        match (self.find(site), counter) {
            (Ok(index), 0) => {
                self.entries.remove(index);
            }
            (Ok(index), _) => self.entries[index].1 = counter,
            (Err(_), 0) => {}
            (Err(index), _) => self.entries.insert(index, (site, counter)),
        }
    }

    /// Raises `site`'s counter to `counter` if it is lower.
    pub fn advance(&mut self, site: SiteId, counter: u64) {
        match self.find(site) {
            Ok(index) => self.entries[index].1 = self.entries[index].1.max(counter),
            Err(index) => self.add(index, site, counter),
        }
    }

    /// A site's first counter.
    // Apart from `advance`, which every edit calls.
    #[cold]
    #[inline(never)]
    fn add(&mut self, index: usize, site: SiteId, counter: u64) {
        if counter > 0 {
            self.entries.insert(index, (site, counter));
        }
    }

    /// Whether `dot` is covered.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.site)
    }

    /// Takes the greater counter of both for every site.
    pub fn join(&mut self, other: &Self) {
        let mine = core::mem::take(&mut self.entries);
        self.entries.reserve(mine.len().max(other.entries.len()));
        let mut theirs = other.entries.iter().copied().peekable();
        for (site, counter) in mine {
            while let Some(entry) = theirs.next_if(|entry| entry.0 < site) {
                self.entries.push(entry);
            }
            let also = theirs.next_if(|entry| entry.0 == site).map_or(0, |entry| entry.1);
            self.entries.push((site, counter.max(also)));
        }
        self.entries.extend(theirs);
    }

    /// Whether it covers everything `other` covers.
    pub fn dominates(&self, other: &Self) -> bool {
        let mut mine = self.entries.iter().peekable();
        other.entries.iter().all(|&(site, counter)| {
            while mine.next_if(|entry| entry.0 < site).is_some() {}
            mine.peek().is_some_and(|entry| entry.0 == site && entry.1 >= counter)
        })
    }

    /// Its entries in site order.
    pub fn iter(&self) -> impl Iterator<Item = (SiteId, u64)> + '_ {
        self.entries.iter().copied()
    }

    /// How many sites it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its canonical bytes: `count`, then per site in order the difference to the site before (the first in full; later
    /// ones less 1) and the counter, all varints. 10,000 leased sites take 20 to 30 kB, random ones 80 to 95 kB, the more the higher
    /// their counters are; as much in a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let vector = Self::read(&mut reader)?;
        reader.end()?;
        Ok(vector)
    }

    /// A hash to compare vectors by without sending them; 0 for the empty vector, else the first eight bytes of SHA-256
    /// over the canonical bytes (0 becomes 1).
    pub fn hash(&self) -> u64 {
        if self.is_empty() { 0 } else { digest64(&[&self.encode()]).max(1) }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.varint(self.entries.len() as u64);
        let mut next = 0;
        for &(site, counter) in &self.entries {
            writer.varint(site.get() - next);
            writer.varint(counter);
            next = site.get().wrapping_add(1);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(2)?;
        let mut entries = Vec::with_capacity(count);
        let mut next = Some(0_u64);
        for _ in 0..count {
            let difference = reader.varint()?;
            let bits = next.and_then(|next| next.checked_add(difference)).ok_or(DecodeError::Site)?;
            let site = SiteId::new(bits);
            if !site.is_valid() {
                return Err(DecodeError::Site);
            }
            entries.push((site, reader.counter()?));
            next = bits.checked_add(1);
        }
        Ok(Self { entries })
    }

    fn find(&self, site: SiteId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&site, |entry| entry.0)
    }
}

impl FromIterator<(SiteId, u64)> for VersionVector {
    /// The vector with these entries; of several for one site the greatest counts.
    fn from_iter<I: IntoIterator<Item = (SiteId, u64)>>(entries: I) -> Self {
        let mut vector = Self::new();
        for (site, counter) in entries {
            vector.advance(site, counter.min(COUNTER_END - 1));
        }
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> impl Strategy<Value = VersionVector> {
        prop::collection::vec((0u32..6, 1u64..5), 0..6)
            .prop_map(|entries| entries.into_iter().map(|(site, counter)| (SiteId::leased(0, site), counter)).collect())
    }

    fn joined(a: &VersionVector, b: &VersionVector) -> VersionVector {
        let mut result = a.clone();
        result.join(b);
        result
    }

    proptest! {
        #[test]
        fn join_is_a_least_upper_bound(a in vectors(), b in vectors(), c in vectors()) {
            let ab = joined(&a, &b);
            prop_assert_eq!(&ab, &joined(&b, &a));
            prop_assert_eq!(joined(&ab, &c), joined(&a, &joined(&b, &c)));
            prop_assert_eq!(&joined(&a, &a), &a);
            prop_assert!(ab.dominates(&a) && ab.dominates(&b));
            prop_assert_eq!(a.dominates(&b), joined(&a, &b) == a);
        }

        #[test]
        fn bytes_are_canonical(a in vectors(), noise in prop::collection::vec(any::<u8>(), 0..24)) {
            prop_assert_eq!(VersionVector::decode(&a.encode()), Ok(a));
            if let Ok(vector) = VersionVector::decode(&noise) {
                prop_assert_eq!(vector.encode(), noise);
            }
        }
    }

    #[test]
    fn ten_thousand_leased_sites_fit_in_30_kilobytes() {
        let vector: VersionVector = (0..10_000).map(|index| (SiteId::leased(0, index), 100)).collect();
        assert!(vector.encode().len() <= 30_000);
    }

    #[test]
    fn the_empty_vector_hashes_to_zero() {
        assert_eq!(VersionVector::new().hash(), 0);
        assert_ne!([(SiteId::leased(0, 1), 1)].into_iter().collect::<VersionVector>().hash(), 0);
    }
}
