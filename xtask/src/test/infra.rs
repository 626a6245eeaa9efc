//! The containers' description: valid by the published schema, and of the same services as the local stack.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::process;
use crate::stack::{self, Service};

use super::suite::Workshop;
use super::tally::Tally;

const COMPOSE: &str = "infra/compose/compose.yaml";
/// Writes a YAML file as JSON, anchors and merges resolved.
const AS_JSON: &str = "import json, sys; from ruamel.yaml import YAML; \
                       print(json.dumps(YAML(typ='safe').load(open(sys.argv[1]))))";

/// Checks the description.
pub(super) fn run(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let programs = workshop.prepare(|_| stack::schema_checker())?;
    let file = workshop.root.join(COMPOSE);
    let mut checker = Command::new(programs.join("check-jsonschema"));
    checker.args(["--builtin-schema", "vendor.compose-spec"]).arg(&file);
    let mut sum = workshop.check("compose: the schema of the Compose specification", &mut checker)?;
    let compose = read(&programs, &file)?;
    for (promise, breaches) in [
        ("compose: every service of the stack, at its address, on this machine alone", addresses(&compose)),
        ("compose: the versions that the stack runs", versions(&compose)),
        ("compose: every service says when it is healthy", unhealthy(&compose)),
    ] {
        sum.add(if breaches.is_empty() {
            Tally::pass()
        } else {
            Tally::fail(format!("{promise}: {}", breaches.join("; ")))
        });
    }
    Ok(sum)
}

fn read(programs: &Path, file: &Path) -> anyhow::Result<Value> {
    let text = process::output(Command::new(programs.join("python")).args(["-c", AS_JSON]).arg(file))?;
    serde_json::from_str(&text).with_context(|| format!("{} cannot be read", file.display()))
}

/// Services that are missing, or published elsewhere than the stack has them.
fn addresses(compose: &Value) -> Vec<String> {
    let differs = |service: &Service| {
        let wanted = format!("127.0.0.1:{}:", service.port(stack::PORTS));
        let ports = compose["services"][service.to_string()]["ports"].as_array()?;
        let published: Vec<&str> = ports.iter().filter_map(Value::as_str).collect();
        (published.len() == 1 && published[0].starts_with(&wanted)).then_some(())
    };
    let wrong = Service::all().into_iter().filter(|service| differs(service).is_none());
    wrong.map(|service| format!("{service} is not published at 127.0.0.1:{}", service.port(stack::PORTS))).collect()
}

/// Services of another version than the stack's.
fn versions(compose: &Value) -> Vec<String> {
    let text = compose.to_string();
    let wanted = stack::versions();
    wanted
        .into_iter()
        .filter(|version| !text.contains(version))
        .map(|version| format!("{version} is not there"))
        .collect()
}

/// Services of the stack without a check of their health.
fn unhealthy(compose: &Value) -> Vec<String> {
    let names = Service::all().into_iter().map(|service| service.to_string());
    names.filter(|name| !compose["services"][name]["healthcheck"]["test"].is_array()).collect()
}

#[cfg(test)]
mod tests {
    use super::{addresses, unhealthy, versions};

    #[test]
    fn an_empty_description_lacks_everything() {
        let nothing = serde_json::json!({"services": {}});
        assert_eq!(addresses(&nothing).len(), 10);
        assert_eq!(unhealthy(&nothing).len(), 10);
        assert!(!versions(&nothing).is_empty());
    }

    #[test]
    fn a_port_on_every_interface_is_found() {
        let open = serde_json::json!({"services": {"a-redis": {"ports": ["4614:6379"]}}});
        assert!(addresses(&open).iter().any(|breach| breach.starts_with("a-redis ")));
        let local = serde_json::json!({"services": {"a-redis": {"ports": ["127.0.0.1:4614:6379"]}}});
        assert!(!addresses(&local).iter().any(|breach| breach.starts_with("a-redis ")));
    }
}
