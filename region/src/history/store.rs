//! Segments among the blobs: kept, listed, copied to another region, erased.

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use sha2::{Digest, Sha256};

use super::segment::{SegmentError, pack, plain_of, runs_of, unpack};
use crate::ops::{DocumentKey, OpRun};
use crate::{BlobKey, Blobs, Error, Result};

/// What the keys of all segments begin with.
pub const SEGMENTS: &str = "segments/";

const KEYS_PAGE: usize = 1000;

/// A segment to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name among the blobs.
    pub key: BlobKey,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Segment {
    /// Packs runs of a document, which are in order. `trimmed`: what will have been trimmed of the document when they are moved.
    ///
    /// # Errors
    /// `Corrupt` when a run is not what it says it is; `Invalid` when they are too many or out of order.
    pub fn new(document: &DocumentKey, trimmed: &VersionVector, runs: &[OpRun]) -> Result<Self> {
        let plain = plain_of(document, runs).map_err(|error| match error {
            SegmentError::Malformed("delta") => Error::Corrupt {
                what: format!("a run of {}", document.document),
                detail: "its delta is of other counters".to_owned(),
            },
            error => Error::Invalid(error.to_string()),
        })?;
        let reach = trimmed.iter().fold(0_u64, |sum, (_, counter)| sum.saturating_add(counter));
        let key = format!("{}{reach:020}-{}", place_of(document), name_of(&plain)).parse()?;
        Ok(Self { key, bytes: pack(&plain) })
    }
}

/// Keeps a segment, and answers when it was read back and is what was to be kept.
///
/// # Errors
/// `Corrupt` when it is not what its name says, and nothing is kept, or when what was read back is not; else as the blobs.
/// Repeating it is harmless.
pub fn keep_segment<'a>(
    blobs: &'a dyn Blobs,
    document: &'a DocumentKey,
    segment: &'a Segment,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        check(document, &segment.key, &segment.bytes)?;
        blobs.put(&segment.key, segment.bytes.clone()).await?;
        // By its name it holds the runs that it was made of.
        read_segment(blobs, document, &segment.key).await.map(drop)
    })
}

/// The runs of a segment, which is checked: its checksum, its name, its document.
pub(super) async fn read_segment(blobs: &dyn Blobs, document: &DocumentKey, key: &BlobKey) -> Result<Vec<OpRun>> {
    check(document, key, &blobs.get(key).await?)
}

fn check(document: &DocumentKey, key: &BlobKey, bytes: &[u8]) -> Result<Vec<OpRun>> {
    let damaged = |detail: String| Error::Corrupt { what: format!("segment {key}"), detail };
    let plain = unpack(bytes).map_err(|error| damaged(error.to_string()))?;
    if !key.as_str().ends_with(&name_of(&plain)) {
        return Err(damaged("its name is that of other runs".to_owned()));
    }
    runs_of(document, &plain).map_err(|error| damaged(error.to_string()))
}

/// The names of a document's segments, in the order they were moved in. One listing a thousand.
///
/// # Errors
/// As the blobs.
pub fn segments<'a>(blobs: &'a dyn Blobs, document: &'a DocumentKey) -> BoxFuture<'a, Result<Vec<BlobKey>>> {
    Box::pin(async move {
        let (place, mut keys, mut after) = (place_of(document), Vec::new(), None);
        loop {
            let page = blobs.list(&place, after.as_ref(), KEYS_PAGE).await?;
            keys.extend(page.keys);
            after = page.next;
            if after.is_none() {
                return Ok(keys);
            }
        }
    })
}

/// Copies what a document's segments in another region lack; answers how many that were. Each is read back.
///
/// # Errors
/// As the blobs; what was copied stays.
pub fn copy_segments<'a>(
    source: &'a dyn Blobs,
    target: &'a dyn Blobs,
    document: &'a DocumentKey,
) -> BoxFuture<'a, Result<u64>> {
    Box::pin(async move {
        let there = segments(target, document).await?;
        let mut copied = 0;
        for key in segments(source, document).await? {
            if there.binary_search(&key).is_err() {
                copied += u64::from(copy_segment(source, target, document, &key).await?);
            }
        }
        Ok(copied)
    })
}

/// Copies one segment, which is read back; answers whether it was still there.
///
/// # Errors
/// `Corrupt` when the source's is damaged, which is not copied; else as the blobs.
pub fn copy_segment<'a>(
    source: &'a dyn Blobs,
    target: &'a dyn Blobs,
    document: &'a DocumentKey,
    key: &'a BlobKey,
) -> BoxFuture<'a, Result<bool>> {
    Box::pin(async move {
        let bytes = match source.get(key).await {
            // Erased since it was listed.
            Err(Error::NotFound { .. }) => return Ok(false),
            bytes => bytes?,
        };
        let segment = Segment { key: key.clone(), bytes };
        keep_segment(target, document, &segment).await?;
        Ok(true)
    })
}

/// Removes every segment of one generation of a document.
///
/// # Errors
/// As the blobs; what was removed stays so.
pub fn erase_segments<'a>(blobs: &'a dyn Blobs, document: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        for key in segments(blobs, document).await? {
            blobs.delete(&key).await?;
        }
        Ok(())
    })
}

/// The document that a segment is of, by its name.
#[must_use]
pub fn document_of(key: &BlobKey) -> Option<DocumentKey> {
    let mut parts = key.as_str().strip_prefix(SEGMENTS)?.split('/');
    let (tenant, name) = (parts.next()?.strip_prefix("t-")?, parts.next()?.strip_prefix("n-")?);
    let generation = parts.next()?.parse().ok()?;
    let key_of = DocumentKey::new(crate::DocumentId::new(tenant, name).ok()?, generation);
    // The name itself, and nothing below it; a number has one form.
    (parts.count() == 1 && key.as_str().starts_with(&place_of(&key_of))).then_some(key_of)
}

fn place_of(document: &DocumentKey) -> String {
    let id = document.document.as_str();
    let (tenant, name) = id.split_once('/').unwrap_or(("", id));
    format!("{SEGMENTS}t-{tenant}/n-{name}/{}/", document.generation)
}

fn name_of(plain: &[u8]) -> String {
    Sha256::digest(plain).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{document_of, place_of};
    use crate::{BlobKey, DocumentKey};

    #[test]
    fn a_segments_name_tells_its_document() {
        for (id, generation) in [("t/d", 1), ("tenant.~x/n-name:1", 12)] {
            let key = DocumentKey::new(id.parse().unwrap(), generation);
            let name = |rest: &str| format!("{}{rest}", place_of(&key)).parse::<BlobKey>().unwrap();
            assert_eq!(document_of(&name("00-ab")), Some(key.clone()));
            assert_eq!(document_of(&name("00/ab")), None);
            let other = name("00-ab").as_str().replace(&format!("/{generation}/"), &format!("/0{generation}/"));
            assert_eq!(document_of(&other.parse().unwrap()), None, "{other}");
        }
        let longest = DocumentKey::new(format!("{}/{}", "t".repeat(64), "n".repeat(128)).parse().unwrap(), u64::MAX);
        let key = format!("{}{:020}-{}", place_of(&longest), u64::MAX, "f".repeat(64));
        assert_eq!(document_of(&key.parse().expect("the longest name fits")), Some(longest));
        assert_eq!(document_of(&"snapshots/r-1/t-t/n-d/1/x".parse().unwrap()), None);
    }
}
