//! A store of plain files: one append-only file a document, one checked record a transaction, synced before it counts.
//!
//! ```text
//! folder/
//!   lock                    held by the process that owns the folder
//!   principal               who writes from this folder when nobody signs in
//!   endpoints               the newest signed list of endpoints, where somebody keeps it here (see [`FileStore::endpoints`])
//!   tenant/name.outbox      records (see the codec), newest last; written anew when most of it is superseded
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_protocol::DocumentId;
use selvedge_protocol::client::{Restored, StoreError, StoreTransaction};

use super::codec::{Next, decode, encode};
use super::{Kept, Store};
use crate::Error;

/// A file is written anew when it has grown by so much, and to twice what it keeps.
const COMPACT_BYTES_MIN: u64 = 256 * 1024;

/// Keeps documents in a folder. One process at a time.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    documents: Mutex<BTreeMap<DocumentId, Document>>,
    _lock: File,
}

#[derive(Debug)]
struct Document {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
    /// Bytes after it was last written anew.
    compact: u64,
    kept: Kept,
}

impl FileStore {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// `StoreInUse` when another process has it; `Store` when it cannot be used.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let path = folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| failed(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, documents: Mutex::default(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::StoreInUse { path: folder }),
            Err(TryLockError::Error(error)) => Err(failed(&path, &error).into()),
        }
    }

    /// Who writes from this folder when nobody signs in: made once, `anon:` and 128 random bits.
    ///
    /// # Errors
    /// `Store` when it cannot be read or written.
    pub fn principal(&self) -> Result<String, Error> {
        let path = self.folder.join("principal");
        match std::fs::read_to_string(&path) {
            Ok(principal) => Ok(principal),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let principal = crate::handle::anonymous();
                replace(&path, principal.as_bytes()).map_err(|error| failed(&path, &error))?;
                Ok(principal)
            }
            Err(error) => Err(failed(&path, &error).into()),
        }
    }

    /// Where the newest signed list of endpoints is kept beside the documents, for [`crate::ClientOptions::endpoints_file`].
    pub fn endpoints(&self) -> PathBuf {
        self.folder.join("endpoints")
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<DocumentId, Document>> {
        // A document is changed only after its file was, so a panic under the lock leaves nothing half done.
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FileStore {
    fn load(&self, document: &DocumentId) -> Result<Option<Restored>, Error> {
        let mut documents = self.documents();
        if !documents.contains_key(document) {
            documents.insert(document.clone(), Document::open(&self.folder, document)?);
        }
        let kept = &documents[document].kept;
        Ok((*kept != Kept::default()).then(|| kept.restored()))
    }

    fn apply(&self, document: &DocumentId, transaction: &StoreTransaction) -> Result<(), StoreError> {
        let mut documents = self.documents();
        if !documents.contains_key(document) {
            let opened = Document::open(&self.folder, document).map_err(|error| match error {
                Error::Store(error) => error,
                other => StoreError::Failed(other.to_string()),
            })?;
            documents.insert(document.clone(), opened);
        }
        let Some(document) = documents.get_mut(document) else {
            return Err(StoreError::Failed("the document is not open".to_owned()));
        };
        document.kept.check(transaction)?;
        document.append(transaction)?;
        document.kept.execute(transaction);
        document.compact_if_due();
        Ok(())
    }
}

impl Document {
    /// Reads the file, or creates it. What a crash cut short at its end is cut off.
    fn open(folder: &Path, document: &DocumentId) -> Result<Self, Error> {
        let tenant = folder.join(document.tenant());
        let path = tenant.join(format!("{}.outbox", document.name()));
        std::fs::create_dir_all(&tenant).map_err(|error| failed(&tenant, &error))?;
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&path, &error).into()),
        };
        let (kept, length) = read(&path, &bytes)?;
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| failed(&path, &error))?;
        if length < bytes.len() as u64 {
            tracing::warn!(file = %path.display(), bytes = bytes.len() as u64 - length, "an unfinished record is cut off");
            file.set_len(length).and_then(|()| file.sync_all()).map_err(|error| failed(&path, &error))?;
        }
        for folder in [&tenant, folder] {
            sync(folder).map_err(|error| failed(folder, &error))?;
        }
        Ok(Self { path, file, length, compact: length, kept })
    }

    /// Appends a record and syncs it. After a failure the file is as long as before.
    fn append(&mut self, transaction: &StoreTransaction) -> Result<(), StoreError> {
        let record = encode(transaction);
        let written = self.file.write_all(&record).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            if let Err(again) = self.file.set_len(self.length) {
                tracing::warn!(file = %self.path.display(), %again, "a half-written record stays until the next load");
            }
            return Err(failed(&self.path, &error));
        }
        self.length += record.len() as u64;
        Ok(())
    }

    /// Writes the file anew beside itself, when most of it is superseded. A failure costs room, nothing else.
    fn compact_if_due(&mut self) {
        if self.length < (2 * self.compact).max(COMPACT_BYTES_MIN) {
            return;
        }
        let record = encode(&self.kept.whole());
        let renewed = replace(&self.path, &record).and_then(|()| File::options().append(true).open(&self.path));
        match renewed {
            Ok(file) => {
                self.file = file;
                self.length = record.len() as u64;
            }
            Err(error) => tracing::warn!(file = %self.path.display(), %error, "compaction failed"),
        }
        self.compact = self.length;
    }
}

/// What whole records say, and how many bytes they are.
fn read(path: &Path, bytes: &[u8]) -> Result<(Kept, u64), Error> {
    let (mut kept, mut offset) = (Kept::default(), 0);
    while offset < bytes.len() {
        match decode(&bytes[offset..]) {
            Next::Record(transaction, length) => {
                kept.execute(&transaction);
                offset += length;
            }
            Next::Torn => break,
            Next::Damaged(problem) => {
                return Err(Error::Damaged { path: path.to_owned(), offset: offset as u64, problem });
            }
        }
    }
    Ok((kept, offset as u64))
}

/// Gives a file new content, whole or not at all.
pub(crate) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes new names in a folder durable.
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: &std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Quota,
        _ => StoreError::Failed(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::tests::sample;
    use super::*;

    fn document() -> DocumentId {
        "test/kept".parse().unwrap()
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("test/kept.outbox")
    }

    #[test]
    fn what_was_applied_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        assert!(store.load(&document()).unwrap().is_none());
        for first in [1, 10, 20] {
            store.apply(&document(), &sample(first)).unwrap();
        }
        let principal = store.principal().unwrap();
        assert!(matches!(FileStore::open(folder.path()), Err(Error::StoreInUse { .. })), "one process at a time");
        drop(store);
        let store = FileStore::open(folder.path()).unwrap();
        let restored = store.load(&document()).unwrap().unwrap();
        assert_eq!(restored.outbox.iter().map(|entry| entry.first).collect::<Vec<_>>(), [1, 10, 20]);
        assert_eq!((restored.generation, restored.state), (1, vec![1, 2, 3]));
        assert_eq!(store.principal().unwrap(), principal, "a folder keeps its principal");
    }

    #[test]
    fn a_state_that_lacks_something_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        store.apply(&document(), &sample(10)).unwrap();
        let behind = store.apply(&document(), &sample(5));
        assert_eq!(behind, Err(StoreError::Behind { state: vec![1, 2, 3] }));
        assert_eq!(store.load(&document()).unwrap().unwrap().outbox.len(), 1, "nothing of it was done");
        let mut renewed = sample(5);
        renewed.state.as_mut().unwrap().replace = true;
        store.apply(&document(), &renewed).unwrap();
        let mut next_generation = sample(2);
        next_generation.state.as_mut().unwrap().generation = 2;
        store.apply(&document(), &next_generation).unwrap();
    }

    #[test]
    fn a_torn_end_is_cut_off_and_damage_inside_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        for first in [1, 10] {
            store.apply(&document(), &sample(first)).unwrap();
        }
        drop(store);
        let whole = std::fs::read(path(folder.path())).unwrap();
        for length in whole.len() / 2..whole.len() {
            std::fs::write(path(folder.path()), &whole[..length]).unwrap();
            let store = FileStore::open(folder.path()).unwrap();
            assert_eq!(store.load(&document()).unwrap().unwrap().outbox.len(), 1);
            store.apply(&document(), &sample(10)).unwrap();
            drop(store);
            let store = FileStore::open(folder.path()).unwrap();
            assert_eq!(store.load(&document()).unwrap().unwrap().outbox.len(), 2, "it goes on behind the cut");
        }
        let mut damaged = whole;
        damaged[50] ^= 1;
        std::fs::write(path(folder.path()), &damaged).unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        let told = store.load(&document()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains("kept.outbox") && told.contains("damaged"), "{told}");
        assert_eq!(std::fs::read(path(folder.path())).unwrap(), damaged, "nothing is thrown away");
    }

    #[test]
    fn a_file_does_not_grow_with_what_is_superseded() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        for first in 1..200 {
            let mut transaction = sample(first * 10);
            transaction.delete_outbox.clear();
            transaction.state.as_mut().unwrap().snapshot = vec![7; 20_000];
            store.apply(&document(), &transaction).unwrap();
        }
        let length = std::fs::metadata(path(folder.path())).unwrap().len();
        assert!(length < 2 * COMPACT_BYTES_MIN, "{length} bytes for 4 MB of states");
        drop(store);
        let store = FileStore::open(folder.path()).unwrap();
        assert_eq!(store.load(&document()).unwrap().unwrap().outbox.len(), 199);
    }
}
