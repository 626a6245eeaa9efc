//! What befalls a deployment in a drill, and the targets it is measured against.

use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Recorder;
use crate::fleet::{Fleet, Service, Stack};
use crate::link::Way;

/// A drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Every process of the home region is killed at once, and brought back later.
    RegionKilled,
    /// Every process of the home region is halted: nothing is closed and nobody answers.
    RegionSilent,
    /// The link between the regions is silent for a while.
    LinkCut,
    /// The home region is killed while its log holds what no other has; it comes back and gives it out.
    Failback,
    /// The control plane is moved on purpose.
    Switchover,
    /// The home region's replicator is killed in the middle of its work.
    ReplicatorKilled,
    /// A relay is killed.
    RelayKilled,
    /// Kafka is killed and started again.
    KafkaRestarted,
    /// PostgreSQL is lost with all it kept, and made anew.
    PostgresRebuilt,
    /// Redis forgets everything.
    RedisFlushed,
}

/// What DESIGN 9 asks for, in milliseconds; `None`: it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Client-visible gap, p99.
    pub gap_ms: Option<u64>,
    /// Control plane promoted.
    pub promotion_ms: Option<u64>,
}

impl Case {
    /// Every drill.
    pub const ALL: [Case; 10] = [
        Case::RegionKilled,
        Case::RegionSilent,
        Case::LinkCut,
        Case::Failback,
        Case::Switchover,
        Case::ReplicatorKilled,
        Case::RelayKilled,
        Case::KafkaRestarted,
        Case::PostgresRebuilt,
        Case::RedisFlushed,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Case::RegionKilled => "region-killed",
            Case::RegionSilent => "region-silent",
            Case::LinkCut => "link-cut",
            Case::Failback => "failback",
            Case::Switchover => "switchover",
            Case::ReplicatorKilled => "replicator-killed",
            Case::RelayKilled => "relay-killed",
            Case::KafkaRestarted => "kafka-restarted",
            Case::PostgresRebuilt => "postgres-rebuilt",
            Case::RedisFlushed => "redis-flushed",
        }
    }

    /// Whether it is about two regions; the others can be run in one.
    #[must_use]
    pub fn needs_two_regions(self) -> bool {
        matches!(self, Case::RegionKilled | Case::RegionSilent | Case::LinkCut | Case::Failback | Case::Switchover)
    }

    /// What is asked of it.
    #[must_use]
    pub fn targets(self) -> Targets {
        let promoted = Some(15_000);
        match self {
            Case::RelayKilled => Targets { gap_ms: Some(1_500), promotion_ms: None },
            Case::RegionKilled | Case::Failback => Targets { gap_ms: Some(2_500), promotion_ms: promoted },
            Case::RegionSilent => Targets { gap_ms: Some(6_000), promotion_ms: promoted },
            Case::Switchover => Targets { gap_ms: Some(1_000), promotion_ms: promoted },
            _ => Targets { gap_ms: None, promotion_ms: None },
        }
    }

    /// Does it to the fleet, and puts it right again. The home region suffers.
    pub(super) async fn befall(self, fleet: &mut Fleet, recorder: &Recorder, scale: Scale) -> anyhow::Result<()> {
        let home = fleet.regions[0].name.clone();
        match self {
            Case::RelayKilled => {
                let relay = fleet.regions[0].relays.first_mut().context("the region has no relay")?;
                recorder.wrong(format!("{} killed", relay.name()));
                relay.kill().await?;
                sleep(scale.away).await;
                relay.start().await
            }
            Case::ReplicatorKilled => {
                let replicator = fleet.regions[0].replicator.as_mut().context("the region has no replicator")?;
                recorder.wrong("replicator killed");
                replicator.kill().await?;
                sleep(scale.away).await;
                replicator.start().await
            }
            Case::KafkaRestarted => {
                recorder.wrong("Kafka killed");
                fleet.stack()?.signal(&home, Service::Kafka, "KILL")?;
                fleet.stack()?.up(&["--region", &home, "--only", "kafka"]).await
            }
            Case::PostgresRebuilt => {
                recorder.wrong("PostgreSQL lost");
                fleet.stack()?.signal(&home, Service::Postgres, "KILL")?;
                let which = ["--region", &home, "--only", "postgres"];
                fleet.stack()?.wipe(&which).await?;
                fleet.stack()?.up(&which).await?;
                // The tables are made by who starts: as an operator would, after putting an empty server in its place.
                if let Some(replicator) = &mut fleet.regions[0].replicator {
                    replicator.kill().await?;
                    replicator.start().await?;
                }
                Ok(())
            }
            Case::RedisFlushed => {
                recorder.wrong("Redis flushed");
                flush_redis(fleet.stack()?, &home).await
            }
            Case::RegionKilled | Case::Failback => {
                recorder.wrong(format!("region {home} killed"));
                fleet.kill_region(&home).await?;
                sleep(scale.region_away).await;
                // Nothing crossed it while the home wrote what it holds alone.
                fleet.link.set(Way::Open);
                fleet.bring_back(&home).await
            }
            Case::RegionSilent => {
                recorder.wrong(format!("region {home} halted"));
                fleet.halt_region(&home, true)?;
                sleep(scale.region_away).await;
                fleet.halt_region(&home, false)
            }
            Case::LinkCut => {
                recorder.wrong("link silent");
                fleet.link.set(Way::Silent);
                sleep(scale.region_away).await;
                fleet.link.set(Way::Open);
                Ok(())
            }
            Case::Switchover => {
                let to = fleet.regions[1].name.clone();
                recorder.wrong(format!("switchover to {to}"));
                fleet.switch_over(&to).await
            }
        }
    }
}

/// How long things are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// A process.
    pub(super) away: Duration,
    /// A region or the link.
    pub(super) region_away: Duration,
}

async fn flush_redis(stack: &Stack, region: &str) -> anyhow::Result<()> {
    let address = stack.address(&format!("{}_REDIS", region.to_uppercase()))?;
    let host = address.trim_start_matches("redis://").trim_end_matches('/');
    let mut redis = TcpStream::connect(host).await.with_context(|| format!("Redis at {address}"))?;
    redis.write_all(b"FLUSHALL\r\n").await?;
    let mut answer = [0; 5];
    redis.read_exact(&mut answer).await?;
    anyhow::ensure!(&answer == b"+OK\r\n", "Redis answered {:?}", String::from_utf8_lossy(&answer));
    Ok(())
}
