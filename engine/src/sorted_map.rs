//! The ordered map of the engine and the protocol: short lists in a list.
//!
//! ```text
//! lists   [ (k, v) (k, v) .. ]  [ (k, v) .. ]  ..      none empty, each at most 128 long, all in key order
//! ```
//!
//! A tree would do the same. Its code is made anew for each kind of key and value, and that of this map is a fraction of it, which counts
//! where the code is fetched before anything is shown. What a stranger's keys can cost stays small all the same.

use core::borrow::Borrow;

/// Entries of a list at most.
const LIST_MAX: usize = 128;

/// A map in key order. Looking up is O(log n); inserting and removing move a list's entries behind the place, 128 at most, and when a list is
/// divided or let go the lists behind it: O(log n + n / 128²) amortised, n = entries inserted so far.
///
/// ```
/// use selvedge_engine::SortedMap;
///
/// let map: SortedMap<u8, &str> = [(3, "weft"), (1, "warp")].into_iter().collect();
/// assert_eq!(map.floor(&2), Some((&1, &"warp")));
/// assert!(map.iter().map(|(key, _)| *key).eq([1, 3]));
/// ```
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    /// None is empty.
    lists: Vec<Vec<(K, V)>>,
    length: usize,
}

/// The place of an entry: its list, and where it is in that.
pub(crate) type Place = (usize, usize);

impl<K, V> SortedMap<K, V> {
    /// A map without entries.
    pub const fn new() -> Self {
        Self { lists: Vec::new(), length: 0 }
    }

    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes all entries out.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { lists: &self.lists, at: 0 }
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries in order, their values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.lists.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// Keeps the entries that `wanted` says yes to.
    pub fn retain(&mut self, mut wanted: impl FnMut(&K, &mut V) -> bool) {
        for list in &mut self.lists {
            list.retain_mut(|(key, value)| wanted(key, value));
        }
        self.lists.retain(|list| !list.is_empty());
        self.length = self.lists.iter().map(Vec::len).sum();
    }

    /// Bytes it holds on the heap, those of keys and values themselves not among them.
    pub fn heap_bytes(&self) -> usize {
        let entries: usize = self.lists.iter().map(Vec::capacity).sum();
        self.lists.capacity() * size_of::<Vec<(K, V)>>() + entries * size_of::<(K, V)>()
    }

    /// The entry at a place, if there is one.
    pub(crate) fn at(&self, (list, at): Place) -> Option<(&K, &V)> {
        self.lists.get(list)?.get(at).map(|(key, value)| (key, value))
    }

    /// The same, its value to be changed.
    pub(crate) fn at_mut(&mut self, (list, at): Place) -> Option<(&K, &mut V)> {
        self.lists.get_mut(list)?.get_mut(at).map(|(key, value)| (&*key, value))
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (list, at) = self.find(key).ok()?;
        Some(&self.lists[list][at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (list, at) = self.find(key).ok()?;
        Some(&mut self.lists[list][at].1)
    }

    /// Whether a key has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Gives a key a value in the place of the one it had, which is answered.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((list, at)) => Some(core::mem::replace(&mut self.lists[list][at].1, value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    /// The value of a key, one that is made if it had none.
    pub fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (list, at) = match self.find(&key) {
            Ok(place) => place,
            Err(place) => self.insert_at(place, key, make()),
        };
        &mut self.lists[list][at].1
    }

    /// Takes the entry of a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (list, at) = self.find(key).ok()?;
        let (_, value) = self.lists[list].remove(at);
        self.length -= 1;
        if self.lists[list].is_empty() {
            self.lists.remove(list);
        }
        Some(value)
    }

    /// The last entry whose key is not above `key`.
    pub fn floor(&self, key: &K) -> Option<(&K, &V)> {
        let (list, at) = self.floor_place(key)?;
        self.at((list, at))
    }

    /// The place of that entry: O(1) if it is `near`.
    pub(crate) fn floor_near(&self, key: &K, near: Place) -> Option<Place> {
        let is_floor = || {
            let next = self.at((near.0, near.1 + 1)).or_else(|| self.at((near.0 + 1, 0)));
            self.at(near).is_some_and(|(found, _)| found <= key) && next.is_none_or(|(next, _)| next > key)
        };
        if is_floor() { Some(near) } else { self.floor_place(key) }
    }

    /// The last entry whose key is below `key`.
    pub fn below(&self, key: &K) -> Option<(&K, &V)> {
        let (Ok(place) | Err(place)) = self.find(key);
        self.at(self.before(place)?)
    }

    /// The first entry whose key is not below `key`.
    pub fn ceiling(&self, key: &K) -> Option<(&K, &V)> {
        self.from(key).next()
    }

    /// The entries from the first on whose key is not below `key`.
    pub fn from(&self, key: &K) -> Iter<'_, K, V> {
        let (Ok((list, at)) | Err((list, at))) = self.find(key);
        Iter { lists: self.lists.get(list..).unwrap_or_default(), at }
    }

    fn floor_place(&self, key: &K) -> Option<Place> {
        self.find(key).map_or_else(|place| self.before(place), Some)
    }

    fn before(&self, (list, at): Place) -> Option<Place> {
        match at.checked_sub(1) {
            Some(at) => Some((list, at)),
            None => list.checked_sub(1).map(|list| (list, self.lists[list].len() - 1)),
        }
    }

    /// Where a key is, or where it would be inserted: never at the beginning of a list behind another.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        let list = self.lists.partition_point(|list| list[0].0.borrow() <= key).saturating_sub(1);
        let Some(entries) = self.lists.get(list) else { return Err((0, 0)) };
        let place = |at| (list, at);
        entries.binary_search_by(|entry| entry.0.borrow().cmp(key)).map(place).map_err(place)
    }

    fn insert_at(&mut self, (mut list, mut at): Place, key: K, value: V) -> Place {
        self.length += 1;
        let lists = self.lists.len();
        match self.lists.get_mut(list) {
            None => self.lists.push(Vec::new()),
            Some(entries) if entries.len() == LIST_MAX => {
                // What comes in order leaves full lists behind.
                let half = if (list + 1, at) == (lists, LIST_MAX) { LIST_MAX } else { LIST_MAX / 2 };
                let upper = entries.split_off(half);
                self.lists.insert(list + 1, upper);
                if at >= half {
                    (list, at) = (list + 1, at - half);
                }
            }
            Some(_) => {}
        }
        self.lists[list].insert(at, (key, value));
        (list, at)
    }

    /// Checks that the lists are in order and keep their limits.
    ///
    /// # Panics
    /// If not.
    pub fn assert_invariants(&self) {
        assert!(self.lists.iter().all(|list| (1..=LIST_MAX).contains(&list.len())), "a list has 1 to 128 entries");
        assert!(self.keys().zip(self.keys().skip(1)).all(|(a, b)| a < b), "a map is in order");
        assert_eq!(self.keys().count(), self.length, "a map knows how much it has");
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// Two maps are equal if their entries are, however they are divided.
impl<K: PartialEq, V: PartialEq> PartialEq for SortedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SortedMap<K, V> {}

impl<K: Ord, V> Extend<(K, V)> for SortedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    /// Of several values for one key the last one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = core::iter::Flatten<std::vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.lists.into_iter().flatten()
    }
}

impl<'a, K, V> IntoIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

/// Entries of a [`SortedMap`] in order.
#[derive(Clone, Debug)]
pub struct Iter<'a, K, V> {
    lists: &'a [Vec<(K, V)>],
    /// Where in the first list.
    at: usize,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.lists.first()?.len() {
            (self.lists, self.at) = (&self.lists[1..], 0);
        }
        let (key, value) = self.lists.first()?.get(self.at)?;
        self.at += 1;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(steps in prop::collection::vec((0_u16..600, 0_u8..9), 0..1500)) {
            let (mut map, mut tree, mut near_to) = (SortedMap::new(), BTreeMap::new(), (0, 0));
            for (step, (key, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    1 => *map.or_insert_with(key, || 0) += 1,
                    _ => prop_assert_eq!(map.insert(key, step), tree.insert(key, step)),
                }
                if what == 1 {
                    *tree.entry(key).or_insert(0) += 1;
                }
                prop_assert_eq!(map.get(&key), tree.get(&key));
                prop_assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert_eq!(map.floor(&key), tree.range(..=key).next_back());
                prop_assert_eq!(map.below(&key), tree.range(..key).next_back());
                prop_assert_eq!(map.ceiling(&key), tree.range(key..).next());
                let near = map.floor_near(&key, near_to).inspect(|&place| near_to = place);
                prop_assert_eq!(near.and_then(|place| map.at_mut(place)).map(|(key, value)| (*key, *value)), map.floor(&key).map(|(key, value)| (*key, *value)));
            }
            map.assert_invariants();
            prop_assert!(map.iter().eq(&tree));
            prop_assert!(map.from(&300).eq(tree.range(300..)));
            prop_assert_eq!(&tree.iter().map(|(key, value)| (*key, *value)).collect::<SortedMap<_, _>>(), &map);
            let odd = |_: &u16, value: &mut usize| *value % 2 == 1;
            map.retain(odd);
            tree.retain(odd);
            map.assert_invariants();
            map.iter_mut().for_each(|(_, value)| *value += 1);
            tree.values_mut().for_each(|value| *value += 1);
            prop_assert!(map.into_iter().eq(tree));
        }
    }

    #[test]
    fn what_comes_in_order_leaves_full_lists() {
        let map: SortedMap<usize, ()> = (0..10 * LIST_MAX).map(|key| (key, ())).collect();
        map.assert_invariants();
        assert_eq!(map.lists.len(), 10);
    }
}
