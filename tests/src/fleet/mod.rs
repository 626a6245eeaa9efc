//! A deployment of real processes on this machine: per region relays and a replicator on the local stack's services, and
//! between the regions a link that can be slow, silent or cut. Without a stack it is one relay with a folder of its own.

mod http;
mod lists;
mod program;
mod region;
mod stack;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;

use crate::link::{Link, Passage};

pub use http::get;
use lists::Lists;
pub use program::find as program;
pub use program::{Program, Spec};
pub use region::{RegionFleet, relay_ports};
pub use stack::{Service, Stack};

/// How a fleet is built.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The regions, by name: `a`, or `a` and `b`. The first is the home.
    pub regions: Vec<String>,
    /// Relays of each region.
    pub relays: u16,
    /// Whether each region has a replicator.
    pub replicators: bool,
    /// Put before every name in the services: what earlier fleets left there is not seen.
    pub prefix: String,
    /// How long the way to the other region takes.
    pub delay: Duration,
    /// The first of 20 ports for relays and replicators; without a stack, the one relay's, or 0: any.
    pub ports: u16,
    /// More flags for every relay.
    pub relay_flags: Vec<String>,
}

/// The deployment. Its processes end with it; the services stay.
pub struct Fleet {
    /// The services, where the regions stand on any.
    stack: Option<Stack>,
    /// The regions, home first.
    pub regions: Vec<RegionFleet>,
    /// Watches the control plane from a third place, where there are two regions with replicators.
    pub observer: Option<Program>,
    /// The way between them.
    pub link: Link,
    /// The public key of the list of endpoints that replicators of two regions sign.
    pub trust: Option<String>,
    /// Held open.
    _passages: Vec<Passage>,
}

impl Fleet {
    /// Starts relays and replicators on services that run already, their logs in `folder`; without a stack one relay that keeps
    /// everything there.
    ///
    /// # Errors
    /// When a program is missing, a port is taken, or one is not ready in time.
    pub fn start<'a>(
        options: &'a FleetOptions,
        stack: Option<Stack>,
        folder: &'a Path,
    ) -> BoxFuture<'a, anyhow::Result<Self>> {
        Box::pin(async move {
            let link = Link::new(options.delay);
            let mut passages = Vec::new();
            let lists = Lists::of(options, folder)?;
            let mut regions = Vec::new();
            for (number, name) in options.regions.iter().enumerate() {
                let mut environment = match &stack {
                    Some(stack) => settings(options, stack, number, &link, &mut passages).await?,
                    None => Vec::new(),
                };
                environment.extend(lists.iter().flat_map(|lists| lists.environment(options, number)));
                regions.push(RegionFleet::describe(options, name, number, environment, folder));
            }
            // The link's addresses of both regions are there before anyone asks for them.
            for region in &mut regions {
                region.start().await.with_context(|| format!("region {}", region.name))?;
            }
            let mut observer = region::observer(options, &regions, folder);
            if let Some(observer) = &mut observer {
                observer.start().await?;
            }
            let trust = lists.map(|lists| lists.trust);
            Ok(Self { stack, regions, observer, link, trust, _passages: passages })
        })
    }

    /// The services.
    ///
    /// # Errors
    /// When the fleet stands on none.
    pub fn stack(&self) -> anyhow::Result<&Stack> {
        self.stack.as_ref().context("this fleet stands on no services")
    }

    /// Every process of the deployment by its name, services and this one included.
    ///
    /// # Errors
    /// When a service's process is not known.
    pub fn processes(&self) -> anyhow::Result<Vec<(String, u32)>> {
        let mut processes = vec![("clients".to_owned(), std::process::id())];
        for region in &self.regions {
            let programs = region.relays.iter().chain(&region.replicator);
            processes.extend(programs.filter_map(|program| Some((program.name().to_owned(), program.id()?))));
            if let Some(stack) = &self.stack {
                processes.extend(stack.processes(&region.name)?);
            }
        }
        Ok(processes)
    }

    /// The region of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn region(&mut self, name: &str) -> anyhow::Result<&mut RegionFleet> {
        self.regions.iter_mut().find(|region| region.name == name).with_context(|| format!("there is no region {name}"))
    }

    /// Kills every process of a region, services included, at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_region<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            self.stack()?.signal_region(name, "KILL")?;
            self.region(name)?.kill().await
        })
    }

    /// Kills all of it and waits until it is gone: who comes next listens where it did.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn end(mut self) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            for region in &mut self.regions {
                region.kill().await?;
            }
            match &mut self.observer {
                Some(observer) => observer.kill().await,
                None => Ok(()),
            }
        })
    }

    /// Halts every process of a region, or lets them go on: connections stay open and say nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn halt_region(&mut self, name: &str, halted: bool) -> anyhow::Result<()> {
        let signal = if halted { "STOP" } else { "CONT" };
        self.stack()?.signal_region(name, signal)?;
        self.region(name)?.signal(signal)
    }

    /// Makes a region the home on purpose, by the replicator's own command, run where the home is.
    ///
    /// # Errors
    /// What the command says.
    pub fn switch_over<'a>(&'a self, to: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let region = self.regions.iter().find(|region| region.name != to).context("there is no other region")?;
            let mut command = tokio::process::Command::new(program::find("selvedge-replicator")?);
            command.args(["switchover", "--to", to]).envs(region.environment.iter().map(|(name, value)| (name, value)));
            let output = command.output().await.context("selvedge-replicator does not start")?;
            anyhow::ensure!(output.status.success(), "switchover: {}", String::from_utf8_lossy(&output.stderr).trim());
            Ok(())
        })
    }

    /// Starts what was killed of a region, services first.
    ///
    /// # Errors
    /// When one is not ready in time.
    pub fn bring_back<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            self.stack()?.up(&["--region", name]).await?;
            self.region(name)?.start().await
        })
    }
}

/// The settings of a region's programs, with those of the other region where there is one.
async fn settings(
    options: &FleetOptions,
    stack: &Stack,
    number: usize,
    link: &Link,
    passages: &mut Vec<Passage>,
) -> anyhow::Result<Vec<(String, String)>> {
    let name = &options.regions[number];
    let mut settings = region::environment(stack, options, name, number)?;
    if let Some(peer) = options.regions.iter().position(|other| other != name) {
        let far = region::cross(stack, link, &options.regions[peer], passages).await?;
        settings.extend(region::peer_environment(&far, options, &options.regions[peer], peer));
    }
    Ok(settings)
}
