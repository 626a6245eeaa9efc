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
    say("setup", &format!("installing with apt: {}", packages.join(" ")));
    if get(packages) {
        return;
    }
    // The list of packages may never have been fetched, or be older than what the archive serves.
    say("setup", "apt-get update, then once more");
    apt(&["update"]);
    if get(packages) || packages.len() == 1 {
        return;
    }
    for package in packages {
        if !get(&[package]) {
            say("setup", &format!("apt could not install {package}"));
        }
    }
}

fn get(packages: &[&str]) -> bool {
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
