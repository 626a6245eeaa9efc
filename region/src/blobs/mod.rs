//! Blobs: large snapshots, segments of history and assets, by key.

#[doc(hidden)]
pub mod contract;
pub(crate) mod embedded;
#[cfg(feature = "regional")]
pub(crate) mod s3;

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;

use crate::{Error, Result};

/// Longest key, in bytes.
pub const BLOB_KEY_BYTES_MAX: usize = 512;

/// A blob's name: segments of `[A-Za-z0-9._~:-]`, none of them `.` or `..`, with `/` between, at most 512 bytes in all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey(String);

impl BlobKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BlobKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let segment_ok = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.len() <= 200
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:-".contains(&b))
        };
        if text.len() <= BLOB_KEY_BYTES_MAX && text.split('/').all(segment_ok) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Invalid(format!(
                "{text:?} is not a blob key: segments of A-Za-z0-9._~:- (at most 200 bytes each), separated by '/', at most \
                 {BLOB_KEY_BYTES_MAX} bytes in all"
            )))
        }
    }
}

/// Some keys in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPage {
    /// In the order of their bytes.
    pub keys: Vec<BlobKey>,
    /// Pass it as `after` for the next page; `None`: that was all.
    pub next: Option<BlobKey>,
}

/// Keeps bytes by key.
pub trait Blobs: Send + Sync {
    /// Keeps the bytes under the key, whole or not at all, durable before it answers; replaces what was there.
    fn put<'a>(&'a self, key: &'a BlobKey, bytes: Vec<u8>) -> BoxFuture<'a, Result<()>>;

    /// The bytes.
    ///
    /// # Errors
    /// `NotFound` when there are none; `Corrupt` when they fail their checksum.
    fn get<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Vec<u8>>>;

    /// Removes the blob; it may be missing already.
    fn delete<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<()>>;

    /// The keys that begin with `prefix`, after `after`, at most `limit` of them.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a BlobKey>, limit: usize)
    -> BoxFuture<'a, Result<BlobPage>>;
}
