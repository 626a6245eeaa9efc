//! What people order and ask: switchover, promote, status.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::BoxFuture;
use selvedge_protocol::{DecodeError, EndpointList, SignedList};
use selvedge_region::fold::PERSIST_READER;
use selvedge_region::regional::{DynamoDbOptions, RegionalRegion};
use selvedge_region::{REPLICATED_READER, Region};
use serde_json::json;

use crate::app::{route53, steps};
use crate::config::{Config, OrderConfig, PromoteConfig, StatusConfig, WitnessArgs};
use crate::failover::promotion::routes::{epoch_of, home_of};
use crate::failover::witness::{DynamoWitness, Witness};
use crate::failover::{Lease, View};

const LOOK: Duration = Duration::from_millis(100);

/// Hands the control plane over, and waits until it is.
///
/// # Errors
/// The holder is lost, or it took too long.
pub fn switchover(config: OrderConfig) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(async move {
        let witness = open(&config.witness).await?;
        let Some(lease) = look(&*witness).await?.lease else {
            bail!("nobody has ever held the control plane: start `selvedge-replicator run` in the home region first");
        };
        if lease.region == config.to && lease.process != 0 {
            println!("{} holds the control plane in epoch {}", lease.region, lease.epoch);
            return Ok(());
        }
        if !moves(&*witness, &lease, config.witness.lease_ms).await? {
            bail!(
                "--to {}: region {} does not renew its lease, so nothing can be handed over\n  \
             fix: `selvedge-replicator promote --to {}` has it take over what is lost",
                config.to,
                lease.region,
                config.to
            );
        }
        order(&*witness, &config.to, config.wait_seconds).await
    })
}

/// Has a region take the control plane, or shows what that would do.
///
/// # Errors
/// A service does not answer, or it took too long.
pub fn promote(config: PromoteConfig) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(async move {
        // Ordering it takes the witness alone, so that it can be done when everything else is lost.
        if config.dry_run {
            config.run.check()?;
        }
        let to = config.target()?;
        let witness = open(&config.run.witness).await?;
        let view = look(&*witness).await?;
        if !config.dry_run {
            if let Some(lease) = &view.lease
                && lease.region != to
                && moves(&*witness, lease, config.run.witness.lease_ms).await?
            {
                println!("region {} lives and renews its lease: it hands over, as with `switchover`", lease.region);
            }
            return order(&*witness, &to, config.wait_seconds).await;
        }
        if to != config.run.region {
            bail!(
                "--to {to}: what a promotion would do is seen from that region\n  fix: run it there, or leave --dry-run out"
            );
        }
        let epoch = view.lease.as_ref().map_or(1, |lease| lease.epoch + 1);
        match &view.lease {
            Some(lease) => println!("lease: epoch {}, region {}, renewal {}", lease.epoch, lease.region, lease.renewal),
            None => println!("lease: nobody has ever held it"),
        }
        println!("would take it as epoch {epoch} for region {to}, and then:");
        let own = Arc::new(RegionalRegion::open(config.run.own()?).await?);
        for step in steps(&config.run, &own).await? {
            println!("{}:", step.name());
            match step.plan(epoch).await {
                Ok(lines) if lines.is_empty() => println!("  nothing: it is so already"),
                Ok(lines) => lines.iter().for_each(|line| println!("  {line}")),
                Err(error) => println!("  would fail: {error}"),
            }
        }
        Ok(())
    })
}

/// Shows how everything stands.
///
/// # Errors
/// This region's services do not answer.
pub fn status(config: StatusConfig) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(async move {
        let run = &config.run;
        run.check()?;
        let own = Arc::new(RegionalRegion::open(run.own()?).await?);
        let mut state = json!({ "region": run.region, "log": format!("{:032x}", own.log_id().0) });
        state["persist_behind"] = json!(behind(own.region(), PERSIST_READER).await?);
        if run.other()?.is_some() {
            state["ship_behind"] = json!(behind(own.region(), REPLICATED_READER).await?);
        }
        let control = own.region().control.standing();
        state["control"] = json!({ "epoch": control.epoch, "home": control.home });
        if let Some(published) = own.region().control.endpoints().await? {
            state["endpoints"] = match listed(&published.signed) {
                Ok(list) => {
                    json!({ "epoch": list.epoch, "issue": list.issue, "home": list.home, "relays": list.endpoints.len() })
                }
                Err(error) => json!({ "error": error.to_string() }),
            };
        }
        if let Some(options) = run.witness.options()? {
            state["lease"] = match lease(&run.witness, options).await {
                Ok(Some(lease)) => json!({ "epoch": lease.epoch, "region": lease.region, "renewal": lease.renewal }),
                Ok(None) => json!(null),
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
        }
        if let Some(dns) = route53(run).await? {
            let name = run.dns.dns_name.clone().unwrap_or_default();
            state["dns"] = match dns.record_sets().await {
                Ok(sets) => {
                    let (told, _) = dns.told(|_| true).await.unwrap_or_default();
                    json!({ "name": name, "epoch": epoch_of(&sets, &name), "home": home_of(&sets, &name), "resolvers": told })
                }
                Err(error) => json!({ "error": error.to_string() }),
            };
        }
        if config.json {
            println!("{state}");
        } else if let Some(entries) = state.as_object() {
            entries.iter().for_each(|(name, value)| println!("{name:15} {value}"));
        }
        Ok(())
    })
}

/// What a signed list says.
fn listed(signed: &str) -> Result<EndpointList, DecodeError> {
    EndpointList::decode(&SignedList::parse(signed)?.list)
}

async fn lease(config: &WitnessArgs, options: DynamoDbOptions) -> anyhow::Result<Option<Lease>> {
    let witness = DynamoWitness::open(options.client().await, config.witness_table.clone()).await?;
    Ok(witness.look().await?.lease)
}

/// Records that a reader of the log has not done with, over all partitions; offsets of the log's own marks count.
async fn behind(region: &Region, reader: &str) -> anyhow::Result<u64> {
    let mut behind = 0;
    for partition in 0..region.log.partitions() {
        let bounds = region.log.bounds(partition).await?;
        let done = region.log.progress(reader, partition).await?.unwrap_or(0).max(bounds.start.offset);
        behind += bounds.end.offset.saturating_sub(done);
    }
    Ok(behind)
}

async fn open(config: &WitnessArgs) -> anyhow::Result<Box<dyn Witness>> {
    let options = config.required()?;
    let place = options.endpoint.clone().unwrap_or_else(|| format!("AWS {}", options.region));
    let opened = DynamoWitness::open(options.client().await, config.witness_table.clone()).await;
    let fix = "start it, or give another address with --witness";
    Ok(Box::new(opened.with_context(|| format!("--witness {place} does not answer\n  fix: {fix}"))?))
}

async fn look(witness: &dyn Witness) -> anyhow::Result<View> {
    witness.look().await.context("the witness does not answer")
}

/// Whether the lease is renewed.
async fn moves(witness: &dyn Witness, lease: &Lease, ttl_ms: u64) -> anyhow::Result<bool> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(ttl_ms);
    while tokio::time::Instant::now() < deadline {
        if look(witness).await?.lease.is_some_and(|now| now.stamp() != lease.stamp()) {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Gives the order and waits until it is carried out.
async fn order(witness: &dyn Witness, to: &str, wait_seconds: u64) -> anyhow::Result<()> {
    let id = witness.order(to).await.context("the order was not given")?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_seconds);
    while tokio::time::Instant::now() < deadline {
        if let Some(lease) = look(witness).await?.lease
            && lease.region == to
            && lease.process != 0
            && lease.order >= id
        {
            println!("{} holds the control plane in epoch {}", lease.region, lease.epoch);
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!(
        "--to {to}: region {to} has not taken the control plane in {wait_seconds} s\n  \
         fix: see that `selvedge-replicator run` runs there and reaches the witness; the order stands until another one is given"
    )
}

/// The settings that are not defaults, for the log.
pub fn describe(config: &Config) -> String {
    format!(
        "region {}, home {}, peer {}",
        config.region,
        config.home(),
        config.peer_region.as_deref().unwrap_or("none")
    )
}
