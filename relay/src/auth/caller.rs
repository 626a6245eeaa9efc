//! Somebody whose token was believed, and what it grants by itself.

use selvedge_protocol::{DocumentId, Rights};

use crate::session::Identity;

/// What a token grants on the documents it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `tenant/name` in which each `*` stands for any characters, `/` too.
    pub(crate) pattern: String,
    pub(crate) rights: Rights,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) scopes: Vec<Scope>,
    /// When the token ends, in milliseconds of wall time; `None`: never.
    pub(crate) expires_ms: Option<u64>,
    /// Where the token is a ticket of a relay: what the ticket says.
    pub(crate) ticket: Option<Confirmed>,
}

/// What a ticket says of the moment its rights were last looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    /// In milliseconds of wall time.
    pub(crate) at_ms: u64,
    /// The rights were granted by a token of the issuer, not by the control plane: it cannot take them back.
    pub(crate) by_token: bool,
}

impl Caller {
    /// Somebody with the same rights everywhere and without end.
    pub(crate) fn everywhere(identity: Identity, rights: Rights) -> Self {
        Caller { identity, scopes: vec![Scope { pattern: "*".to_owned(), rights }], expires_ms: None, ticket: None }
    }

    /// What the token itself grants on a document.
    pub(crate) fn granted(&self, document: &DocumentId) -> Rights {
        let fits = |scope: &&Scope| matches(scope.pattern.as_bytes(), document.as_str().as_bytes());
        self.scopes.iter().filter(fits).map(|scope| scope.rights).max().unwrap_or(Rights::None)
    }

    /// Whether the document belongs to the caller's tenant.
    pub(crate) fn at_home(&self, document: &DocumentId) -> bool {
        document.as_str().split_once('/').is_some_and(|(tenant, _)| tenant == self.identity.tenant)
    }
}

/// Whether `text` is what `pattern` says. O(p t), p and t = their lengths, by going back to the last star alone.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        };
        check("t/notes", "t/notes", true);
        check("t/notes", "t/notes2", false);
        check("t/*", "t/notes", true);
        check("t/*", "other/notes", false);
        check("*", "t/notes", true);
        check("t/a*b*c", "t/aXbYbZc", true);
        check("t/a*b*c", "t/aXbYbZ", false);
        check("t/**", "t/", true);
        check("", "t", false);
        check(&"*a".repeat(60), &"a".repeat(59), false);
    }
}
