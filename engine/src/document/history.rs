//! History on demand: a document as it was, made of the durable deltas that led to it. The living document pays nothing for it.

use super::Document;
use crate::delta::Delta;
use crate::error::ApplyError;
use crate::vector::VersionVector;

impl Document {
    /// The document as it was at `version`, of the durable deltas written until then or longer: each site's in counter order,
    /// those of different sites in any. What lies beyond the version is left out, within a delta too.
    ///
    /// O(r d log n + b), r = runs and ranges of the deltas, b = their text, d = depth, n = runs.
    ///
    /// # Errors
    /// [`ApplyError::Gap`] with the first site of which the deltas do not reach the version, or with a hole between them;
    /// [`ApplyError::Invalid`] if one breaks the format.
    pub fn at_version<'a>(
        deltas: impl IntoIterator<Item = &'a Delta>,
        version: &VersionVector,
    ) -> Result<Self, ApplyError> {
        let mut document = Self::new();
        for delta in deltas {
            if let Some(part) = delta.until(version.get(delta.site)) {
                document.apply(&part)?;
            }
        }
        let missing = version.iter().find(|&(site, counter)| document.vector.get(site) < counter);
        match missing {
            Some((site, _)) => Err(ApplyError::Gap { site, have: document.vector.get(site) }),
            None => Ok(document),
        }
    }
}
