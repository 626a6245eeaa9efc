//! A log that is lost while a document is being opened.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::{Document, SiteId};
use selvedge_region::embedded::{EmbeddedOptions, EmbeddedRegion};
use selvedge_region::fold::{Persist, PersistConfig, catch_up, materialise};
use selvedge_region::{
    DeadLetter, DocumentId, DocumentKey, Error, LogBounds, LogId, LogPage, LogReader, LogRecord, Position, Region,
    RegionLog, Result,
};

/// Answers how far readers are, and then is gone.
struct Lost(Arc<dyn RegionLog>);

fn gone<T>() -> BoxFuture<'static, Result<T>> {
    Box::pin(async { Err(Error::Unavailable { what: "log", source: None }) })
}

impl RegionLog for Lost {
    fn log_id(&self) -> LogId {
        self.0.log_id()
    }

    fn partitions(&self) -> u32 {
        self.0.partitions()
    }

    fn partition(&self, document: &DocumentId) -> u32 {
        self.0.partition(document)
    }

    fn progress<'a>(&'a self, reader: &'a str, partition: u32) -> BoxFuture<'a, Result<Option<u64>>> {
        self.0.progress(reader, partition)
    }

    fn append(&self, _batch: Vec<LogRecord>) -> BoxFuture<'_, Result<Vec<Position>>> {
        gone()
    }

    fn tail<'a>(
        &'a self,
        _document: &'a DocumentId,
        _from: Option<Position>,
        _limit: usize,
    ) -> BoxFuture<'a, Result<LogPage>> {
        gone()
    }

    fn read(&self, _partition: u32, _from: u64, _limit: usize) -> BoxFuture<'_, Result<LogPage>> {
        gone()
    }

    fn head<'a>(&'a self, _document: &'a DocumentId) -> BoxFuture<'a, Result<Position>> {
        gone()
    }

    fn bounds(&self, _partition: u32) -> BoxFuture<'_, Result<LogBounds>> {
        gone()
    }

    fn join<'a>(&'a self, _group: &'a str) -> BoxFuture<'a, Result<Box<dyn LogReader>>> {
        gone()
    }

    fn trim(&self, _partition: u32, _below: u64) -> BoxFuture<'_, Result<()>> {
        gone()
    }

    fn commit_progress<'a>(&'a self, _reader: &'a str, _partition: u32, _offset: u64) -> BoxFuture<'a, Result<()>> {
        gone()
    }

    fn dead_letter<'a>(&'a self, _letter: DeadLetter) -> BoxFuture<'a, Result<()>> {
        gone()
    }

    fn dead_letters(&self, _limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        gone()
    }
}

async fn write(region: &Region, key: &DocumentKey, text: &mut Document, word: &str) {
    text.replace(text.len_utf16(), 0, word).unwrap();
    for delta in text.seal() {
        let record = LogRecord::new(key.document.clone(), key.generation, "ann".to_owned(), delta.encode());
        region.log.append(vec![record]).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_lost_after_it_told_how_far_persist_is_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let opened = EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await.unwrap();
    let region = opened.region();
    let lost = Region { log: Arc::new(Lost(Arc::clone(&region.log))), ..region.clone() };
    let key = DocumentKey::new(DocumentId::new("test", "lost").unwrap(), 1);
    let mut text = Document::new();
    text.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    write(region, &key, &mut text, "unpersisted").await;
    let nothing = materialise(&lost, &key).await.map(drop).unwrap_err();
    assert!(nothing.retryable(), "what only the log has is not shown as an empty document: {nothing}");
    catch_up(region, &mut Persist::new(PersistConfig::default()), selvedge_protocol::Instant(0)).await.unwrap();
    write(region, &key, &mut text, " and more").await;
    let fold = materialise(&lost, &key).await.unwrap();
    assert_eq!((fold.document().text().as_str(), fold.read_to()), ("unpersisted", None), "and it says what it lacks");
    let whole = materialise(region, &key).await.unwrap();
    assert_eq!(whole.document().text(), "unpersisted and more");
}
