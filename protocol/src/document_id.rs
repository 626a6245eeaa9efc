//! Names of documents: `tenant/name`.

use std::fmt;
use std::str::FromStr;

/// Most bytes of a tenant.
pub const TENANT_BYTES_MAX: usize = 64;
/// Most bytes of a name.
pub const NAME_BYTES_MAX: usize = 128;
/// Tenant of a bare name when the token names none.
pub const DEFAULT_TENANT: &str = "default";

/// A document's name: tenant 1-64 and name 1-128 bytes of `[A-Za-z0-9._~:-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    whole: String,
    slash: usize,
}

impl DocumentId {
    /// Joins a tenant and a name.
    ///
    /// # Errors
    /// [`DocumentIdError`] says which part is wrong and how.
    pub fn new(tenant: &str, name: &str) -> Result<Self, DocumentIdError> {
        check(tenant, TENANT_BYTES_MAX, "tenant")?;
        check(name, NAME_BYTES_MAX, "name")?;
        let mut whole = String::with_capacity(tenant.len() + 1 + name.len());
        whole.push_str(tenant);
        whole.push('/');
        whole.push_str(name);
        Ok(Self { whole, slash: tenant.len() })
    }

    /// Reads `tenant/name`, or a bare `name` of the given tenant.
    ///
    /// # Errors
    /// [`DocumentIdError`] says which part is wrong and how.
    pub fn parse(text: &str, tenant: &str) -> Result<Self, DocumentIdError> {
        match text.split_once('/') {
            Some((tenant, name)) => Self::new(tenant, name),
            None => Self::new(tenant, text),
        }
    }

    /// The part before the slash.
    pub fn tenant(&self) -> &str {
        &self.whole[..self.slash]
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.whole[self.slash + 1..]
    }

    /// `tenant/name`.
    pub fn as_str(&self) -> &str {
        &self.whole
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

impl FromStr for DocumentId {
    type Err = DocumentIdError;

    fn from_str(text: &str) -> Result<Self, DocumentIdError> {
        Self::parse(text, DEFAULT_TENANT)
    }
}

fn check(part: &str, most: usize, what: &'static str) -> Result<(), DocumentIdError> {
    if part.is_empty() {
        return Err(DocumentIdError::Empty { what });
    }
    if part.len() > most {
        return Err(DocumentIdError::TooLong { what, most });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
    if part.bytes().all(allowed) { Ok(()) } else { Err(DocumentIdError::Character { what }) }
}

/// Why a text is no document name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentIdError {
    /// A part is missing.
    #[error("the document's {what} is empty")]
    Empty {
        /// `tenant` or `name`.
        what: &'static str,
    },
    /// A part is too long.
    #[error("the document's {what} is longer than {most} bytes")]
    TooLong {
        /// `tenant` or `name`.
        what: &'static str,
        /// The limit in bytes.
        most: usize,
    },
    /// A part has a character that names may not have.
    #[error("the document's {what} may have only letters, digits and ._~:-")]
    Character {
        /// `tenant` or `name`.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let read = text.parse::<DocumentId>().ok();
        assert_eq!(read.as_ref().map(|id| (id.tenant(), id.name())), expected, "{text}");
    }

    #[test]
    fn names_are_read_or_refused() {
        check("notes-42", Some(("default", "notes-42")));
        check("acme/plan:2026~v1.x_y", Some(("acme", "plan:2026~v1.x_y")));
        check("", None);
        check("/x", None);
        check("a/", None);
        check("a/b/c", None);
        check("a b", None);
        check("\u{e9}", None);
        check(&"x".repeat(128), Some(("default", &"x".repeat(128))));
        check(&"x".repeat(129), None);
    }
}
