//! What cargo knows: crates and what they depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::licences;
use crate::process;

/// What each crate may stand on, of the project's own; any crate not named here may stand on all.
const GRAIN: &[(&str, &[&str])] = &[
    ("selvedge-engine", &[]),
    ("selvedge-protocol", &["selvedge-engine"]),
    ("selvedge-region", &["selvedge-engine", "selvedge-protocol"]),
    ("selvedge-client", &["selvedge-engine", "selvedge-protocol"]),
    ("selvedge-wasm", &["selvedge-engine", "selvedge-protocol"]),
    ("selvedge-relay", &["selvedge-engine", "selvedge-protocol", "selvedge-region"]),
    ("selvedge-replicator", &["selvedge-engine", "selvedge-protocol", "selvedge-region"]),
    ("xtask", &[]),
];

/// Crates that take only instants and seeds they are given.
const PURE: [&str; 2] = ["selvedge-engine", "selvedge-protocol"];
/// What must not be below them.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "futures-executor",
    "getrandom",
    "mio",
    "rand",
    "smol",
    "socket2",
    "time",
    "tokio",
];

/// The feature by which tests plant faults, and who alone asks for it.
const PLANTED: &str = "planted-faults";
const PLANTER: &str = "selvedge-tests";

/// The only place dependencies come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A package as cargo knows it.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    source: Option<String>,
    manifest_path: String,
    /// What it depends on, tests aside.
    dependencies: Vec<String>,
    /// Features it asks for, of what it depends on, for tests too, or by its own.
    asked: Vec<String>,
}

/// The workspace as cargo resolved it; packages by their id.
pub(super) struct Workspace {
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
    /// Package to the packages it is built with, tests aside.
    edges: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut command = process::cargo(&["metadata", "--format-version", "1"]);
        let text = process::output(command.current_dir(root))?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let keyed = |entry: &Value| entry["id"].as_str().map(str::to_owned);
        Ok(Workspace {
            packages: list(&metadata["packages"])
                .filter_map(|package| Some((keyed(package)?, Package::read(package)?)))
                .collect(),
            members: list(&metadata["workspace_members"]).filter_map(text_of).collect(),
            edges: list(&metadata["resolve"]["nodes"])
                .filter_map(|node| Some((keyed(node)?, list(&node["deps"]).filter_map(built_with).collect())))
                .collect(),
        })
    }

    fn own(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|id| self.packages.get(id))
    }

    /// Dependencies between the project's crates that point the wrong way.
    pub(super) fn against_the_grain(&self) -> Vec<String> {
        let own: BTreeSet<&str> = self.own().map(|package| package.name.as_str()).collect();
        let mut breaches = Vec::new();
        for package in self.own() {
            let Some((_, allowed)) = GRAIN.iter().find(|(name, _)| *name == package.name) else {
                continue;
            };
            for dependency in &package.dependencies {
                let name = dependency.as_str();
                if own.contains(name) && !allowed.contains(&name) {
                    breaches.push(format!("{} depends on {name}", package.name));
                }
            }
        }
        breaches
    }

    /// Impure crates below the pure ones.
    pub(super) fn impure(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for (id, package) in self.packages.iter().filter(|(_, package)| PURE.contains(&package.name.as_str())) {
            let below = self.below(id);
            let names = below.iter().filter_map(|id| self.packages.get(*id)).map(|package| package.name.as_str());
            for name in names.filter(|name| IMPURE.contains(name)) {
                breaches.push(format!("{} is built with {name}", package.name));
            }
        }
        breaches
    }

    fn below<'a>(&'a self, id: &'a str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for target in self.edges.get(id).into_iter().flatten() {
                if seen.insert(target.as_str()) {
                    open.push(target);
                }
            }
        }
        seen
    }

    /// Crates that ask for what only the simulator may: nothing that ships is built with planted faults.
    pub(super) fn planted(&self) -> Vec<String> {
        let asks = |feature: &String| feature.rsplit('/').next() == Some(PLANTED);
        let asking = self.own().filter(|package| package.name != PLANTER && package.asked.iter().any(asks));
        asking.map(|package| format!("{} asks for the feature {PLANTED}", package.name)).collect()
    }

    /// Crates whose manifest goes its own way.
    pub(super) fn deviants(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for package in self.own() {
            if package.licence.as_deref() != Some("MIT OR Apache-2.0") {
                breaches.push(format!("{} is not under MIT OR Apache-2.0", package.name));
            }
            let manifest = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
            for line in ["[lints]\nworkspace = true", "version.workspace = true", "rust-version.workspace = true"] {
                if !manifest.contains(line) {
                    breaches.push(format!("{} has no `{}`", package.manifest_path, line.replace('\n', " ")));
                }
            }
        }
        breaches
    }

    /// Dependencies that are neither the project's nor from the registry.
    pub(super) fn foreign_sources(&self) -> Vec<String> {
        self.packages
            .iter()
            .filter(|(id, package)| match &package.source {
                Some(source) => source != REGISTRY,
                None => !self.members.contains(*id),
            })
            .map(|(_, package)| format!("{} {} comes from {:?}", package.name, package.version, package.source))
            .collect()
    }

    /// Versions of wasm-bindgen and of the library that writes its bindings, unless they are one.
    pub(super) fn binding_versions(&self) -> Vec<String> {
        let versions: BTreeSet<&str> = self
            .packages
            .values()
            .filter(|package| ["wasm-bindgen", "wasm-bindgen-cli-support"].contains(&package.name.as_str()))
            .map(|package| package.version.as_str())
            .collect();
        if versions.len() == 1 {
            return Vec::new();
        }
        vec![format!("found {versions:?}")]
    }

    /// Packages under licences that `deny.toml` does not allow.
    pub(super) fn licences(&self, root: &Path) -> anyhow::Result<Vec<String>> {
        let allowed = licences::allowed(root)?;
        Ok(self
            .packages
            .values()
            .filter(|package| {
                !package.licence.as_ref().is_some_and(|expression| licences::permits(expression, &allowed))
            })
            .map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence))
            .collect())
    }
}

impl Package {
    fn read(package: &Value) -> Option<Self> {
        let dependencies = list(&package["dependencies"])
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| text_of(&dependency["name"]))
            .collect();
        let of_others = list(&package["dependencies"]).flat_map(|dependency| list(&dependency["features"]));
        let own = package["features"].as_object().into_iter().flat_map(|features| features.values()).flat_map(list);
        let asked = of_others.chain(own).filter_map(text_of).collect();
        Some(Package {
            name: text_of(&package["name"])?,
            version: text_of(&package["version"])?,
            licence: text_of(&package["license"]),
            source: text_of(&package["source"]),
            manifest_path: text_of(&package["manifest_path"])?,
            dependencies,
            asked,
        })
    }
}

/// The target of an edge of cargo's graph, unless it serves tests or build scripts alone.
fn built_with(edge: &Value) -> Option<String> {
    list(&edge["dep_kinds"]).any(|kind| kind["kind"].is_null()).then(|| text_of(&edge["pkg"]))?
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
