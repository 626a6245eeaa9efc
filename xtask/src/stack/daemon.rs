//! A service's process: started to outlive this program, found again later, and never mistaken for another one.
//!
//! Beside its process id the file keeps when the process started, as the kernel says: after a reboot or a wrap-around
//! the same id is another process, and is left alone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::process::signal_group;

const POLL: Duration = Duration::from_millis(50);
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// The process that a folder's `pid` file names.
pub(super) struct Daemon {
    file: PathBuf,
    pid: u32,
    started: u64,
}

/// How a service is asked to end, and how long it may take before it is killed.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) signal: &'static str,
    pub(super) within: Duration,
}

impl Daemon {
    /// Starts the program in a process group of its own, its output appended to the folder's `log`.
    pub(super) fn start(folder: &Path, command: &mut Command) -> anyhow::Result<(Self, Child)> {
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `{}`", crate::process::line(command)))?;
        let pid = child.id();
        let started = started(pid).context("the process ended at once")?;
        let daemon = Daemon { file: folder.join("pid"), pid, started };
        fs::write(&daemon.file, format!("{pid} {started}\n"))?;
        Ok((daemon, child))
    }

    /// The process that an earlier run started in this folder, if it still lives.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let file = folder.join("pid");
        let text = fs::read_to_string(&file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let daemon = Daemon { file, pid: pid.parse().ok()?, started: started.parse().ok()? };
        daemon.lives().then_some(daemon)
    }

    /// Removes what a process left in this folder that has ended by itself or was killed.
    pub(super) fn forget(folder: &Path) -> anyhow::Result<()> {
        let file = folder.join("pid");
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", file.display()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is still the process that was started.
    pub(super) fn lives(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Ends it with all it started; returns when it is gone.
    pub(super) fn end(&self, ending: Ending) -> anyhow::Result<()> {
        signal_group(self.pid, ending.signal);
        if !self.gone_within(ending.within) {
            signal_group(self.pid, "KILL");
            anyhow::ensure!(self.gone_within(KILLED_WITHIN), "process {} cannot be ended", self.pid);
        }
        // It is gone, whoever removed the file.
        let _ = fs::remove_file(&self.file);
        Ok(())
    }

    fn gone_within(&self, time: Duration) -> bool {
        let begin = Instant::now();
        while self.lives() {
            if begin.elapsed() > time {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

/// When a process started, in the kernel's ticks since boot; `None` when it is gone or only waits to be collected.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything; the third is the state, the 22nd the time.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{Daemon, Ending, started};
    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    const ENDING: Ending = Ending { signal: "TERM", within: Duration::from_secs(20) };

    #[test]
    fn a_daemon_is_found_again_and_ended_and_no_other_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Daemon::find(folder.path()).is_none());
        let (daemon, mut child) = Daemon::start(folder.path(), Command::new("sleep").arg("600")).unwrap();
        let collected = std::thread::spawn(move || child.wait());
        let found = Daemon::find(folder.path()).expect("it lives");
        assert_eq!(found.pid(), daemon.pid());
        found.end(ENDING).unwrap();
        assert!(!daemon.lives());
        collected.join().unwrap().unwrap();
        assert!(Daemon::find(folder.path()).is_none());
        // A process of the same id that started at another time is another process.
        let own = std::process::id();
        let other = started(own).unwrap() + 1;
        fs::write(folder.path().join("pid"), format!("{own} {other}\n")).unwrap();
        assert!(Daemon::find(folder.path()).is_none());
        Daemon::forget(folder.path()).unwrap();
        assert!(!folder.path().join("pid").exists());
        Daemon::forget(folder.path()).unwrap();
    }
}
