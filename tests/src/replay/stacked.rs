//! A replay in two regions on real services: one person in each by turns, two relays in each, a link between them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::BoxFuture;
use selvedge_region::DocumentId;
use tokio::time::{Instant, sleep};

use super::RAISED_LIMITS;
use crate::drill::read_stores;
use crate::fleet::{Fleet, FleetOptions, RegionFleet, Stack};
use crate::history::{Final, Place};

/// One way between the regions.
const DELAY: Duration = Duration::from_millis(40);
/// How long op store and snapshot may take to have everything: persist gathers for seconds.
const PERSISTED_WITHIN: Duration = Duration::from_secs(120);

/// Name of the document that is replayed into.
pub const DOCUMENT: &str = "replay";

/// Two regions on the stack that the environment names.
pub struct Regions {
    fleet: Fleet,
}

impl Regions {
    /// Starts them, the programs' logs in `folder`, with more flags for every relay.
    ///
    /// # Errors
    /// When the environment names no stack, or a program is not ready in time.
    pub fn start(folder: &Path, more_flags: Vec<String>) -> BoxFuture<'_, anyhow::Result<Self>> {
        Box::pin(async move {
            let stack = Stack::from_environment()?;
            let options = FleetOptions {
                regions: vec!["a".to_owned(), "b".to_owned()],
                relays: 2,
                replicators: true,
                prefix: format!("replay-{:08x}-", rand::random::<u32>()),
                delay: DELAY,
                ports: stack.base()? + 30,
                relay_flags: RAISED_LIMITS.map(str::to_owned).into_iter().chain(more_flags).collect(),
            };
            let fleet = Fleet::start(&options, Some(stack), folder).await.context("the regions do not start")?;
            Ok(Self { fleet })
        })
    }

    /// The first relay of each region, then the second ones: people by turns are in both regions.
    #[must_use]
    pub fn relays(&self) -> Vec<String> {
        let urls = |number: usize| self.fleet.regions.iter().map(move |region| region.urls[number].clone());
        urls(0).chain(urls(1)).collect()
    }

    /// Where every relay and every store of each region by itself has the same text, once they do.
    ///
    /// # Errors
    /// When one does not come to it in time.
    pub fn places(&self) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        Box::pin(async move {
            let document = DocumentId::parse(DOCUMENT, selvedge_protocol::DEFAULT_TENANT)?.to_string();
            let relays = self.relays();
            let text = text_at(&relays[0], &document).await?;
            let mut places = Vec::new();
            for relay in &relays {
                ensure!(text_at(relay, &document).await? == text, "relay {relay} has another text than {}", relays[0]);
                places.push(format!("relay {relay}"));
            }
            for region in &self.fleet.regions {
                let finals = persisted(region, &document, &text).await?;
                places.extend(finals.iter().map(|end| match &end.place {
                    Place::Snapshot { region } => format!("snapshot of region {region}"),
                    Place::Ops { region } => format!("op store of region {region} alone"),
                    _ => format!("log of region {} alone", region.name),
                }));
            }
            Ok(places)
        })
    }
}

async fn text_at(relay: &str, document: &str) -> anyhow::Result<String> {
    crate::fleet::get(relay, &format!("/v1/docs/{document}/text")).await
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
