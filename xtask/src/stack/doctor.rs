//! The doctor: which service is missing, what was tried, how to start it, what works without it meanwhile.

use anyhow::bail;
use clap::{ArgMatches, Command};

use super::health;
use super::run::{Stack, Standing, bucket};
use super::service::{Kind, Region, Service};

/// The command `doctor`.
pub(crate) fn arguments() -> Command {
    super::placed(super::selected(
        Command::new("doctor").about("Say which service is missing, what was tried, how to start it, what still works"),
    ))
    .arg(super::json())
}

/// What was found of one service.
struct Finding {
    service: Service,
    address: String,
    /// What it was asked for last.
    asked: String,
    /// What is wrong; `None`: it answers, and has what is kept in it.
    trouble: Option<String>,
    /// The bucket it lacks, where that is what is wrong.
    bucket: Option<String>,
}

/// Looks at every service, and ends without success when one is missing.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let stack = super::place(matches);
    let services = super::selection(matches);
    let findings: Vec<Finding> = std::thread::scope(|scope| {
        let looking: Vec<_> = services.iter().map(|service| scope.spawn(|| look(&stack, *service))).collect();
        looking.into_iter().filter_map(|found| found.join().ok()).collect()
    });
    if matches.get_flag("json") {
        let rows: Vec<_> = findings.iter().map(|finding| finding.to_json(&stack)).collect();
        println!("{}", serde_json::Value::Array(rows));
    } else {
        findings.iter().for_each(|finding| finding.print(&stack));
    }
    let missing = findings.iter().filter(|finding| finding.trouble.is_some()).count();
    if missing > 0 {
        bail!("{missing} of {} services are missing or lack something", findings.len());
    }
    Ok(())
}

fn look(stack: &Stack, service: Service) -> Finding {
    let (address, asked) = (stack.address(service), health::question(service.kind).to_owned());
    let trouble = health::probe_address(service.kind, &address).err().map(|trouble| match stack.standing(service) {
        Standing::Silent(pid) => format!("{trouble} (its process {pid} runs)"),
        _ => trouble.to_string(),
    });
    let found = Finding { service, address, asked, trouble, bucket: None };
    if found.trouble.is_none() && service.kind == Kind::Aws { found.with_its_buckets() } else { found }
}

impl Finding {
    /// Of one that answers: whether the regions' buckets are there, without which no relay and no replicator starts.
    fn with_its_buckets(self) -> Self {
        let missing = Region::ALL.map(bucket).into_iter().find_map(|name| {
            let trouble = health::lacks_bucket(&self.address, &name)?;
            Some((name, trouble))
        });
        match missing {
            Some((name, trouble)) => {
                Finding { asked: format!("the bucket {name}"), trouble: Some(trouble), bucket: Some(name), ..self }
            }
            None => self,
        }
    }

    fn print(&self, stack: &Stack) {
        let name = self.service.to_string();
        let Some(trouble) = &self.trouble else {
            println!("{name:11}  answers at {}", self.address);
            return;
        };
        let what = if self.bucket.is_some() { "INCOMPLETE" } else { "MISSING" };
        println!("{name:11}  {what} at {}", self.address);
        println!("{:11}    tried: asked it for {}; {trouble}", "", self.asked);
        println!("{:11}    start: {}", "", self.start(stack));
        println!("{:11}    meanwhile: {}", "", meanwhile(self.service.kind));
    }

    fn to_json(&self, stack: &Stack) -> serde_json::Value {
        serde_json::json!({
            "service": self.service.to_string(),
            "address": self.address,
            "answers": self.trouble.is_none(),
            "tried": self.asked,
            "trouble": self.trouble,
            "start": self.trouble.as_ref().map(|_| self.start(stack)),
            "meanwhile": self.trouble.as_ref().map(|_| meanwhile(self.service.kind)),
        })
    }

    /// How to start it.
    fn start(&self, stack: &Stack) -> String {
        if self.service.given().is_some() {
            if let Some(bucket) = &self.bucket {
                return format!("aws s3 mb s3://{bucket} --endpoint-url {}", self.address);
            }
            let variable = self.service.variable();
            return format!(
                "start the service that {variable} names, correct the address, or unset it for a local one"
            );
        }
        let region = self.service.region.map(|region| format!(" --region {}", region.name())).unwrap_or_default();
        let log = stack.of(self.service).join("log");
        let log = if log.is_file() { format!("; its last log is {}", log.display()) } else { String::new() };
        format!("cargo xtask stack up{region} --only {}{}{log}", self.service.kind.name(), stack.choice())
    }
}

/// What works without a service, and what waits for it.
fn meanwhile(kind: Kind) -> &'static str {
    match kind {
        Kind::Kafka => {
            "documents open from snapshots and op store; edits made here wait on their devices, or go to the other region's \
             relays; nothing is acknowledged in this region"
        }
        Kind::DynamoDb => {
            "edits are acknowledged, shown and shipped as ever; the op store falls behind the log and catches up when it is back"
        }
        Kind::Postgres => {
            "edits are acknowledged, shown and shipped as ever; documents open from op store and log, slower; no new snapshots"
        }
        Kind::Redis => {
            "edits are acknowledged; relays hear of each other's within 3 s, by comparing with the log; no cursors across relays"
        }
        Kind::Aws => {
            "edits are acknowledged, shown and shipped; large snapshots and assets wait, nobody signs in anew, DNS stays as it is; \
             no relay and no replicator starts where its bucket is missing"
        }
        Kind::Witness => {
            "edits are acknowledged, shown and shipped in both regions; no region is promoted, and control-plane decisions stop \
             when the lease runs out"
        }
    }
}
