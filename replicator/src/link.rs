//! The link to the other region: opened, used, and opened again when that region was away or has been wiped.
//!
//! While it stands, this region's log, its control plane's topic, its op store, its snapshots and what its sessions show go over. The
//! other region's replicator does the same the other way.

use std::sync::Arc;
use std::time::Duration;

use selvedge_region::regional::{RegionalOptions, RegionalRegion, carry_presence, snapshot_blobs};
use selvedge_region::{ControlLog, Region, Result};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::failover::Drain;
use crate::metrics::ShipMetrics;
use crate::ship::postgres::{Side, follow};
use crate::ship::{ShipConfig, ShipEnd, ShipTask, buckets, control, fill_segments, mirror_blobs, reader_of, tables};

/// Pause before the other region is tried again.
const REOPEN: Duration = Duration::from_secs(1);
/// How often it is looked whether everything of the other region has been read here, and whether blobs are missing there.
const HEARD_PAUSE: Duration = Duration::from_secs(30);
const BLOBS_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether the other region lacks segments: each has every one from the beginning, unless its bucket
/// was lost, and the look lists them all.
const SEGMENTS_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Pause between looks while a handing over waits.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);

/// What the rest of the replicator knows of the link.
#[derive(Clone)]
pub struct LinkState {
    /// The other region's parts while it can be reached.
    pub reached: watch::Receiver<Option<Region>>,
    /// Grows each time everything that the other region's log held has been read here.
    pub heard: watch::Receiver<u64>,
    /// The offset below which the control plane's records have been carried.
    pub carried: watch::Receiver<u64>,
}

/// The link, running.
pub struct Link {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    state: LinkState,
}

impl Link {
    /// Begins to reach for the other region. `role`: by which S3 replicates the bucket itself.
    #[must_use]
    pub fn spawn(
        own: Arc<RegionalRegion>,
        peer: RegionalOptions,
        role: Option<String>,
        metrics: Arc<ShipMetrics>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (reached_tell, reached) = watch::channel(None);
        let (heard_tell, heard) = watch::channel(0);
        let (carried_tell, carried) = watch::channel(0);
        let shell = Shell { own, peer, role, metrics, reached: reached_tell, heard: heard_tell, carried: carried_tell };
        Self { stop, task: tokio::spawn(shell.run(stopped)), state: LinkState { reached, heard, carried } }
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state.clone()
    }

    /// Waits for what is on its way over, and ends it.
    pub async fn stop(self) {
        // It may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the link to the other region ended by a fault");
        }
    }
}

struct Shell {
    own: Arc<RegionalRegion>,
    peer: RegionalOptions,
    role: Option<String>,
    metrics: Arc<ShipMetrics>,
    reached: watch::Sender<Option<Region>>,
    heard: watch::Sender<u64>,
    carried: watch::Sender<u64>,
}

impl Shell {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let opened = tokio::select! {
                _ = &mut stopped => return,
                opened = RegionalRegion::open_far(self.peer.clone()) => opened,
            };
            match opened {
                Ok(peer) => {
                    tracing::info!(region = self.peer.region, "the other region is reached");
                    let ended = self.stand(&peer, &mut stopped).await;
                    self.reached.send_replace(None);
                    peer.close().await;
                    if ended {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %one_line(&error), region = self.peer.region, "the other region is not reached")
                }
            }
            tokio::select! {
                _ = &mut stopped => return,
                () = tokio::time::sleep(REOPEN) => {}
            }
        }
    }

    /// Uses the link until it breaks (false) or is stopped (true).
    async fn stand(&self, peer: &RegionalRegion, stopped: &mut oneshot::Receiver<()>) -> bool {
        self.reached.send_replace(Some(peer.region().clone()));
        let mut work = JoinSet::new();
        work.spawn(control::carry(self.own.control_log(), peer.control_log(), self.carried.clone()));
        work.spawn(hear(self.own.region().clone(), peer.region().clone(), self.heard.clone()));
        work.spawn(databases(side(self.own.options()), side(peer.options())));
        work.spawn(op_stores(Arc::clone(&self.own), peer.options().clone(), Arc::clone(&self.metrics)));
        work.spawn(blobs(Arc::clone(&self.own), peer.region().clone(), Arc::clone(&self.metrics)));
        work.spawn(history(self.own.region().clone(), peer.region().clone(), Arc::clone(&self.metrics)));
        work.spawn(presence(Arc::clone(&self.own), peer.options().clone()));
        if let Some(role) = &self.role {
            work.spawn(bucket(Arc::clone(&self.own), peer.options().clone(), role.clone()));
        }
        let (from, to) = (self.own.region().clone(), peer.region().clone());
        let mut ship = ShipTask::spawn(from, to, ShipConfig::default(), Arc::clone(&self.metrics));
        let ended = tokio::select! {
            _ = &mut *stopped => None,
            ended = ship.ended() => Some(ended),
        };
        work.shutdown().await;
        match ended {
            None => {
                ship.stop().await;
                true
            }
            Some(ShipEnd::PeerReplaced(error)) => {
                self.metrics.peers_replaced.inc();
                tracing::warn!(%error, region = self.peer.region, "the other region has another log");
                false
            }
            Some(ShipEnd::SourceFailed(error)) => {
                tracing::warn!(%error, "this region's log cannot be shipped; beginning again");
                false
            }
            Some(ShipEnd::Stopped) => false,
        }
    }
}

/// A region's servers and number.
#[must_use]
pub fn side(options: &RegionalOptions) -> Side {
    Side { options: options.postgres.clone(), number: options.number }
}

/// Tells whenever everything that the peer's log held a moment ago has been copied here.
async fn hear(own: Region, peer: Region, heard: watch::Sender<u64>) {
    loop {
        match has_all(&peer, &own, None).await {
            Ok(true) => heard.send_modify(|count| *count += 1),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the other region is heard later"),
        }
        tokio::time::sleep(HEARD_PAUSE).await;
    }
}

/// Whether the target's log has everything of the source's below those offsets (`None`: below its present ends).
async fn has_all(source: &Region, target: &Region, ends: Option<&[u64]>) -> Result<bool> {
    let reader = reader_of(source.log.log_id(), target.log.log_id());
    for partition in 0..source.log.partitions() {
        let end = match ends {
            Some(ends) => ends[partition as usize],
            None => source.log.bounds(partition).await?.end.offset,
        };
        if end > 0 && source.log.progress(&reader, partition).await?.unwrap_or(0) < end {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sees to it that the peer's servers follow this region's.
async fn databases(own: Side, peer: Side) {
    while let Err(error) = follow(&own, &peer).await {
        tracing::warn!(%error, "the other region's PostgreSQL does not follow yet");
        tokio::time::sleep(REOPEN * 5).await;
    }
}

/// Sees to it that this region's op store reaches the peer's.
async fn op_stores(own: Arc<RegionalRegion>, peer: RegionalOptions, metrics: Arc<ShipMetrics>) {
    let options = own.options();
    let client = options.dynamodb.client().await;
    let same_place =
        options.dynamodb.endpoint == peer.dynamodb.endpoint && options.dynamodb.region == peer.dynamodb.region;
    // A replica has its table's name, and AWS reaches only AWS.
    let may_be_global =
        options.table == peer.table && !same_place && options.dynamodb.endpoint == peer.dynamodb.endpoint;
    let way = loop {
        if !may_be_global {
            break tables::Way::Stream;
        }
        match tables::ensure(&client, &options.table, &peer.dynamodb.region).await {
            Ok(way) => break way,
            Err(error) => tracing::warn!(%error, "the op store is not replicated yet"),
        }
        tokio::time::sleep(REOPEN * 5).await;
    };
    tracing::info!(?way, table = options.table, "how the op store goes to the other region");
    if way == tables::Way::Stream {
        let stream = tables::Stream {
            tables: client,
            streams: aws_sdk_dynamodbstreams::Client::new(&options.dynamodb.sdk_config().await),
            table: options.table.clone(),
            target: peer.dynamodb.client().await,
            target_table: peer.table.clone(),
            blobs: Arc::clone(&own.region().blobs),
            to: peer.region.clone(),
        };
        stream
            .carry(move |items| {
                metrics.items.inc_by(items);
            })
            .await;
    }
}

/// Shows the peer's sessions who is here.
async fn presence(own: Arc<RegionalRegion>, peer: RegionalOptions) {
    loop {
        if let Err(error) = carry_presence(&own.options().redis, &peer.redis).await {
            tracing::debug!(%error, "presence is carried again in a moment");
        }
        tokio::time::sleep(REOPEN).await;
    }
}

/// Sees to it that S3 replicates this region's bucket to the peer's.
async fn bucket(own: Arc<RegionalRegion>, peer: RegionalOptions, role: String) {
    let options = &own.options().s3;
    let client = buckets::client(options).await;
    let rule = buckets::Rule {
        id: format!("selvedge-{}", peer.region),
        prefix: options.prefix.clone(),
        target: peer.s3.bucket,
        role,
    };
    loop {
        match buckets::ensure(&client, &options.bucket, &rule).await {
            Ok(new) => {
                tracing::info!(bucket = options.bucket, target = rule.target, new, "S3 replicates the bucket");
                return;
            }
            Err(error) => tracing::warn!(%error, bucket = options.bucket, "S3 does not replicate the bucket yet"),
        }
        tokio::time::sleep(REOPEN * 5).await;
    }
}

/// Keeps the peer's copies of this region's snapshot blobs.
async fn blobs(own: Arc<RegionalRegion>, to: Region, metrics: Arc<ShipMetrics>) {
    let prefix = snapshot_blobs(own.options().number);
    loop {
        match mirror_blobs(own.region(), &to, &prefix).await {
            Ok(filled) => drop(metrics.blobs_filled.inc_by(filled)),
            Err(error) => tracing::debug!(%error, "the other region's blobs are filled in later"),
        }
        tokio::time::sleep(BLOBS_PAUSE).await;
    }
}

/// Fills in the segments that the peer has lost.
async fn history(own: Region, to: Region, metrics: Arc<ShipMetrics>) {
    loop {
        match fill_segments(&own, &to).await {
            Ok(filled) => {
                metrics.blobs_filled.inc_by(filled);
                tokio::time::sleep(SEGMENTS_PAUSE).await;
            }
            Err(error) => {
                tracing::debug!(%error, "the other region's segments are filled in later");
                tokio::time::sleep(BLOBS_PAUSE).await;
            }
        }
    }
}

/// Waits until the other region has the control plane's records and all of this region's log.
pub struct LinkDrain {
    /// This region.
    pub own: Region,
    /// Its control plane's topic.
    pub control: Arc<dyn ControlLog>,
    /// The link.
    pub link: LinkState,
}

impl LinkDrain {
    async fn try_drain(&self) -> Result<()> {
        let head = self.control.head().await?;
        let mut ends = Vec::new();
        for partition in 0..self.own.log.partitions() {
            ends.push(self.own.log.bounds(partition).await?.end.offset);
        }
        let mut carried = self.link.carried.clone();
        while *carried.borrow_and_update() < head {
            // The link is gone at a shutdown only.
            if carried.changed().await.is_err() {
                return Ok(());
            }
        }
        loop {
            let reached = self.link.reached.borrow().clone();
            if let Some(peer) = reached
                && has_all(&self.own, &peer, Some(&ends)).await?
            {
                return Ok(());
            }
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
    }
}

impl Drain for LinkDrain {
    fn drain<'a>(&'a self, to: &'a str) -> futures_util::future::BoxFuture<'a, ()> {
        Box::pin(async move {
            while let Err(error) = self.try_drain().await {
                tracing::warn!(%error, to, "the handing over waits");
                tokio::time::sleep(DRAIN_PAUSE * 4).await;
            }
        })
    }
}

/// An error with its causes, for a log line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string().replace('\n', " ");
    let mut cause = error.source();
    while let Some(inner) = cause {
        line += &format!(": {inner}");
        cause = inner.source();
    }
    line
}
