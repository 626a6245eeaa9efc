//! The doctor: which service is missing, what was tried, how to start it, what works without it meanwhile.

use anyhow::bail;
use clap::{ArgMatches, Command};

use super::health;
use super::run::{Stack, Standing};
use super::service::{Kind, Service};

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
    /// What is wrong; `None`: it answers.
    trouble: Option<String>,
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
        bail!("{missing} of {} services are missing", findings.len());
    }
    Ok(())
}

fn look(stack: &Stack, service: Service) -> Finding {
    let address = stack.address(service);
    let trouble = health::probe_address(service.kind, &address).err().map(|trouble| match stack.standing(service) {
        Standing::Silent(pid) => format!("{trouble} (its process {pid} runs)"),
        _ => trouble.to_string(),
    });
    Finding { service, address, trouble }
}

impl Finding {
    fn print(&self, stack: &Stack) {
        let name = self.service.to_string();
        let Some(trouble) = &self.trouble else {
            println!("{name:11}  answers at {}", self.address);
            return;
        };
        let asked = health::question(self.service.kind);
        println!("{name:11}  MISSING at {}", self.address);
        println!("{:11}    tried: asked it for {asked}; {trouble}", "");
        println!("{:11}    start: {}", "", self.start(stack));
        println!("{:11}    meanwhile: {}", "", meanwhile(self.service.kind));
    }

    fn to_json(&self, stack: &Stack) -> serde_json::Value {
        serde_json::json!({
            "service": self.service.to_string(),
            "address": self.address,
            "answers": self.trouble.is_none(),
            "tried": health::question(self.service.kind),
            "trouble": self.trouble,
            "start": self.trouble.as_ref().map(|_| self.start(stack)),
            "meanwhile": self.trouble.as_ref().map(|_| meanwhile(self.service.kind)),
        })
    }

    /// How to start it.
    fn start(&self, stack: &Stack) -> String {
        if self.service.given().is_some() {
            let variable = self.service.variable();
            return format!(
                "start the service that {variable} names, correct the address, or unset it for a local one"
            );
        }
        let region = self.service.region.map(|region| format!(" --region {}", region.name())).unwrap_or_default();
        let ports = if stack.base == super::PORTS { String::new() } else { format!(" --ports {}", stack.base) };
        let log = stack.of(self.service).join("log");
        let log = if log.is_file() { format!("; its last log is {}", log.display()) } else { String::new() };
        format!("cargo xtask stack up{region} --only {}{ports}{log}", self.service.kind.name())
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
            "edits are acknowledged, shown and shipped; large snapshots and assets wait, nobody signs in anew, DNS stays as it is"
        }
        Kind::Witness => {
            "edits are acknowledged, shown and shipped in both regions; no region is promoted, and control-plane decisions stop \
             when the lease runs out"
        }
    }
}
