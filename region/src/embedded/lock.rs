//! The lock of a data folder: one process at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::folder_error;
use crate::{Error, Result};

const LOCK_FILE: &str = "lock";

/// A data folder locked for this process, until this is dropped.
#[derive(Debug)]
pub(crate) struct FolderLock(File);

impl FolderLock {
    /// Locks the folder.
    ///
    /// # Errors
    /// `Locked` when somebody else holds it; `Unavailable` or `Full` as the disk says.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| folder_error(folder, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: folder.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(folder_error(folder, source)),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file alone is not enough: a process being started by this one has a copy of the descriptor until it
        // executes its program, and the lock lasts as long as any copy does.
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the folder was not unlocked before its lock file is closed");
        }
    }
}
