//! A replay in two regions on real services: one person in each by turns, two relays in each, a link between them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::BoxFuture;
use selvedge_region::DocumentId;
use tokio::time::{Instant, sleep};

use super::{Outcome, RAISED_LIMITS, Trace, Venue, play};
use crate::drill::read_stores;
use crate::fleet::{Fleet, FleetOptions, RegionFleet, Stack};
use crate::history::{Final, Place};

/// One way between the regions.
const DELAY: Duration = Duration::from_millis(40);
/// How long op store and snapshot may take to have everything: persist gathers for seconds.
const PERSISTED_WITHIN: Duration = Duration::from_secs(120);

/// Plays the recording on the stack that the environment names, and answers where the same text was found in the end.
///
/// # Errors
/// As [`play`], and when a store of either region makes another text by itself.
pub fn play_on_stack<'a>(
    trace: &'a Trace,
    folder: &'a Path,
    step: &'a (dyn Fn() + Sync),
) -> BoxFuture<'a, anyhow::Result<(Outcome, Vec<String>)>> {
    Box::pin(async move {
        let stack = Stack::from_environment()?;
        let options = FleetOptions {
            regions: vec!["a".to_owned(), "b".to_owned()],
            relays: 2,
            replicators: true,
            prefix: format!("replay-{:08x}-", rand::random::<u32>()),
            delay: DELAY,
            ports: stack.base()? + 30,
            relay_flags: RAISED_LIMITS.map(str::to_owned).into(),
        };
        let fleet = Fleet::start(&options, Some(stack), folder).await.context("the regions do not start")?;
        let urls = |number: usize| fleet.regions.iter().map(move |region| region.urls[number].clone());
        // The first person at the first relay of a, the second at the first of b, then at the second ones.
        let addresses: Vec<String> = urls(0).chain(urls(1)).collect();
        let venue = Venue { relays: addresses.clone(), addresses };
        let outcome = play(trace, &venue, "replay", step).await?;
        let document = DocumentId::parse("replay", selvedge_protocol::DEFAULT_TENANT)?.to_string();
        let text = crate::fleet::get(&venue.relays[0], &format!("/v1/docs/{document}/text")).await?;
        let mut places: Vec<String> = venue.relays.iter().map(|relay| format!("relay {relay}")).collect();
        for region in &fleet.regions {
            let finals = persisted(region, &document, &text).await?;
            places.extend(finals.iter().map(|end| match &end.place {
                Place::Snapshot { region } => format!("snapshot of region {region}"),
                Place::Ops { region } => format!("op store of region {region} alone"),
                _ => format!("log of region {} alone", region.name),
            }));
        }
        Ok((outcome, places))
    })
}

/// What log, op store and snapshot of a region have, once all three have `text`.
async fn persisted(region: &RegionFleet, document: &str, text: &str) -> anyhow::Result<Vec<Final>> {
    let deadline = Instant::now() + PERSISTED_WITHIN;
    loop {
        let (finals, _) = read_stores(region, &[document.to_owned()], true).await?;
        let lagging: Vec<String> =
            finals.iter().filter(|end| end.text != text).map(|end| format!("{:?}", end.place)).collect();
        if lagging.is_empty() && finals.len() == 3 {
            return Ok(finals);
        }
        ensure!(
            Instant::now() < deadline,
            "region {}: {} of 3 stores are there, and these have another text: {lagging:?}",
            region.name,
            finals.len()
        );
        sleep(Duration::from_secs(1)).await;
    }
}
