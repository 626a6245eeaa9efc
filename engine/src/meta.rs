//! The small map `meta`: last writer wins, by Lamport clock and site, never by wall time.

use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::{COUNTER_END, SiteId};
use crate::limits::{META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX};
use crate::sorted_map::SortedMap;

/// One write. The greater one wins; the value only decides between writes no honest site makes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) lamport: u64,
    pub(crate) site: SiteId,
    /// `None`: removed. The entry stays, to win over older writes.
    pub(crate) value: Option<Vec<u8>>,
}

/// Keys and their winning writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    entries: SortedMap<String, Entry>,
    /// How often what the map shows has changed: no part of what it is.
    changes: u64,
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Meta {}

impl Meta {
    /// Takes a write in, if it wins.
    pub(crate) fn merge(&mut self, key: &str, entry: Entry) {
        match self.entries.get_mut(key) {
            Some(present) => {
                if *present < entry {
                    self.changes += u64::from(present.value != entry.value);
                    *present = entry;
                }
            }
            None => {
                self.changes += u64::from(entry.value.is_some());
                self.entries.insert(key.to_owned(), entry);
            }
        }
    }

    /// How often what the map shows has changed here.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// The Lamport time of the next write of `key` here: after all there are, or, where a hostile replica has spent the clock, after
    /// that of the key alone. `None` if it has spent that too.
    pub(crate) fn next_lamport(&self, key: &str) -> Option<u64> {
        let mut latest = self.entries.values().map(|entry| entry.lamport).max().unwrap_or(0);
        if latest + 1 == COUNTER_END {
            latest = self.get(key).map_or(0, |entry| entry.lamport);
        }
        (latest + 1 < COUNTER_END).then_some(latest + 1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> + '_ {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// `count { key lamport site present [value] }*`, keys ascending.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.varint(self.entries.len() as u64);
        for (key, entry) in &self.entries {
            writer.blob(key.as_bytes());
            writer.varint(entry.lamport);
            writer.varint(entry.site.get());
            writer.byte(u8::from(entry.value.is_some()));
            if let Some(value) = &entry.value {
                writer.blob(value);
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut meta = Self::default();
        let mut last = None;
        for _ in 0..reader.count(4)? {
            let key = core::str::from_utf8(reader.blob()?).map_err(|_| DecodeError::Text)?;
            if key.len() > META_KEY_BYTES_MAX {
                return Err(DecodeError::TooLarge);
            }
            if last.is_some_and(|last| last >= key) {
                return Err(DecodeError::Order);
            }
            let (lamport, site) = (reader.counter()?, reader.site()?);
            let value = match reader.byte()? {
                0 => None,
                1 => Some(reader.blob()?.to_vec()),
                _ => return Err(DecodeError::NotCanonical),
            };
            if value.as_ref().is_some_and(|value| value.len() > META_VALUE_BYTES_MAX) {
                return Err(DecodeError::TooLarge);
            }
            meta.entries.insert(key.to_owned(), Entry { lamport, site, value });
            last = Some(key);
        }
        Ok(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_count_what_shows() {
        let mut meta = Meta::default();
        let mut write = |lamport, value: Option<&[u8]>| {
            let before = meta.changes();
            meta.merge("title", Entry { lamport, site: SiteId::leased(0, 1), value: value.map(<[u8]>::to_vec) });
            meta.changes() - before
        };
        assert_eq!(write(1, None), 0, "nothing was there, and is not now");
        assert_eq!(write(3, Some(b"warp")), 1);
        assert_eq!(write(2, Some(b"weft")), 0, "older");
        assert_eq!(write(4, Some(b"warp")), 0, "the same again");
        assert_eq!(write(5, None), 1);
        let mut other = Meta::default();
        other.merge("title", Entry { lamport: 5, site: SiteId::leased(0, 1), value: None });
        assert_eq!(meta, other, "however it came to be");
    }
}
