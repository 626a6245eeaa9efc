//! What was measured on, and beside which versions.

use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::{paths, process};

/// The crates that the engine is compared with; those that store the text for a peer are named, too.
const CRATES: [&str; 7] = ["automerge", "cola", "crop", "diamond-types", "jumprope", "loro", "yrs"];
const CRATES_LOCK: &str = "tests/bench/Cargo.lock";
/// Every dependency here is a peer.
const PACKAGES: &str = "tests/bench/node/package.json";
const PACKAGES_LOCK: &str = "tests/bench/node/package-lock.json";

/// Processor, memory, kernel and compilers; how busy it was just before.
pub(super) fn describe() -> anyhow::Result<Value> {
    let gib = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map(|kib| (kib / f64::from(1 << 20) * 10.0).round() / 10.0);
    let mut machine = json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_gib": gib,
        "kernel": said("uname", &["-sr"])?,
        "rustc": said("rustc", &["--version"])?,
    });
    if paths::which("node").is_some() {
        machine["node"] = said("node", &["--version"])?.into();
    }
    Ok(machine)
}

/// Processes that ran or wanted to in the last minute; `None` where the system does not tell.
pub(super) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Today, as 2026-11-27.
pub(super) fn today() -> anyhow::Result<String> {
    said("date", &["-u", "+%F"])
}

/// The peers' versions: crates for the native suites, npm packages for the one in node.
pub(super) fn peers(root: &Path, bench: &str) -> anyhow::Result<Value> {
    let read = |file: &str| std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
    let peers = match bench {
        "engine" => crates(&read(CRATES_LOCK)?),
        "wasm" => packages(&json_of(&read(PACKAGES)?)?, &json_of(&read(PACKAGES_LOCK)?)?),
        _ => Map::new(),
    };
    Ok(Value::Object(peers))
}

/// Versions out of a Cargo.lock.
fn crates(lock: &str) -> Map<String, Value> {
    let quoted = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    let package = |block: &str| {
        let name = block.lines().find_map(|line| quoted(line, "name = "))?;
        let version = block.lines().find_map(|line| quoted(line, "version = "))?;
        CRATES.contains(&name.as_str()).then(|| (name, version.into()))
    };
    lock.split("[[package]]").skip(1).filter_map(package).collect()
}

/// Versions of a package's dependencies out of its package-lock.json.
fn packages(package: &Value, lock: &Value) -> Map<String, Value> {
    let names = package["dependencies"].as_object().into_iter().flat_map(Map::keys);
    names.map(|name| (name.clone(), lock["packages"][format!("node_modules/{name}")]["version"].clone())).collect()
}

fn json_of(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).context("an npm file is not JSON")
}

/// The value behind `name` and a colon, in a file of the kernel's.
fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    Ok(process::output(process::program(program).args(arguments))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{crates, packages};
    use serde_json::{Value, json};

    #[test]
    fn versions_are_read_from_lock_files() {
        let lock = "version = 4\n\n[[package]]\nname = \"anyhow\"\nversion = \"1.0.1\"\n\n\
                    [[package]]\nname = \"yrs\"\nversion = \"0.28.0\"\ndependencies = [\n \"anyhow\",\n]\n";
        assert_eq!(Value::Object(crates(lock)), json!({ "yrs": "0.28.0" }));
        let package = json!({ "dependencies": { "yjs": "^13.6.0" } });
        let lock = json!({ "packages": { "node_modules/yjs": { "version": "13.6.31" }, "node_modules/lib0": {} } });
        assert_eq!(Value::Object(packages(&package, &lock)), json!({ "yjs": "13.6.31" }));
    }
}
