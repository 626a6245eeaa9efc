//! One run of one drill.

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::case::{Case, Scale};
use super::observe::observe;
use super::stranded::Stranded;
use super::{Load, LoadOptions, Recorder};
use crate::fleet::{self, Fleet, FleetOptions, RegionFleet, Stack};
use crate::history::{Breach, Event, Final, History, Logged, Place, check};
use crate::link::Way;

/// The beginning of the documents' names.
pub(super) const DOCUMENTS: &str = "drill-";
/// How often clients look at what they were told.
const LOOK: Duration = Duration::from_millis(20);

/// How a drill is run.
#[derive(Debug, Clone)]
pub struct DrillOptions {
    /// Clients that type.
    pub clients: u32,
    /// Documents they share.
    pub documents: u32,
    /// From one mark of a client to the next, about.
    pub pause: Duration,
    /// Typing before anything happens.
    pub before: Duration,
    /// How long a killed process is away.
    pub away: Duration,
    /// How long a region or the link is away.
    pub region_away: Duration,
    /// Typing after all is whole again.
    pub after: Duration,
    /// How long the backlog may take.
    pub rest_within: Duration,
    /// One way between the regions.
    pub delay: Duration,
    /// Characters that the home's log holds alone when it is lost, by somebody who does not come back, where the drill is
    /// about that.
    pub stranded: usize,
    /// Whether replicators run, without which one region persists nothing.
    pub replicators: bool,
    /// What chance is made of.
    pub seed: u64,
}

impl Default for DrillOptions {
    /// 50 clients in 5 documents, 5 marks a second each, 40 ms between the regions.
    fn default() -> Self {
        Self {
            clients: 50,
            documents: 5,
            pause: Duration::from_millis(200),
            before: Duration::from_secs(5),
            away: Duration::from_secs(5),
            region_away: Duration::from_secs(30),
            after: Duration::from_secs(5),
            rest_within: Duration::from_secs(120),
            delay: Duration::from_millis(40),
            stranded: 20_000,
            replicators: true,
            seed: 1,
        }
    }
}

/// What a run came to.
pub struct Outcome {
    /// All that was noted.
    pub history: History,
    /// What should not have been.
    pub breaches: Vec<Breach>,
}

/// What the stores of a region have of its documents, read by somebody who can.
pub type Reading = (Vec<Final>, Vec<Logged>);
/// Reads a region's stores; nothing where a region stands on none.
pub type ReadStores = dyn for<'a> Fn(&'a RegionFleet, &'a [String]) -> BoxFuture<'a, anyhow::Result<Reading>> + Sync;

/// Starts a fleet on the stack, lets clients type, lets the case befall it, and judges what everybody has in the end. Logs
/// of the programs go to `folder`. Without a stack the fleet is one relay with its data there, at a port of its own.
///
/// # Errors
/// When the deployment itself cannot be started or brought back; what the system did wrong is in the outcome.
pub fn run<'a>(
    case: Case,
    options: &'a DrillOptions,
    stack: Option<Stack>,
    folder: &'a Path,
    read: &'a ReadStores,
) -> BoxFuture<'a, anyhow::Result<Outcome>> {
    Box::pin(async move {
        let recorder = Recorder::default();
        let mut fleet = Fleet::start(&fleet_options(case, options, stack.as_ref())?, stack, folder).await?;
        let observers: Vec<_> = fleet
            .regions
            .iter()
            .filter(|region| region.replicator.is_some() && case.needs_two_regions())
            .map(|region| observe(region.name.clone(), region.admin.clone(), recorder.clone()))
            .collect();
        let load = Load::start(&load_options(options, &fleet), &recorder).await?;
        let writers = load.writers().to_vec();
        // What befalls regions that have not found each other yet says nothing.
        load.linked(options.rest_within).await?;
        sleep(options.before).await;
        let stranded = match case {
            Case::Failback => {
                fleet.link.set(Way::Silent);
                Some(Stranded::write(&fleet, options.stranded, options.rest_within).await?)
            }
            _ => None,
        };
        let scale = Scale { away: options.away, region_away: options.region_away };
        let befallen = case.befall(&mut fleet, &recorder, scale).await;
        recorder.note(|at| Event::Healed { at });
        sleep(options.after).await;
        let (mut finals, settled) = load.rest(options.rest_within, &recorder).await;
        observers.iter().for_each(tokio::task::JoinHandle::abort);
        befallen?;
        if let Err(error) = &settled {
            tracing::warn!("{error:#}");
        }
        let mut documents: Vec<String> = writers.iter().map(|writer| writer.document.clone()).collect();
        if let Some(stranded) = &stranded {
            let after = stranded.arrived(&fleet, options.rest_within).await;
            let operations = options.stranded;
            tracing::info!(operations, after_ms = after.as_millis() as u64, "what was stranded is everywhere");
            documents.push(stranded.document());
        }
        documents.sort();
        documents.dedup();
        let mut logs = Vec::new();
        for region in &fleet.regions {
            finals.extend(relay_finals(region, &documents, options.rest_within).await?);
            let (stored, logged) = caught_up(region, &documents, &finals, options.rest_within, read).await?;
            finals.extend(stored);
            logs.extend(logged);
        }
        // What was stranded is no text of marks, and is judged by itself.
        let alone = stranded.map_or_else(Vec::new, |stranded| stranded.judge(&mut finals));
        let events = recorder.events();
        let history = History { writers, events, finals, logs, quarantined: Vec::new(), region_lost: false };
        let mut breaches = check(&history);
        breaches.extend(alone);
        fleet.end().await?;
        Ok(Outcome { history, breaches })
    })
}

fn fleet_options(case: Case, options: &DrillOptions, stack: Option<&Stack>) -> anyhow::Result<FleetOptions> {
    let regions: &[&str] = if case.needs_two_regions() { &["a", "b"] } else { &["a"] };
    Ok(FleetOptions {
        regions: regions.iter().map(ToString::to_string).collect(),
        relays: if stack.is_some() { 2 } else { 1 },
        replicators: options.replicators && stack.is_some(),
        prefix: format!("drill-{:08x}-", rand::random::<u32>()),
        delay: options.delay,
        ports: match stack {
            // Behind the services' own.
            Some(stack) => stack.base()? + 30,
            None => free_ports()?,
        },
        relay_flags: Vec::new(),
    })
}

/// A port that was free a moment ago, and the next one: a relay that comes back has to come back where it was.
fn free_ports() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let first = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no two free ports side by side were found")
}

fn load_options(options: &DrillOptions, fleet: &Fleet) -> LoadOptions {
    LoadOptions {
        // They learn of the other relays from the first one.
        regions: fleet.regions.iter().map(|region| (region.name.clone(), region.urls.clone())).collect(),
        clients: options.clients,
        documents: options.documents,
        prefix: DOCUMENTS.to_owned(),
        pause: options.pause,
        look: LOOK,
        trust: fleet.trust.clone(),
        seed: options.seed,
    }
}

/// What each relay answers when asked for the texts. That there is a document may still be on its way from the other region's
/// control plane when its text is here; the text itself is asked for once.
async fn relay_finals(region: &RegionFleet, documents: &[String], within: Duration) -> anyhow::Result<Vec<Final>> {
    let deadline = Instant::now() + within;
    let mut finals = Vec::new();
    for (relay, url) in region.relays.iter().zip(&region.urls).filter(|(relay, _)| relay.is_started()) {
        for document in documents {
            let text = loop {
                let answer = fleet::get(url, &format!("/v1/docs/{document}/text")).await;
                // Neither is an end: it says that it may be asked again, and what was just written may be on its way.
                let passes = |error: &str| error.contains("doc_not_found") || error.contains("\"retryable\":true");
                match answer {
                    Err(error) if Instant::now() < deadline && passes(&format!("{error:#}")) => {
                        sleep(Duration::from_millis(200)).await;
                    }
                    answer => break answer?,
                }
            };
            let place = Place::Relay { region: region.name.clone(), relay: relay.name().to_owned() };
            finals.push(Final { place, document: document.clone(), text, vector: None });
        }
    }
    Ok(finals)
}

/// Reads a region's stores until they have caught up with the clients' texts, or time is up: persist gathers for seconds.
async fn caught_up(
    region: &RegionFleet,
    documents: &[String],
    finals: &[Final],
    within: Duration,
    read: &ReadStores,
) -> anyhow::Result<Reading> {
    let deadline = Instant::now() + within;
    loop {
        let reading = read(region, documents).await?;
        let lags = |stored: &Final| {
            let client = finals.iter().find(|end| end.document == stored.document);
            client.is_some_and(|client| client.text != stored.text)
        };
        if !reading.0.iter().any(lags) || Instant::now() > deadline {
            return Ok(reading);
        }
        sleep(Duration::from_secs(1)).await;
    }
}
