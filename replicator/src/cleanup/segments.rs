//! Moving: what every region's snapshot covers leaves the op stores for segments among the blobs.
//!
//! The region that decides does it, for all regions at once: it takes the runs from every region's op store, keeps one segment
//! in every region's blobs, reads each back, and only then removes the runs everywhere. So no region waits for S3's or DynamoDB's
//! own replication to have what was removed, the regions keep the same segments rather than each its own cut of the same
//! operations, and ship does not fill in at one what was moved at the other. Two that move at once, at a handing over, keep
//! some runs twice and lose none: each removes what it kept itself.
//!
//! A crash before the runs are removed has them kept twice, too: with the next segment. What comes late below what was moved, by a
//! table's stream or by a persist that reads again, is moved with the next segment in the same way.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use selvedge_region::fold::{Fold, PERSIST_READER};
use selvedge_region::history::{SEGMENT_BYTES_MAX, SEGMENT_RUNS_MAX, Segment, erase_segments, keep_segment};
use selvedge_region::ops::TRIMMED_BYTES_MAX;
use selvedge_region::{DocumentKey, Error, OpCursor, OpRun, Position, Region, Result, RunDots};

use crate::ship::reader_of;

const RUNS_PAGE: usize = 500;
const DOCUMENTS_PAGE: usize = 200;
/// Documents whose last look is remembered; beyond it all are forgotten, which costs one more look at each.
const LOOKED_MAX: usize = 100_000;

/// When a document's runs are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveConfig {
    /// When the op store holds so many of its runs that every region's snapshot covers,
    pub runs: u64,
    /// or so many bytes of them.
    pub bytes: u64,
    /// Documents looked at in one round.
    pub documents_max: usize,
    /// Segments written in one round; what is left waits for the next.
    pub segments_max: u64,
}

impl Default for MoveConfig {
    fn default() -> Self {
        Self { runs: 4096, bytes: 1024 * 1024, documents_max: 1000, segments_max: 64 }
    }
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Segments kept, each in every region.
    pub segments: u64,
    /// Runs in them.
    pub runs: u64,
    /// Documents that could not be moved, for reasons that are in the log.
    pub failures: u64,
}

/// Goes through the documents, some in each round.
#[derive(Default)]
pub struct Mover {
    /// The last document looked at; `None`: begin again.
    after: Option<DocumentKey>,
    /// The sum of the counters that a document's snapshot covered when it was found to have too little to move.
    looked: BTreeMap<DocumentKey, u64>,
}

impl Mover {
    /// One round. `regions`: all of them, the one that decides first. A document that is damaged, or is being changed by
    /// others, is passed over until its turn comes again.
    ///
    /// Costs one row of the snapshots' index a document looked at; for one with new operations since its last look, at
    /// most as many reads of its op store as [`MoveConfig`] has bytes; for one that is moved, the reads, one delete a run in
    /// each region, and one object written and read a segment in each.
    ///
    /// # Errors
    /// The first part that is away, throttled or full; what was moved stays moved.
    pub fn round<'a>(&'a mut self, regions: &'a [Region], config: &'a MoveConfig) -> BoxFuture<'a, Result<Moved>> {
        Box::pin(async move {
            let (mut moved, mut looked) = (Moved::default(), 0);
            let Some(own) = regions.first() else { return Ok(moved) };
            while looked < config.documents_max {
                let limit = DOCUMENTS_PAGE.min(config.documents_max - looked);
                let keys = own.snapshots.documents(self.after.as_ref(), limit).await?;
                if keys.is_empty() {
                    self.after = None;
                    return Ok(moved);
                }
                looked += keys.len();
                for key in keys {
                    match self.look(regions, config, &key, &mut moved).await {
                        Err(error) if error.retryable() => {
                            // The others have their turn before it is tried again.
                            self.after = Some(key);
                            return Err(error);
                        }
                        Err(error) => {
                            moved.failures += 1;
                            tracing::warn!(document = %key.document, %error, "its operations stay in the op store");
                        }
                        Ok(()) => {}
                    }
                    if moved.segments >= config.segments_max {
                        return Ok(moved);
                    }
                    self.after = Some(key);
                }
            }
            Ok(moved)
        })
    }

    async fn look(
        &mut self,
        regions: &[Region],
        config: &MoveConfig,
        key: &DocumentKey,
        moved: &mut Moved,
    ) -> Result<()> {
        let own = &regions[0];
        let newest = own.snapshots.versions(key).await?.into_iter().next();
        let Some(newest) = newest else { return Ok(()) };
        let covered = newest.vector.iter().fold(0_u64, |sum, (_, counter)| sum.saturating_add(counter));
        if self.looked.get(key) == Some(&covered) {
            return Ok(());
        }
        if !is_due(own, key, &newest.vector, config).await? {
            if self.looked.len() >= LOOKED_MAX {
                self.looked.clear();
            }
            self.looked.insert(key.clone(), covered);
            return Ok(());
        }
        if !is_live(regions, key).await? {
            return Ok(());
        }
        let Some(horizon) = horizon_of(regions, key).await? else { return Ok(()) };
        if is_due(own, key, &horizon, config).await? {
            let limit = config.segments_max - moved.segments;
            let outcome = move_document(regions, key, &horizon, limit).await;
            forget_deleted(regions, key).await?;
            let (segments, runs) = outcome?;
            tracing::info!(document = %key.document, segments, runs, "operations were moved to segments");
            moved.segments += segments;
            moved.runs += runs;
        }
        Ok(())
    }
}

/// Whether the document is there in every region. One that was never announced is.
async fn is_live(regions: &[Region], key: &DocumentKey) -> Result<bool> {
    for region in regions {
        let info = region.control.document(&key.document).await?;
        if info.is_some_and(|info| info.is_deleted(key.generation)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An erasure that overtook the moving of its document may have come before the last segment.
async fn forget_deleted(regions: &[Region], key: &DocumentKey) -> Result<()> {
    for (index, region) in regions.iter().enumerate() {
        if !is_live(&regions[index..=index], key).await? && region.snapshots.versions(key).await?.is_empty() {
            region.ops.erase(key).await?;
            erase_segments(&*region.blobs, key).await?;
        }
    }
    Ok(())
}

/// Whether enough of a document's runs in an op store are covered.
async fn is_due(region: &Region, key: &DocumentKey, covered: &VersionVector, config: &MoveConfig) -> Result<bool> {
    let (mut runs, mut bytes, mut cursor) = (0, 0, None);
    loop {
        let page = region.ops.read(key, &VersionVector::new(), cursor, RUNS_PAGE).await?;
        for run in page.runs.iter().filter(|run| covered.get(run.site) >= run.last) {
            runs += 1;
            bytes += run.bytes.len() as u64;
        }
        cursor = page.next;
        if runs >= config.runs || bytes >= config.bytes || cursor.is_none() {
            return Ok(runs >= config.runs || bytes >= config.bytes);
        }
    }
}

/// What a snapshot covers in every region, each read, checked and loaded; below what persist and every ship have passed. `None`:
/// nothing yet.
async fn horizon_of(regions: &[Region], key: &DocumentKey) -> Result<Option<VersionVector>> {
    let mut common: Option<VersionVector> = None;
    for region in regions {
        let Some(latest) = region.snapshots.latest(key).await? else { return Ok(None) };
        let damaged = |detail: String| Error::Corrupt { what: format!("the snapshot of {}", key.document), detail };
        let fold = Fold::from_snapshot(&latest.snapshot).map_err(|error| damaged(error.to_string()))?;
        if *fold.vector() != latest.snapshot.vector {
            return Err(damaged("it holds other operations than its vector says".to_owned()));
        }
        if !is_passed(regions, latest.snapshot.position).await? {
            return Ok(None);
        }
        let vector = latest.snapshot.vector;
        common = Some(match common {
            None => vector,
            Some(common) => common.iter().map(|(site, counter)| (site, counter.min(vector.get(site)))).collect(),
        });
    }
    Ok(common.map(|common| common.iter().filter(|(_, counter)| *counter > 0).collect()))
}

/// Whether persist and every ship are through with a log below a position. Of a log that is no region's any more nothing is
/// left to wait for; of an unknown position it cannot be said.
async fn is_passed(regions: &[Region], position: Option<Position>) -> Result<bool> {
    let Some(position) = position else { return Ok(false) };
    let Some(region) = regions.iter().find(|region| region.log.log_id() == position.log) else { return Ok(true) };
    let others = regions.iter().filter(|other| other.log.log_id() != position.log);
    let ships = others.map(|other| reader_of(position.log, other.log.log_id()));
    for reader in [PERSIST_READER.to_owned()].into_iter().chain(ships) {
        if region.log.progress(&reader, position.partition).await?.unwrap_or(0) < position.offset {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moves the runs below the horizon from every region, in at most so many segments; answers how many segments and runs.
async fn move_document(
    regions: &[Region],
    key: &DocumentKey,
    horizon: &VersionVector,
    segments_max: u64,
) -> Result<(u64, u64)> {
    let mut trimmed = VersionVector::new();
    for region in regions {
        trimmed.join(&region.ops.trimmed(key).await?);
    }
    let mut packing =
        Packing { regions, key, trimmed, taken: RunDots::default(), runs: Vec::new(), bytes: 0, done: (0, 0) };
    for source in regions {
        // Runs of this region alone, each dot of which is in a segment by another region's cut.
        let (mut spare, mut cursor) = (Vec::new(), None);
        loop {
            let page = source.ops.read(key, &VersionVector::new(), cursor, RUNS_PAGE).await?;
            for run in page.runs.into_iter().filter(|run| horizon.get(run.site) >= run.last) {
                if packing.taken.cover(&run) {
                    spare.push(run.cursor());
                } else if packing.done.0 < segments_max {
                    packing.add(run).await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() || packing.done.0 >= segments_max {
                break;
            }
        }
        packing.flush().await?;
        source.ops.trim(key, &spare).await?;
    }
    Ok(packing.done)
}

/// A segment that is being gathered.
struct Packing<'a> {
    regions: &'a [Region],
    key: &'a DocumentKey,
    /// What is noted as trimmed with the segments so far.
    trimmed: VersionVector,
    /// The dots in segments and in `runs`.
    taken: RunDots,
    runs: Vec<OpRun>,
    bytes: usize,
    /// Segments and runs moved.
    done: (u64, u64),
}

impl Packing<'_> {
    async fn add(&mut self, run: OpRun) -> Result<()> {
        self.taken.insert(&run);
        self.bytes += run.bytes.len();
        self.runs.push(run);
        if self.bytes >= SEGMENT_BYTES_MAX || self.runs.len() >= SEGMENT_RUNS_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// Keeps what was gathered in every region, and when each was read back removes it from every op store.
    async fn flush(&mut self) -> Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.runs);
        self.bytes = 0;
        for run in &runs {
            self.trimmed.advance(run.site, run.last);
        }
        if self.trimmed.encode().len() > TRIMMED_BYTES_MAX {
            return Err(Error::Invalid(format!("{} sites are too many to note what was moved", self.trimmed.len())));
        }
        let segment = Segment::new(self.key, &self.trimmed, &runs)?;
        for region in self.regions {
            keep_segment(&*region.blobs, self.key, &segment).await?;
        }
        let places: Vec<OpCursor> = runs.iter().map(OpRun::cursor).collect();
        for region in self.regions {
            region.ops.trim(self.key, &places).await?;
        }
        self.done = (self.done.0 + 1, self.done.1 + runs.len() as u64);
        Ok(())
    }
}
