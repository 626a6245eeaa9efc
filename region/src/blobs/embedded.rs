//! Blobs as files: `blobs/<segment>/<segment>/<last segment>+`, each a SHA-256 and then the bytes.
//!
//! The `+` cannot occur in a key, so a blob and a folder of the same name do not meet, nor a blob and a half-written one.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::{BlobKey, BlobPage, Blobs};
use crate::embedded::sync_folder;
use crate::{Error, Result};

const WHAT: &str = "blobs";
const SUFFIX: &str = "+";
const HASH_BYTES: usize = 32;

/// The blobs of a data folder.
pub(crate) struct FileBlobs {
    folder: PathBuf,
}

impl FileBlobs {
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(failed)?;
        Ok(Self { folder })
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> Result<T> + Send + 'static) -> Result<T> {
        let folder = self.folder.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.unwrap_or_else(|error| Err(Error::Failed { what: WHAT, source: error.into() }))
    }
}

impl Blobs for FileBlobs {
    fn put<'a>(&'a self, key: &'a BlobKey, bytes: Vec<u8>) -> BoxFuture<'a, Result<()>> {
        let key = key.clone();
        Box::pin(self.blocking(move |folder| write(folder, &key, &bytes)))
    }

    fn get<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Vec<u8>>> {
        let key = key.clone();
        Box::pin(self.blocking(move |folder| read(folder, &key)))
    }

    fn delete<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<()>> {
        let key = key.clone();
        Box::pin(self.blocking(move |folder| {
            let file = blob_file(folder, &key);
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| sync_folder(parent(&file))).map_err(failed),
            }
        }))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a BlobKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<BlobPage>> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        Box::pin(self.blocking(move |folder| {
            let mut keys = Vec::new();
            collect(folder, "", &prefix, &mut keys)?;
            keys.retain(|key| after.as_ref().is_none_or(|after| key > after));
            keys.sort_unstable();
            let more = keys.len() > limit;
            keys.truncate(limit);
            let next = keys.last().cloned().filter(|_| more);
            Ok(BlobPage { keys, next })
        }))
    }
}

/// The file of a blob.
pub(crate) fn blob_file(folder: &Path, key: &BlobKey) -> PathBuf {
    folder.join(format!("{key}{SUFFIX}"))
}

fn parent(file: &Path) -> &Path {
    file.parent().expect("a blob's file lies in the blobs folder")
}

/// Writes beside the target, syncs, and renames: whole or not at all.
fn write(folder: &Path, key: &BlobKey, bytes: &[u8]) -> Result<()> {
    let file = blob_file(folder, key);
    std::fs::create_dir_all(parent(&file)).map_err(failed)?;
    let partial = file.with_file_name(format!("{SUFFIX}{:016x}", rand::random::<u64>()));
    let written = std::fs::File::create_new(&partial)
        .and_then(|mut out| {
            out.write_all(&Sha256::digest(bytes))?;
            out.write_all(bytes)?;
            out.sync_all()
        })
        .and_then(|()| std::fs::rename(&partial, &file))
        .and_then(|()| sync_up_to(folder, parent(&file)));
    if written.is_err() {
        // It is not there when it was renamed or could not be created.
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(failed)
}

/// Makes the names of a file and of the folders above it durable.
fn sync_up_to(top: &Path, folder: &Path) -> std::io::Result<()> {
    for folder in folder.ancestors() {
        sync_folder(folder)?;
        if folder == top {
            break;
        }
    }
    Ok(())
}

fn read(folder: &Path, key: &BlobKey) -> Result<Vec<u8>> {
    let mut bytes = match std::fs::read(blob_file(folder, key)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::NotFound { what: format!("blob {key}") });
        }
        bytes => bytes.map_err(failed)?,
    };
    let intact = bytes
        .split_at_checked(HASH_BYTES)
        .is_some_and(|(hash, content)| hash == <[u8; HASH_BYTES]>::from(Sha256::digest(content)));
    if !intact {
        return Err(Error::Corrupt { what: format!("blob {key}"), detail: "it fails its checksum".to_owned() });
    }
    bytes.drain(..HASH_BYTES);
    Ok(bytes)
}

/// Adds the keys below a folder that begin with the prefix; skips folders that cannot hold one.
fn collect(folder: &Path, path: &str, prefix: &str, keys: &mut Vec<BlobKey>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if entry.file_type().map_err(failed)?.is_dir() {
            let path = format!("{path}{name}/");
            if path.starts_with(prefix) || prefix.starts_with(&path) {
                collect(&entry.path(), &path, prefix, keys)?;
            }
        } else if let Some(name) = name.strip_suffix(SUFFIX) {
            let key = format!("{path}{name}");
            if key.starts_with(prefix) {
                // Files that others put there are no blobs.
                keys.extend(key.parse::<BlobKey>());
            }
        }
    }
    Ok(())
}

fn failed(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full { what: WHAT, source: Some(error.into()) },
        _ => Error::Unavailable { what: WHAT, source: Some(error.into()) },
    }
}
