//! The op store's way to the other region: a global table where the endpoint has them, else the table's stream.
//!
//! Items are a function of their key and are written only where they are missing, so that it does not matter how often, in
//! which order and by how many ways an item arrives. What still has not arrived after a minute is filled in by ship itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeValue, CreateReplicationGroupMemberAction, ReplicaStatus, ReplicationGroupUpdate,
};
use aws_sdk_dynamodbstreams::types::{AttributeValue as StreamValue, Shard, ShardIteratorType};
use futures_util::StreamExt;
use selvedge_region::{BlobKey, Blobs, Error, Result};

const WHAT: &str = "replication of the op store";
/// Pause between looks at a stream that has nothing new.
const PAUSE: Duration = Duration::from_millis(500);
/// Items on their way to the other table at a time.
const PUTS_AT_ONCE: usize = 16;

/// How op stores of two regions reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The service replicates the table.
    GlobalTable,
    /// The table's stream has to be carried ([`carry`]).
    Stream,
}

/// Makes the table global, with a replica in that AWS region, where the endpoint can. Done already, it changes nothing.
///
/// # Errors
/// `Unavailable` when DynamoDB does not answer.
pub async fn ensure(client: &Client, table: &str, peer_region: &str) -> Result<Way> {
    if replica(client, table, peer_region).await?.is_some() {
        return Ok(Way::GlobalTable);
    }
    let create = CreateReplicationGroupMemberAction::builder().region_name(peer_region).build();
    let create = create.map_err(|error| Error::Failed { what: WHAT, source: error.into() })?;
    let update = ReplicationGroupUpdate::builder().create(create).build();
    match client.update_table().table_name(table).replica_updates(update).send().await {
        Ok(_) => {}
        // The endpoint has no global tables, and says so in one way or another, or keeps silent about it.
        Err(error) if error.as_service_error().is_some() => return Ok(Way::Stream),
        Err(error) => return Err(failed(&error)),
    }
    Ok(if replica(client, table, peer_region).await?.is_some() { Way::GlobalTable } else { Way::Stream })
}

/// How the table's replica in that AWS region stands; `None`: there is none.
///
/// # Errors
/// `Unavailable` when DynamoDB does not answer.
pub async fn replica(client: &Client, table: &str, peer_region: &str) -> Result<Option<ReplicaStatus>> {
    let found = client.describe_table().table_name(table).send().await.map_err(|error| failed(&error))?;
    let replicas = found.table.and_then(|table| table.replicas).unwrap_or_default();
    let own = replicas.into_iter().find(|replica| replica.region_name() == Some(peer_region));
    Ok(own.map(|replica| replica.replica_status.unwrap_or(ReplicaStatus::Active)))
}

/// One side of a stream that is carried.
pub struct Stream {
    /// The source's table.
    pub tables: Client,
    /// The source's streams.
    pub streams: aws_sdk_dynamodbstreams::Client,
    /// The source's table.
    pub table: String,
    /// The target's tables.
    pub target: Client,
    /// The target's table.
    pub target_table: String,
    /// Where the source keeps how far each shard was carried.
    pub blobs: Arc<dyn Blobs>,
    /// Names the target in that.
    pub to: String,
}

impl Stream {
    /// Carries the stream for ever.
    pub async fn carry(self, carried: impl Fn(u64) + Send) {
        let mut places = None;
        loop {
            match self.look(&mut places).await {
                Ok(0) => tokio::time::sleep(PAUSE).await,
                Ok(items) => carried(items),
                Err(error) => {
                    tracing::warn!(%error, table = self.table, "the table's stream is carried again");
                    places = None;
                    tokio::time::sleep(PAUSE * 4).await;
                }
            }
        }
    }

    /// One look at every shard, oldest first; answers how many items came.
    async fn look(&self, places: &mut Option<BTreeMap<String, String>>) -> Result<u64> {
        let known = match places {
            Some(places) => places,
            None => places.insert(self.places().await?),
        };
        let found =
            self.tables.describe_table().table_name(&self.table).send().await.map_err(|error| failed(&error))?;
        let arn = found.table.and_then(|table| table.latest_stream_arn);
        let arn = arn.ok_or_else(|| Error::Invalid(format!("table {} has no stream: enable one", self.table)))?;
        let mut items = 0;
        for shard in self.shards(&arn).await? {
            let Some(id) = shard.shard_id else { continue };
            items += self.carry_shard(&arn, &id, known).await?;
        }
        if items > 0 {
            self.keep(known).await?;
        }
        Ok(items)
    }

    async fn shards(&self, arn: &str) -> Result<Vec<Shard>> {
        let (mut shards, mut after) = (Vec::new(), None);
        loop {
            let asked = self.streams.describe_stream().stream_arn(arn).set_exclusive_start_shard_id(after);
            let described = asked.send().await.map_err(|error| failed_stream(&error))?;
            let Some(description) = described.stream_description else { return Ok(shards) };
            shards.extend(description.shards.unwrap_or_default());
            after = description.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(shards);
            }
        }
    }

    async fn carry_shard(&self, arn: &str, shard: &str, places: &mut BTreeMap<String, String>) -> Result<u64> {
        let asked = self.streams.get_shard_iterator().stream_arn(arn).shard_id(shard);
        let asked = match places.get(shard) {
            Some(place) => asked.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(place),
            None => asked.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        let mut next = match asked.send().await {
            Ok(iterator) => iterator.shard_iterator,
            // Older than the stream keeps: begin with what it has; the rest is filled in.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_trimmed_data_access_exception()) => {
                places.remove(shard);
                return Ok(0);
            }
            Err(error) => return Err(failed_stream(&error)),
        };
        let mut items = 0;
        while let Some(iterator) = next {
            let page = self.streams.get_records().shard_iterator(iterator).send().await;
            let page = page.map_err(|error| failed_stream(&error))?;
            let records = page.records.unwrap_or_default();
            let last =
                records.iter().filter_map(|record| record.dynamodb.as_ref()?.sequence_number.clone()).next_back();
            let images = records.into_iter().filter_map(|record| record.dynamodb?.new_image);
            let puts = futures_util::stream::iter(images).map(|image| self.put(image)).buffer_unordered(PUTS_AT_ONCE);
            let put: Vec<Result<()>> = puts.collect().await;
            items += put.len() as u64;
            put.into_iter().collect::<Result<()>>()?;
            // An open shard goes on for ever: it is looked at again later.
            let Some(last) = last else { break };
            places.insert(shard.to_owned(), last);
            next = page.next_shard_iterator;
        }
        Ok(items)
    }

    async fn put(&self, image: std::collections::HashMap<String, StreamValue>) -> Result<()> {
        let item = image.into_iter().map(|(name, value)| Ok((name, value_of(value)?))).collect::<Result<_>>()?;
        let put = self.target.put_item().table_name(&self.target_table).set_item(Some(item));
        match put.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn place_key(&self) -> Result<BlobKey> {
        format!("ship/stream-{}-to-{}", self.table, self.to).parse()
    }

    /// How far each shard was carried: lines of shard and sequence number.
    async fn places(&self) -> Result<BTreeMap<String, String>> {
        let bytes = match self.blobs.get(&self.place_key()?).await {
            Err(Error::NotFound { .. } | Error::Corrupt { .. }) => return Ok(BTreeMap::new()),
            bytes => bytes?,
        };
        let text = String::from_utf8_lossy(&bytes);
        let place = |line: &str| line.split_once(' ').map(|(shard, place)| (shard.to_owned(), place.to_owned()));
        Ok(text.lines().filter_map(place).collect())
    }

    async fn keep(&self, places: &BTreeMap<String, String>) -> Result<()> {
        let lines: String = places.iter().map(|(shard, place)| format!("{shard} {place}\n")).collect();
        self.blobs.put(&self.place_key()?, lines.into_bytes()).await
    }
}

/// A value of an op store's item: text, a number, or bytes.
fn value_of(value: StreamValue) -> Result<AttributeValue> {
    match value {
        StreamValue::S(text) => Ok(AttributeValue::S(text)),
        StreamValue::N(number) => Ok(AttributeValue::N(number)),
        StreamValue::B(bytes) => Ok(AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(bytes.into_inner()))),
        _ => Err(Error::Corrupt {
            what: "an item of the op store".to_owned(),
            detail: "it has a value that no run has".to_owned(),
        }),
    }
}

fn failed<E, R>(error: &SdkError<E, R>) -> Error
where
    SdkError<E, R>: std::error::Error + Send + Sync + 'static,
    E: ProvideErrorMetadata,
{
    Error::Unavailable { what: WHAT, source: Some(DisplayErrorContext(error).to_string().into()) }
}

fn failed_stream<E, R>(error: &aws_sdk_dynamodbstreams::error::SdkError<E, R>) -> Error
where
    aws_sdk_dynamodbstreams::error::SdkError<E, R>: std::error::Error + Send + Sync + 'static,
{
    Error::Unavailable { what: WHAT, source: Some(DisplayErrorContext(error).to_string().into()) }
}
