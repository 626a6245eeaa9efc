//! The trim horizon of a partition: the offset below which every record is covered, in every region, by a snapshot that
//! passed its check.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_engine::{DeltaHeader, VersionVector};
use selvedge_region::{DocumentKey, EntryContent, Error, LogEntry, Region, Result};

const PAGE: usize = 1000;

/// The offset below which the log may go: every entry below it is covered or is none. `covers` answers for a document and
/// the last dot of a delta.
pub fn trim_below(
    entries: &[LogEntry],
    from: u64,
    limit: u64,
    mut covers: impl FnMut(&DocumentKey, DeltaHeader) -> bool,
) -> u64 {
    let mut below = from;
    for entry in entries {
        let offset = entry.position.offset;
        // What is no record was put aside before persist passed it.
        let covered = match header_of(entry) {
            Some((key, header)) => covers(&key, header),
            None => true,
        };
        if offset >= limit || !covered {
            return below.min(limit);
        }
        below = offset + 1;
    }
    below.min(limit)
}

/// Which dots of which document an entry brings.
fn header_of(entry: &LogEntry) -> Option<(DocumentKey, DeltaHeader)> {
    let EntryContent::Record(record) = &entry.content else { return None };
    let header = DeltaHeader::peek(&record.delta).ok()?;
    Some((DocumentKey::new(record.document.clone(), record.generation), header))
}

/// How much of a document may go from the log.
enum Cover {
    /// What is covered in every region; nothing where a region has no whole snapshot.
    Vector(VersionVector),
    /// All of it: the document was deleted, and its text erased.
    Erased,
}

/// One look for the horizon of a partition; remembers what the regions' snapshots cover.
pub struct Horizon<'a> {
    region: &'a Region,
    peers: &'a [Region],
    covered: BTreeMap<DocumentKey, Cover>,
    uncovered: BTreeSet<DocumentKey>,
}

impl<'a> Horizon<'a> {
    /// A look that knows nothing yet.
    #[must_use]
    pub fn new(region: &'a Region, peers: &'a [Region]) -> Self {
        Self { region, peers, covered: BTreeMap::new(), uncovered: BTreeSet::new() }
    }

    /// The offset below which the partition may be trimmed, at most `limit`. Looks at so many records.
    ///
    /// # Errors
    /// As the parts; then nothing may be trimmed.
    pub async fn look(&mut self, partition: u32, from: u64, limit: u64, looked_max: usize) -> Result<u64> {
        let (mut below, mut looked) = (from, 0);
        while below < limit && looked < looked_max {
            let page = self.region.log.read(partition, below, PAGE).await?;
            looked += page.entries.len();
            for (key, _) in page.entries.iter().filter_map(header_of) {
                self.learn(&key).await?;
            }
            let (covered, uncovered) = (&self.covered, &mut self.uncovered);
            let end = trim_below(&page.entries, below, limit, |key, header| {
                let covers = match covered.get(key) {
                    Some(Cover::Vector(vector)) => vector.get(header.site) >= header.last,
                    Some(Cover::Erased) => true,
                    None => false,
                };
                if !covers {
                    uncovered.insert(key.clone());
                }
                covers
            });
            // Marks of the log's own behind the last record go with it.
            let whole = page.entries.last().is_none_or(|last| end > last.position.offset);
            let next = if whole { page.next.offset.min(limit) } else { end };
            if next == below || !whole || page.at_end {
                return Ok(next);
            }
            below = next;
        }
        Ok(below)
    }

    /// Documents whose records stood in the way.
    pub fn uncovered(&self) -> impl Iterator<Item = &DocumentKey> {
        self.uncovered.iter()
    }

    /// What every region's newest whole snapshot of a document covers.
    async fn learn(&mut self, key: &DocumentKey) -> Result<()> {
        if self.covered.contains_key(key) {
            return Ok(());
        }
        if self.is_erased(key).await? {
            self.covered.insert(key.clone(), Cover::Erased);
            return Ok(());
        }
        let mut common: Option<VersionVector> = None;
        for region in [self.region].into_iter().chain(self.peers) {
            let latest = match region.snapshots.latest(key).await {
                Err(Error::Corrupt { what, detail }) => {
                    tracing::error!(what, detail, "no snapshot passes its check; the log is kept");
                    None
                }
                latest => latest?,
            };
            let vector = latest.map(|latest| latest.snapshot.vector).unwrap_or_default();
            common = Some(match common {
                None => vector,
                Some(common) => common.iter().map(|(site, counter)| (site, counter.min(vector.get(site)))).collect(),
            });
        }
        self.covered.insert(key.clone(), Cover::Vector(common.unwrap_or_default()));
        Ok(())
    }

    async fn is_erased(&self, key: &DocumentKey) -> Result<bool> {
        let Some(info) = self.region.control.document(&key.document).await? else { return Ok(false) };
        Ok(info.is_deleted(key.generation) && self.region.snapshots.versions(key).await?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use selvedge_engine::{Document, SiteId};
    use selvedge_region::{EntryContent, LogEntry, LogId, LogRecord, Position, RecordError};

    use super::trim_below;

    #[test]
    fn the_horizon_stops_at_the_first_record_that_is_not_covered() {
        let mut writer = Document::new();
        writer.begin_writing(SiteId::leased(1, 1), 1).unwrap();
        let mut entries = Vec::new();
        for offset in [4, 5, 9, 12] {
            let position = Position { log: LogId(1), partition: 0, offset };
            let content = if offset == 5 {
                EntryContent::Undecodable { bytes: vec![1], reason: RecordError::Version(7) }
            } else {
                writer.replace(writer.len_utf16(), 0, "ab").unwrap();
                let delta = writer.seal().remove(0).encode();
                EntryContent::Record(LogRecord::new("t/d".parse().unwrap(), 1, "anon:x".to_owned(), delta))
            };
            entries.push(LogEntry { position, content });
        }
        let check = |limit, covered: u64, expected| {
            assert_eq!(
                trim_below(&entries, 4, limit, |_, header| header.last <= covered),
                expected,
                "{limit} {covered}"
            );
        };
        check(100, 0, 4);
        check(100, 1, 4);
        check(100, 2, 6);
        check(100, 4, 10);
        check(100, 6, 13);
        check(10, 6, 10);
        check(9, 6, 6);
        check(4, 6, 4);
    }
}
