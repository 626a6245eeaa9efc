//! A region's parts, opened beside the programs that work on them: to read what they keep.

use std::collections::HashMap;

use anyhow::Context;
use futures_util::future::BoxFuture;
use selvedge_region::DocumentKey;
use selvedge_region::regional::{RegionalArgs, RegionalRegion};

use super::{Reading, from_log, from_ops, from_snapshot, logged};
use crate::fleet::RegionFleet;
use crate::history::{Final, Logged, Place};

/// What log, op store and snapshot of a region have, each alone; the log only, where nothing is `persisted`.
///
/// # Errors
/// When a service does not answer, or holds what cannot be read.
pub fn read_stores<'a>(
    fleet: &'a RegionFleet,
    documents: &'a [String],
    persisted: bool,
) -> BoxFuture<'a, anyhow::Result<Reading>> {
    Box::pin(async move {
        let opened = open_region(fleet).await?;
        let region = opened.region();
        let (mut finals, mut logs) = (Vec::new(), Vec::new());
        let name = || fleet.name.clone();
        for document in documents {
            let key = DocumentKey { document: document.parse()?, generation: 1 };
            let mut found = vec![(Place::Log { region: name() }, from_log(region, &key).await?)];
            if persisted {
                found.push((Place::Ops { region: name() }, from_ops(region, &key).await?));
                if let Some(snapshot) = from_snapshot(region, &key).await? {
                    found.push((Place::Snapshot { region: name() }, snapshot));
                }
            }
            finals.extend(found.into_iter().map(|(place, reading)| Final {
                place,
                document: document.clone(),
                text: reading.text,
                vector: Some(reading.vector),
            }));
            logs.push(Logged { region: name(), document: document.clone(), counters: logged(region, &key).await? });
        }
        opened.close().await;
        Ok((finals, logs))
    })
}

/// Opens the services of a fleet's region.
async fn open_region(fleet: &RegionFleet) -> anyhow::Result<RegionalRegion> {
    let settings: HashMap<&str, &str> =
        fleet.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let of = |name: &str| settings.get(format!("SELVEDGE_{name}").as_str()).map(ToString::to_string);
    let number = |name: &str| -> anyhow::Result<u32> { of(name).context("missing")?.parse().context("no number") };
    let arguments = RegionalArgs {
        kafka: of("KAFKA"),
        kafka_partitions: number("KAFKA_PARTITIONS")?,
        kafka_replicas: number("KAFKA_REPLICAS")?,
        postgres: of("POSTGRES").into_iter().collect(),
        redis: of("REDIS"),
        dynamodb: of("DYNAMODB"),
        s3: of("S3"),
        s3_bucket: of("S3_BUCKET"),
        region_number: u8::try_from(number("REGION_NUMBER")?)?,
        prefix: of("PREFIX").unwrap_or_default(),
        ..RegionalArgs::default()
    };
    let home = of("HOME_REGION").unwrap_or_else(|| fleet.name.clone());
    let options = arguments.options(&fleet.name, &home)?.context("the fleet names no services")?;
    Ok(RegionalRegion::open(options).await?)
}
