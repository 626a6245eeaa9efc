//! The newest records of each partition, read once for all rooms whose documents lie there.
//!
//! A room looks every two seconds whether the log holds more of its document than it heard of. Without this every look would
//! read all that the partition's other documents wrote meanwhile. Here the partition is read on from where the last look ended, and
//! each room takes its own document's records out of what is kept. A document is not looked for further back than that: who
//! asks from before is answered by a scan of its own.

use std::collections::VecDeque;

/// Bytes kept of a partition, keys included.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What one record is counted for beside its key and value.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// A record as it lies in the partition.
pub(super) struct Kept {
    pub(super) offset: u64,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Kept {
    fn bytes(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.key.len() + self.value.len()
    }
}

/// What was taken out for one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Offset and value.
    pub(super) records: Vec<(u64, Vec<u8>)>,
    /// One past what was looked at.
    pub(super) next: u64,
    /// Whether that is all that is kept.
    pub(super) whole: bool,
}

/// The newest records of one partition: all of those at `from <= offset < next`.
#[derive(Default)]
pub(super) struct Recent {
    from: u64,
    next: u64,
    records: VecDeque<Kept>,
    bytes: usize,
    /// When the partition was last read to its end, counted by whoever reads.
    pub(super) reads: u64,
}

impl Recent {
    /// Whether everything from this offset on is kept, up to [`Recent::next`].
    pub(super) fn reaches(&self, from: u64) -> bool {
        (self.from..=self.next).contains(&from)
    }

    /// Where reading goes on.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Begins anew, at an offset up to which others look for themselves.
    pub(super) fn begin(&mut self, at: u64) {
        *self = Recent { from: at, next: at, reads: self.reads, ..Recent::default() };
    }

    /// Takes what was read from [`Recent::next`] up to `next`.
    pub(super) fn extend(&mut self, records: Vec<Kept>, next: u64) {
        for record in records {
            self.bytes += record.bytes();
            self.records.push_back(record);
        }
        self.next = self.next.max(next);
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.from = oldest.offset + 1;
        }
    }

    /// The records of `key` from an offset on: at most `entries` and about `bytes` of values.
    pub(super) fn take(&self, key: &[u8], from: u64, entries: usize, bytes: usize) -> Taken {
        let mut taken = Taken { records: Vec::new(), next: self.next, whole: true };
        let mut size = 0;
        let begin = self.records.partition_point(|record| record.offset < from);
        for record in self.records.range(begin..).filter(|record| record.key == key) {
            let full = taken.records.len() >= entries || (size > 0 && size + record.value.len() > bytes);
            if full {
                taken.next = record.offset;
                taken.whole = false;
                break;
            }
            size += record.value.len();
            taken.records.push((record.offset, record.value.clone()));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(offset: u64, key: &str, length: usize) -> Kept {
        Kept { offset, key: key.as_bytes().to_vec(), value: vec![offset as u8; length] }
    }

    fn offsets(taken: &Taken) -> Vec<u64> {
        taken.records.iter().map(|(offset, _)| *offset).collect()
    }

    #[test]
    fn each_document_finds_its_own_records_in_pages() {
        let mut recent = Recent::default();
        recent.begin(10);
        recent.extend(vec![kept(10, "a", 5), kept(11, "b", 5), kept(13, "a", 5), kept(14, "a", 5)], 16);
        assert!(recent.reaches(10) && recent.reaches(16) && !recent.reaches(9) && !recent.reaches(17));
        let all = recent.take(b"a", 10, 9, 99);
        assert_eq!((offsets(&all), all.next, all.whole), (vec![10, 13, 14], 16, true));
        let some = recent.take(b"a", 10, 2, 99);
        assert_eq!((offsets(&some), some.next, some.whole), (vec![10, 13], 14, false));
        let rest = recent.take(b"a", some.next, 2, 99);
        assert_eq!((offsets(&rest), rest.next, rest.whole), (vec![14], 16, true));
        let by_bytes = recent.take(b"a", 10, 9, 7);
        assert_eq!((offsets(&by_bytes), by_bytes.whole), (vec![10], false));
        assert_eq!(recent.take(b"c", 10, 9, 9), Taken { records: vec![], next: 16, whole: true });
    }

    #[test]
    fn it_is_bounded_and_knows_where_it_begins() {
        let mut recent = Recent::default();
        recent.begin(0);
        for offset in 0..100 {
            recent.extend(vec![kept(offset, "a", 100_000)], offset + 1);
        }
        assert!(recent.bytes <= BYTES_MAX);
        let first = recent.records.front().unwrap().offset;
        assert!(first > 50 && recent.reaches(first) && !recent.reaches(first - 1));
        assert_eq!(recent.take(b"a", first, 1_000, usize::MAX).records.len() as u64, 100 - first);
    }
}
