//! The op store on DynamoDB: one item a run, in either of two key layouts.
//!
//! ```text
//! logical key   documentId#<document>@<generation>#operationId#<site>#<first>#<last>
//! split         partition key `pk` = documentId#<document>@<generation>[!<part>], sort key `sk` = operationId#<site>#<first>#<last>
//! literal       partition key `pk` = the whole logical key; index `by-document` on `doc` and `sk` for reading
//! run           binary `run`: one durable delta
//! trimmed       one item a document, sort key `#trimmed` (literal: at the end of the partition key): binary `trimmed`, a version vector
//! ```
//!
//! Sites are 16 hexadecimal digits and counters 20 decimal ones, so that items sort as sites and counters do. The bytes of an
//! item are a function of its key, and nothing in it names a region, so that a global table may merge the regions' writes.
//!
//! A partition key takes 1,000 writes a second: a document that is hotter is spread over `parts` partition keys, which run
//! goes where being a function of the run. How many there are stands in an item of the document; readers read all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, ReturnValuesOnConditionCheckFailure, WriteRequest};
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};
use selvedge_engine::VersionVector;

use super::keys::{document_part, operation_part, part_key, part_of, run_named};
use super::{DocumentKey, OpCursor, OpPage, OpRun, OpStore, joined_trimmed, reach_of, trimmed_from};
use crate::regional::dynamodb::{WHAT, dynamodb_error, ensure_table};
use crate::{Error, Result};

/// Writes of one call that are on their way at a time.
const WRITES_AT_ONCE: usize = 16;
/// Items of one batch of deletes: DynamoDB's limit.
const DELETES_IN_BATCH: usize = 25;
const DELETE_BATCHES_AT_ONCE: usize = 4;
const DELETE_ATTEMPTS_MAX: u32 = 8;
/// Sorts before every `operationId`.
const PARTS_KEY: &str = "#parts";
/// As [`PARTS_KEY`].
const TRIMMED_KEY: &str = "#trimmed";
/// Others that may note at once before noting gives up.
const NOTE_ATTEMPTS_MAX: usize = 8;
/// Parts a document may be spread over.
const PARTS_MAX: u8 = 64;
/// The index of the literal layout.
pub(crate) const INDEX: &str = "by-document";

/// How a run's key is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OpLayout {
    /// Partition key and sort key.
    #[default]
    Split,
    /// One attribute, and an index for reading. The index is written a moment after the item: a reader may miss the newest
    /// runs, and finds them in the log.
    Literal,
}

/// The op store of a region on DynamoDB.
pub struct DynamoOps {
    client: Client,
    table: String,
    layout: OpLayout,
    /// How many parts documents have, as far as this process knows; 1 where nothing is noted.
    parts: Arc<Mutex<HashMap<DocumentKey, u8>>>,
}

impl DynamoOps {
    /// The op store in that table, which is created on demand when it is missing.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB does not answer; `Failed` when it refuses to create the table.
    pub fn open(client: Client, table: String, layout: OpLayout) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            ensure_table(&client, &table, layout).await?;
            Ok(Self { client, table, layout, parts: Arc::default() })
        })
    }

    /// Spreads a document over so many partition keys from now on; never over fewer than it has.
    ///
    /// # Errors
    /// As DynamoDB says; then nothing is spread.
    pub async fn spread(&self, key: &DocumentKey, parts: u8) -> Result<()> {
        let parts = parts.clamp(1, PARTS_MAX).max(self.load_parts(key).await?);
        let update = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.parts_key(key)))
            .item("parts", AttributeValue::N(parts.to_string()));
        update.send().await.map_err(dynamodb_error)?;
        self.note_parts(key, parts);
        Ok(())
    }

    fn note_parts(&self, key: &DocumentKey, parts: u8) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), parts);
    }

    /// The parts that a writer knows of; it need not know the newest number.
    async fn known_parts(&self, key: &DocumentKey) -> Result<u8> {
        let known = self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        match known {
            Some(parts) => Ok(parts),
            None => self.load_parts(key).await,
        }
    }

    /// The parts as they are noted, which a reader must know.
    async fn load_parts(&self, key: &DocumentKey) -> Result<u8> {
        if self.layout == OpLayout::Literal {
            // Every item has a partition key of its own.
            return Ok(1);
        }
        let asked = self.client.get_item().table_name(&self.table).set_key(Some(self.parts_key(key)));
        let found = asked.consistent_read(true).send().await.map_err(dynamodb_error)?;
        let noted = found.item.and_then(|item| item.get("parts")?.as_n().ok()?.parse().ok());
        let parts = noted.unwrap_or(1_u8).clamp(1, PARTS_MAX);
        self.note_parts(key, parts);
        Ok(parts)
    }

    fn parts_key(&self, key: &DocumentKey) -> Item {
        [("pk", document_part(key)), ("sk", PARTS_KEY.to_owned())].map(text).into()
    }

    /// The attributes that name a run.
    fn key_of(&self, key: &DocumentKey, run: &OpCursor, parts: u8) -> Item {
        let (document, operation) = (document_part(key), operation_part(run));
        match self.layout {
            OpLayout::Split => [("pk", part_key(&document, part_of(run, parts))), ("sk", operation)].map(text).into(),
            OpLayout::Literal => [("pk", format!("{document}#{operation}"))].map(text).into(),
        }
    }

    /// Every place where a run may lie: where it went before its document was spread, and since.
    fn keys_of(&self, key: &DocumentKey, run: &OpCursor, parts: u8) -> Vec<Item> {
        let parts_then: BTreeMap<u8, u8> = (1..=parts).map(|then| (part_of(run, then), then)).collect();
        parts_then.into_values().map(|then| self.key_of(key, run, then)).collect()
    }

    fn trimmed_key(&self, key: &DocumentKey) -> Item {
        let document = document_part(key);
        match self.layout {
            OpLayout::Split => [("pk", document), ("sk", TRIMMED_KEY.to_owned())].map(text).into(),
            OpLayout::Literal => [("pk", format!("{document}{TRIMMED_KEY}"))].map(text).into(),
        }
    }

    async fn load_trimmed(&self, key: &DocumentKey) -> Result<Option<Blob>> {
        let asked = self.client.get_item().table_name(&self.table).set_key(Some(self.trimmed_key(key)));
        let found = asked.consistent_read(true).send().await.map_err(dynamodb_error)?;
        Ok(found.item.and_then(|item| item.get("trimmed")?.as_b().ok().cloned()))
    }

    /// Notes what was trimmed if `kept` is what is noted now; answers whether it was.
    async fn set_trimmed(&self, key: &DocumentKey, kept: Option<Blob>, joined: Vec<u8>) -> Result<bool> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.trimmed_key(key)))
            .item("trimmed", AttributeValue::B(Blob::new(joined)));
        let put = match kept {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(kept) => put
                .condition_expression("trimmed = :kept")
                .expression_attribute_values(":kept", AttributeValue::B(kept)),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(false)
            }
            Err(error) => Err(dynamodb_error(error)),
        }
    }

    async fn put_run(&self, key: &DocumentKey, run: OpRun, parts: u8) -> Result<Option<Error>> {
        let place = OpCursor { site: run.site, first: run.first, last: run.last };
        let mut item = self.key_of(key, &place, parts);
        if self.layout == OpLayout::Literal {
            item.extend([("doc", document_part(key)), ("sk", operation_part(&place))].map(text));
        }
        item.insert("run".to_owned(), AttributeValue::B(Blob::new(run.bytes.clone())));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(None) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(dynamodb_error(error));
        };
        let kept = refused.item().and_then(bytes_of);
        let same = kept.is_some_and(|kept| kept == run.bytes);
        Ok((!same).then(|| Error::Divergence {
            what: format!("run {}..={} of site {} in {}", run.first, run.last, run.site, key.document),
        }))
    }

    /// Runs of one part after a place, in order, until `limit` of them lie beyond `since`; and whether that was all.
    async fn read_part(
        &self,
        partition: String,
        since: &VersionVector,
        after: Option<OpCursor>,
        limit: usize,
    ) -> Result<(Vec<OpRun>, bool)> {
        let mut runs = Vec::new();
        let mut start: Option<Item> = None;
        let after = after.map_or_else(|| "operationId#".to_owned(), |after| operation_part(&after));
        let name = if self.layout == OpLayout::Split { "pk" } else { "doc" };
        loop {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("#p = :p AND sk > :after")
                .expression_attribute_names("#p", name)
                .expression_attribute_values(":p", AttributeValue::S(partition.clone()))
                .expression_attribute_values(":after", AttributeValue::S(after.clone()))
                .set_exclusive_start_key(start.take());
            query = match self.layout {
                OpLayout::Split => query.consistent_read(true),
                OpLayout::Literal => query.index_name(INDEX),
            };
            let page = query.send().await.map_err(dynamodb_error)?;
            for item in page.items.unwrap_or_default() {
                let run = run_from(&item)?;
                if run.last > since.get(run.site) {
                    runs.push(run);
                }
                if runs.len() == limit {
                    return Ok((runs, false));
                }
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => start = Some(key),
                _ => return Ok((runs, true)),
            }
        }
    }

    fn partitions(&self, key: &DocumentKey, parts: u8) -> Vec<String> {
        let document = document_part(key);
        (0..parts).map(|part| part_key(&document, part)).collect()
    }

    /// Removes every run, over all parts.
    async fn remove(&self, key: &DocumentKey) -> Result<()> {
        let (parts, nothing) = (self.load_parts(key).await?, VersionVector::new());
        for (part, partition) in self.partitions(key, parts).into_iter().enumerate() {
            let mut after = None;
            loop {
                let (runs, all) = self.read_part(partition.clone(), &nothing, after, 1000).await?;
                after = runs.last().map(OpRun::cursor);
                let gone: Vec<Item> = runs
                    .iter()
                    .map(OpRun::cursor)
                    .map(|run| match self.layout {
                        OpLayout::Split => {
                            [("pk", part_key(&document_part(key), part as u8)), ("sk", operation_part(&run))]
                                .map(text)
                                .into()
                        }
                        OpLayout::Literal => self.key_of(key, &run, 1),
                    })
                    .collect();
                for batch in gone.chunks(DELETES_IN_BATCH) {
                    self.delete_batch(batch).await?;
                }
                if all {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn delete_batch(&self, keys: &[Item]) -> Result<()> {
        let failed = |error: aws_sdk_dynamodb::error::BuildError| Error::Failed { what: WHAT, source: error.into() };
        let request = |key: &Item| {
            let delete = DeleteRequest::builder().set_key(Some(key.clone())).build().map_err(failed)?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        let mut waiting = keys.iter().map(request).collect::<Result<Vec<_>>>()?;
        for attempt in 0..DELETE_ATTEMPTS_MAX {
            let batch = self.client.batch_write_item().request_items(&self.table, waiting);
            let done = batch.send().await.map_err(dynamodb_error)?;
            waiting = done.unprocessed_items.and_then(|mut left| left.remove(&self.table)).unwrap_or_default();
            if waiting.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20 << attempt)).await;
        }
        Err(Error::Throttled { what: WHAT, retry_after_ms: 5000 })
    }
}

impl OpStore for DynamoOps {
    fn put<'a>(&'a self, key: &'a DocumentKey, runs: Vec<OpRun>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for run in &runs {
                if run.first == 0 || run.last < run.first || run.bytes.is_empty() {
                    return Err(Error::Invalid(format!("a run of counters {}..={} is none", run.first, run.last)));
                }
            }
            let parts = self.known_parts(key).await?;
            let puts = stream::iter(runs).map(|run| self.put_run(key, run, parts));
            let found =
                puts.buffer_unordered(WRITES_AT_ONCE).try_fold(None, |first, found| async move { Ok(first.or(found)) });
            found.await?.map_or(Ok(()), Err)
        })
    }

    fn read<'a>(
        &'a self,
        key: &'a DocumentKey,
        since: &'a VersionVector,
        after: Option<OpCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OpPage>> {
        Box::pin(async move {
            let limit = limit.clamp(1, 10_000);
            let parts = self.load_parts(key).await?;
            let partitions = self.partitions(key, parts).into_iter();
            let read = partitions.map(|partition| self.read_part(partition, since, after, limit + 1));
            let read = try_join_all(read).await?;
            let mut runs: Vec<OpRun> = read.into_iter().flat_map(|(runs, _)| runs).collect();
            runs.sort_by_key(OpRun::cursor);
            // A run written before and after its document was spread lies in two parts.
            runs.dedup_by_key(|run| run.cursor());
            let more = runs.len() > limit;
            runs.truncate(limit);
            let next = runs.last().map(OpRun::cursor).filter(|_| more);
            Ok(OpPage { runs, next })
        })
    }

    fn trim<'a>(&'a self, key: &'a DocumentKey, runs: &'a [OpCursor]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.note_trimmed(key, &reach_of(runs)).await?;
            let parts = self.load_parts(key).await?;
            let places: Vec<Item> = runs.iter().flat_map(|run| self.keys_of(key, run, parts)).collect();
            for some in places.chunks(DELETES_IN_BATCH * DELETE_BATCHES_AT_ONCE) {
                let batches = some.chunks(DELETES_IN_BATCH).map(|batch| self.delete_batch(batch));
                try_join_all(batches).await?;
            }
            Ok(())
        })
    }

    fn trimmed<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<VersionVector>> {
        Box::pin(async move {
            let noted = self.load_trimmed(key).await?;
            noted.map_or_else(|| Ok(VersionVector::new()), |bytes| trimmed_from(key, bytes.as_ref()))
        })
    }

    fn note_trimmed<'a>(&'a self, key: &'a DocumentKey, vector: &'a VersionVector) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for _ in 0..NOTE_ATTEMPTS_MAX {
                let kept = self.load_trimmed(key).await?;
                let bytes = kept.as_ref().map(Blob::as_ref);
                let noted = bytes.map_or_else(|| Ok(VersionVector::new()), |bytes| trimmed_from(key, bytes))?;
                let Some(joined) = joined_trimmed(&noted, vector)? else { return Ok(()) };
                if self.set_trimmed(key, kept, joined).await? {
                    return Ok(());
                }
            }
            Err(Error::Conflict { what: format!("what was trimmed of {}", key.document) })
        })
    }

    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.remove(key).await?;
            self.delete_batch(&[self.trimmed_key(key)]).await?;
            if self.layout == OpLayout::Split {
                self.delete_batch(&[self.parts_key(key)]).await?;
                self.parts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            }
            Ok(())
        })
    }
}

type Item = HashMap<String, AttributeValue>;

fn text((name, value): (&str, String)) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value))
}

fn bytes_of(item: &Item) -> Option<&[u8]> {
    Some(item.get("run")?.as_b().ok()?.as_ref())
}

fn run_from(item: &Item) -> Result<OpRun> {
    let read = || {
        let OpCursor { site, first, last } = run_named(item.get("sk")?.as_s().ok()?)?;
        Some(OpRun { site, first, last, bytes: bytes_of(item)?.to_vec() })
    };
    read()
        .ok_or_else(|| Error::Corrupt { what: "an item of the op store".to_owned(), detail: "it is no run".to_owned() })
}
