//! The program put together: parts in order, shut down in reverse.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use selvedge_region::regional::RegionalRegion;
use tokio::sync::watch;

use crate::cleanup::CleanupTask;
use crate::config::{Config, ObserveConfig};
use crate::failover::promotion::endpoints::{Endpoints, KEY_FIX, Signer};
use crate::failover::promotion::route53::Route53;
use crate::failover::promotion::steps::{BeginEpoch, Databases};
use crate::failover::promotion::{Step, until_done};
use crate::failover::witness::DynamoWitness;
use crate::failover::{Drain, FailoverConfig, FailoverTask, Lease, Standing};
use crate::link::{Link, LinkDrain, LinkState, side};
use crate::metrics::{CleanupMetrics, FailoverMetrics, PersistMetrics, ShipMetrics};
use crate::ops::{Served, Server};
use crate::persist::{PersistTask, Surroundings};

/// How long all parts together may take to end what they are at. Nothing is lost by leaving it: offsets and leases say only what
/// is durable, and the next process goes on from there.
const END_WITHIN: Duration = Duration::from_secs(20);

/// Runs until told to stop.
///
/// # Errors
/// A setting that cannot be, a service that does not answer, an address that cannot be had.
pub fn run(config: Config, stopped: BoxFuture<'static, ()>) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(async move {
        // Everything that can be wrong without asking anybody is said first.
        config.check()?;
        let (own, peer, failover) = (config.own()?, config.other()?, config.failover()?);
        let (persisting, cleaning) = (config.rhythm.persist()?, config.rhythm.cleanup()?);
        tracing::info!(settings = crate::command::describe(&config), "starting");
        let own = Arc::new(RegionalRegion::open(own).await?);
        own.try_writing_blobs().await?;
        let mut registry = Registry::with_prefix("selvedge_replicator");
        let (persist, ship) = (Arc::new(PersistMetrics::default()), Arc::new(ShipMetrics::default()));
        let cleanup = Arc::new(CleanupMetrics::default());
        persist.register(&mut registry);
        ship.register(&mut registry);
        cleanup.register(&mut registry);

        let link =
            peer.map(|peer| Link::spawn(Arc::clone(&own), peer, config.s3_replication_role.clone(), Arc::clone(&ship)));
        let state = link.as_ref().map(Link::state);
        let watching = watch_over(&config, failover.clone(), &own, state.clone(), &mut registry).await?;
        let heard = state.as_ref().map_or_else(|| watch::channel(1).1, |state| state.heard.clone());
        let surroundings = Surroundings { deciding: watching.deciding.clone(), regions_heard: heard };
        let persist = PersistTask::spawn(own.region().clone(), persisting, surroundings, persist);
        let reached = state.clone().map(|state| state.reached);
        let lag_ms = move || {
            let reached = reached.as_ref().is_some_and(|reached| reached.borrow().is_some());
            reached.then(|| u64::try_from(ship.lag_ms.get()).unwrap_or(0))
        };
        let peers = move || match &state {
            None => Some(Vec::new()),
            Some(state) => state.reached.borrow().clone().map(|peer| vec![peer]),
        };
        let deciding = watching.deciding.clone();
        let cleanup = CleanupTask::spawn(own.region().clone(), Arc::new(peers), cleaning, deciding, cleanup);
        let served = Served {
            region: config.region.clone(),
            registry,
            standing: watching.standing.clone(),
            ttl_ms: failover.ttl_ms,
            lag_ms: Box::new(lag_ms),
            ready: watch::channel(true).1,
        };
        let server = Server::start(config.admin, served).await?;
        println!(
            "selvedge-replicator of region {}: http://{} (health, metrics, /v1/control)",
            config.region, server.address
        );

        stopped.await;
        tracing::info!("stopping");
        let ending = async {
            server.stop().await;
            watching.stop().await;
            cleanup.stop().await;
            persist.stop().await;
            if let Some(link) = link {
                link.stop().await;
            }
            if let Ok(own) = Arc::try_unwrap(own).map_err(drop) {
                own.close().await;
            }
        };
        if tokio::time::timeout(END_WITHIN, ending).await.is_err() {
            let within_s = END_WITHIN.as_secs();
            tracing::warn!(within_s, "a service does not answer: what was under way is left to whoever comes next");
            // Its client would be waited for when it is dropped.
            std::process::exit(0);
        }
        Ok(())
    })
}

/// Watches from a third place until told to stop.
///
/// # Errors
/// As [`run`].
pub fn observe(config: ObserveConfig, stopped: BoxFuture<'static, ()>) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(async move {
        let options = config.witness.required()?;
        let failover = FailoverConfig { candidate: false, ..config.witness.failover(&config.observer)? };
        let ttl_ms = failover.ttl_ms;
        let witness = DynamoWitness::open(options.client().await, config.witness.witness_table.clone()).await;
        let witness =
            witness.context("the witness does not answer\n  fix: start it, or give another address with --witness")?;
        let mut registry = Registry::with_prefix("selvedge_replicator");
        let metrics = Arc::new(FailoverMetrics::default());
        metrics.register(&mut registry);
        let task = FailoverTask::spawn(failover, Arc::new(witness), Vec::new(), Arc::new(NothingToDrain), metrics);
        let served = Served {
            region: config.observer.clone(),
            registry,
            standing: task.standing(),
            ttl_ms,
            lag_ms: Box::new(|| None),
            ready: watch::channel(true).1,
        };
        let server = Server::start(config.admin, served).await?;
        println!(
            "selvedge-replicator observer {}: http://{} (health, metrics, /v1/control)",
            config.observer, server.address
        );
        stopped.await;
        server.stop().await;
        task.stop().await;
        Ok(())
    })
}

/// What watches over the control plane, or the word of a region that has nobody to watch with.
struct Watching {
    deciding: watch::Receiver<Option<u64>>,
    standing: watch::Receiver<Standing>,
    task: Option<FailoverTask>,
    /// Where nothing ever moves, the list of endpoints is signed beside everything else.
    signing: Option<tokio::task::JoinHandle<()>>,
}

impl Watching {
    async fn stop(self) {
        if let Some(signing) = self.signing {
            signing.abort();
        }
        if let Some(task) = self.task {
            task.stop().await;
        }
    }
}

async fn watch_over(
    config: &Config,
    failover: FailoverConfig,
    own: &Arc<RegionalRegion>,
    link: Option<LinkState>,
    registry: &mut Registry,
) -> anyhow::Result<Watching> {
    let Some(options) = config.witness.options()? else {
        return alone(config, own).await;
    };
    let place = options.endpoint.clone().unwrap_or_else(|| format!("AWS {}", options.region));
    let witness = DynamoWitness::open(options.client().await, config.witness.witness_table.clone()).await;
    let fix = "start it, or give another address with --witness";
    let witness = witness.with_context(|| format!("--witness {place} does not answer\n  fix: {fix}"))?;
    let metrics = Arc::new(FailoverMetrics::default());
    metrics.register(registry);
    let drain: Arc<dyn Drain> = match &link {
        Some(link) => {
            let control = own.control_log();
            Arc::new(LinkDrain { own: own.region().clone(), control, link: link.clone() })
        }
        None => Arc::new(NothingToDrain),
    };
    let steps = steps(config, own).await?;
    let task = FailoverTask::spawn(failover, Arc::new(witness), steps, drain, metrics);
    Ok(Watching { deciding: task.deciding(), standing: task.standing(), task: Some(task), signing: None })
}

/// Without a witness nothing ever moves: the home decides, in the epoch its control plane is in.
async fn alone(config: &Config, own: &Arc<RegionalRegion>) -> anyhow::Result<Watching> {
    let standing = own.region().control.standing();
    let deciding = (config.home() == config.region).then_some(standing.epoch);
    let lease = Lease {
        epoch: standing.epoch,
        region: config.home().to_owned(),
        process: 1,
        renewal: 0,
        promoted_ms: 0,
        order: 0,
    };
    // It never runs out.
    let seen = selvedge_protocol::Instant(u64::MAX);
    let shown = Standing { lease: Some(lease), deciding, seen, ..Standing::default() };
    let signing = endpoints(config, own)
        .await?
        .zip(deciding)
        .map(|(endpoints, epoch)| tokio::spawn(async move { until_done(&endpoints, epoch, |_| ()).await }));
    Ok(Watching { deciding: watch::channel(deciding).1, standing: watch::channel(shown).1, task: None, signing })
}

/// The steps of a promotion of this region.
///
/// # Errors
/// A setting that cannot be.
pub async fn steps(config: &Config, own: &Arc<RegionalRegion>) -> anyhow::Result<Vec<Box<dyn Step>>> {
    let mut steps: Vec<Box<dyn Step>> =
        vec![Box::new(BeginEpoch { region: own.region().clone(), name: config.region.clone() })];
    // It needs the control plane alone: neither a database nor a DNS that does not answer holds it up.
    if let Some(endpoints) = endpoints(config, own).await? {
        steps.push(Box::new(endpoints));
    }
    if let Some(peer) = config.other()? {
        steps.push(Box::new(Databases { region: own.region().clone(), own: side(own.options()), peer: side(&peer) }));
    }
    if let Some(route53) = route53(config).await? {
        steps.push(Box::new(route53));
    }
    Ok(steps)
}

/// DNS, if it is to be set.
///
/// # Errors
/// A setting that cannot be.
pub async fn route53(config: &Config) -> anyhow::Result<Option<Route53>> {
    let Some(options) = config.route53()? else { return Ok(None) };
    let mut place = config.own()?.dynamodb;
    place.endpoint = config.dns.route53.clone().map(|url| url.trim_end_matches('/').to_owned());
    if place.endpoint.is_some() && place.keys.is_none() && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
        place.keys = Some(("local".to_owned(), "local".to_owned()));
    }
    let client = aws_sdk_route53::Client::new(&place.sdk_config().await);
    Ok(Some(Route53::new(client, options, config.region.clone())))
}

/// The list of endpoints, if it is to be signed.
async fn endpoints(config: &Config, own: &Arc<RegionalRegion>) -> anyhow::Result<Option<Endpoints>> {
    let Some(options) = config.endpoints()? else { return Ok(None) };
    let name = options.key.display();
    let bytes = tokio::fs::read(&options.key).await;
    let bytes = bytes.with_context(|| format!("--endpoints-key {name} cannot be read\n  fix: {KEY_FIX}"))?;
    let signer = Signer::new(&bytes).with_context(|| format!("--endpoints-key {name}\n  fix: {KEY_FIX}"))?;
    tracing::info!(key = signer.public_key().name(), "the list of endpoints is signed in every epoch");
    let (home, relays) = (config.region.clone(), options.relays);
    Ok(Some(Endpoints { signer, home, relays, region: own.region().clone() }))
}

/// The other region of a region that has none.
struct NothingToDrain;

impl Drain for NothingToDrain {
    fn drain<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
