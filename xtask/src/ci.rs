//! A build folder that outlives the checkout, for continuous integration.
//!
//! A CI run begins with a new clone; with its build folder inside, everything would be compiled again each time. So, when
//! `CI` is set and `CARGO_TARGET_DIR` is not, compiled dependencies are kept in the user's cache. Nothing depends on it.
//!
//! One trap lies there. Cargo takes a workspace member for unchanged when its files are not newer than what was compiled
//! from them, and names what it compiles without regard to where the checkout is: after another checkout was built into
//! the same folder, an older file with other content would pass for unchanged. Therefore one run at a time has the folder,
//! and begins by making every file of its checkout newer than anything in it: members are always compiled anew,
//! dependencies (told apart by version and checksum) never.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;

use crate::console::say;
use crate::{paths, stamp};

/// A folder that has grown past this is begun anew.
const SIZE_MAX: u64 = 24 << 30;

/// Holds the shared build folder for as long as it lives.
pub(crate) struct Hold {
    _lock: Option<File>,
}

/// Chooses the build folder for this run.
pub(crate) fn hold_target(root: &Path) -> anyhow::Result<Hold> {
    let ours = Hold { _lock: None };
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false");
    if !set("CI") || set("CARGO_TARGET_DIR") {
        return Ok(ours);
    }
    let folder = paths::cache().join("target");
    if let Err(error) = fs::create_dir_all(&folder) {
        say("cache", &format!("{}: {error}; building inside the checkout", folder.display()));
        return Ok(ours);
    }
    let lock = File::create(paths::cache().join("target.lock")).context("cannot create the lock of the cache")?;
    if lock.try_lock().is_err() {
        say("cache", "another run has the shared build folder; building inside the checkout");
        return Ok(ours);
    }
    if size(&folder) > SIZE_MAX {
        say("cache", &format!("{} has grown too large: beginning anew", folder.display()));
        fs::remove_dir_all(&folder).context("cannot clear the cache")?;
    }
    touch(root).context("cannot renew the times of the checkout's files")?;
    say("cache", &format!("compiled dependencies are kept in {}", folder.display()));
    paths::choose_target(Some(folder));
    Ok(Hold { _lock: Some(lock) })
}

/// Makes every written file below the folder as new as now.
fn touch(folder: &Path) -> std::io::Result<()> {
    let now = FileTimes::new().set_modified(SystemTime::now());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !stamp::is_made(&entry.path()) {
            touch(&entry.path())?;
        } else if kind.is_file() {
            File::options().append(true).open(entry.path())?.set_times(now)?;
        }
    }
    Ok(())
}

/// Bytes below a folder; what cannot be read counts nothing.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
