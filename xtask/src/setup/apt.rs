//! Installing Debian packages.

use std::process::{Command, Stdio};

use crate::console::say;
use crate::{paths, process};

/// Whether packages can be installed here: apt is there and this is root.
pub(super) fn usable() -> bool {
    paths::which("apt-get").is_some() && process::ask("id", &["-u"]).as_deref() == Some("0")
}

/// Installs those of the packages that the archive has, each on its own where all at once does not work.
///
/// What could not be installed is found missing afterwards: this only tries, and says what it tries.
pub(super) fn install(packages: &[&str]) {
    if packages.is_empty() {
        return;
    }
    if packages.iter().all(|package| is_known(package)) && get(packages) {
        return;
    }
    // The list of packages was never fetched, or is older than what the archive serves now.
    say("setup", "apt-get update");
    apt(&["update"]);
    if get(packages) {
        return;
    }
    if packages.len() > 1 {
        for package in packages {
            get(&[package]);
        }
    }
}

/// Whether the list of packages has it.
fn is_known(package: &str) -> bool {
    version(package).is_some()
}

/// The version the archive offers.
pub(super) fn version(package: &str) -> Option<String> {
    let text = process::ask("apt-cache", &["show", "--no-all-versions", package])?;
    text.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

fn get(packages: &[&str]) -> bool {
    say("setup", &format!("installing with apt: {}", packages.join(" ")));
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

/// Runs apt-get quietly; its own words are shown when it fails.
fn apt(arguments: &[&str]) -> bool {
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                say("apt", line);
            }
            false
        }
        Err(error) => {
            say("apt", &error.to_string());
            false
        }
    }
}
