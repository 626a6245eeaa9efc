//! Reading all of it: segments, then what is still in the op store.

use std::collections::{BTreeSet, VecDeque};

use futures_util::future::BoxFuture;
use selvedge_engine::{ApplyError, Delta, Document, VersionVector};

use super::store::{read_segment, segments};
use crate::fold::{Fold, Folded};
use crate::ops::{DocumentKey, OpCursor, OpRun};
use crate::{BlobKey, Error, Region, Result};

const PAGE_LIMIT: usize = 1000;

/// A document's whole history, some runs at a time: at most a segment's. A run may come more than once, as overlapping ones may;
/// readers drop the dots they know.
///
/// Nothing is missed that is moved meanwhile: segments are read before the op store, looked for again after it, and where there
/// are new ones the op store is read again behind them.
pub struct History<'a> {
    region: &'a Region,
    key: &'a DocumentKey,
    seen: BTreeSet<BlobKey>,
    waiting: VecDeque<BlobKey>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    /// Look which segments there are; `whole`: the op store was read since they were looked for last.
    Look {
        whole: bool,
    },
    /// Read those that wait.
    Segments,
    /// Read the op store from here on.
    Ops(Option<OpCursor>),
    Ended,
}

impl<'a> History<'a> {
    /// The history of a document, from its beginning. Nothing is read yet.
    #[must_use]
    pub fn of(region: &'a Region, key: &'a DocumentKey) -> Self {
        Self { region, key, seen: BTreeSet::new(), waiting: VecDeque::new(), step: Step::Look { whole: false } }
    }

    /// More of it; `None`: that was all.
    ///
    /// # Errors
    /// `Corrupt` when a segment is damaged; else as op store and blobs. The same call may be repeated.
    pub fn read(&mut self) -> BoxFuture<'_, Result<Option<Vec<OpRun>>>> {
        Box::pin(async move {
            loop {
                let (runs, step) = match self.step {
                    Step::Look { whole } => (Vec::new(), self.look(whole).await?),
                    Step::Segments => self.read_segment().await?,
                    Step::Ops(cursor) => self.read_ops(cursor).await?,
                    Step::Ended => return Ok(None),
                };
                self.step = step;
                if !runs.is_empty() {
                    return Ok(Some(runs));
                }
            }
        })
    }

    async fn look(&mut self, whole: bool) -> Result<Step> {
        let keys = segments(&*self.region.blobs, self.key).await?;
        self.waiting.extend(keys.into_iter().filter(|key| !self.seen.contains(key)));
        Ok(if self.waiting.is_empty() && whole { Step::Ended } else { Step::Segments })
    }

    async fn read_segment(&mut self) -> Result<(Vec<OpRun>, Step)> {
        let Some(key) = self.waiting.front() else { return Ok((Vec::new(), Step::Ops(None))) };
        let runs = read_segment(&*self.region.blobs, self.key, key).await?;
        self.seen.extend(self.waiting.pop_front());
        Ok((runs, Step::Segments))
    }

    async fn read_ops(&self, cursor: Option<OpCursor>) -> Result<(Vec<OpRun>, Step)> {
        let page = self.region.ops.read(self.key, &VersionVector::new(), cursor, PAGE_LIMIT).await?;
        let step = page.next.map_or(Step::Look { whole: true }, |next| Step::Ops(Some(next)));
        Ok((page.runs, step))
    }
}

/// Folds a document's whole history in. What lies so far beyond holes that a fold does not hold it is read once more, as long as
/// that helps.
///
/// # Errors
/// As [`History::read`]; `Corrupt` when a run is no delta.
pub fn fold_history<'a>(region: &'a Region, key: &'a DocumentKey, fold: &'a mut Fold) -> BoxFuture<'a, Result<()>> {
    fold_until(region, key, fold, None)
}

/// A document as it was at `version`, made of its history; `None` when that does not reach there: the version is of another life of
/// the document, or so new that its log alone has it. Reads what was written before it, and of what came later as much as lies between.
///
/// # Errors
/// As [`fold_history`].
pub fn document_at<'a>(
    region: &'a Region,
    key: &'a DocumentKey,
    version: &'a VersionVector,
) -> BoxFuture<'a, Result<Option<Document>>> {
    Box::pin(async move {
        let mut fold = Fold::new();
        fold_until(region, key, &mut fold, Some(version)).await?;
        Ok(fold.vector().dominates(version).then(|| fold.into_document()))
    })
}

/// [`fold_history`], of what `until` covers alone if it is given, and no longer than that takes.
fn fold_until<'a>(
    region: &'a Region,
    key: &'a DocumentKey,
    fold: &'a mut Fold,
    until: Option<&'a VersionVector>,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        loop {
            let before = fold.vector().clone();
            let (mut history, mut dropped) = (History::of(region, key), false);
            while let Some(runs) = history.read().await? {
                for run in &runs {
                    dropped |= fold_part(key, fold, run, until)? == Folded::Dropped;
                }
                if until.is_some_and(|until| fold.vector().dominates(until)) {
                    return Ok(());
                }
            }
            if !dropped || *fold.vector() == before {
                return Ok(());
            }
        }
    })
}

/// Folds a run in.
///
/// # Errors
/// `Corrupt` when it is no delta.
pub(crate) fn fold_run(key: &DocumentKey, fold: &mut Fold, run: &OpRun) -> Result<Folded> {
    fold_part(key, fold, run, None)
}

fn fold_part(key: &DocumentKey, fold: &mut Fold, run: &OpRun, until: Option<&VersionVector>) -> Result<Folded> {
    let folded = Delta::decode(&run.bytes).map_err(ApplyError::from).and_then(|delta| {
        let part = match until {
            Some(until) => delta.until(until.get(delta.site)),
            None => Some(delta),
        };
        part.map_or(Ok(Folded::Known), |part| fold.integrate(part))
    });
    folded.map_err(|error| Error::Corrupt {
        what: format!("run {}..={} of site {} in {}", run.first, run.last, run.site, key.document),
        detail: error.to_string(),
    })
}
