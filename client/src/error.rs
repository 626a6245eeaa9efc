//! What can go wrong in a call of this crate.

use std::path::PathBuf;

use selvedge_protocol::client::{Error as ClientError, StoreError};
use selvedge_protocol::{CloseCode, DocumentIdError, ListKeyError};

/// Why a call was refused or cannot be answered any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the relay cannot be used.
    #[error("{value:?} is no address of a relay: {problem}; write e.g. http://127.0.0.1:4400")]
    Url {
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file of authorities to trust cannot be used.
    #[error("the certificates in {} cannot be used: {problem}; give a file of certificates in PEM", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A key to verify lists of endpoints by cannot be used.
    #[error("a key to trust lists of endpoints by is {0}")]
    TrustKey(ListKeyError),
    /// The document's name breaks a rule.
    #[error("{value:?} is no document: {source}; write e.g. notes or tenant/notes")]
    DocumentId {
        /// What was given.
        value: String,
        /// Which rule.
        source: DocumentIdError,
    },
    /// The client machine refused the call; nothing was changed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The store cannot be read, or did not keep the document.
    #[error("the local copy: {0}")]
    Store(#[from] StoreError),
    /// A file of the store is damaged.
    #[error("the local copy {} is damaged at byte {offset}: {problem}; move it away to start from the server's copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How.
        problem: &'static str,
    },
    /// Another process uses the store.
    #[error("the folder {} is in use by another process: stop it, or choose another folder", path.display())]
    StoreInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The server closed the document, or the connection, for good.
    #[error("closed by the server ({}): {reason}", code.0)]
    Closed {
        /// Why.
        code: CloseCode,
        /// A sentence for people.
        reason: String,
    },
    /// A push was refused for good: the document is read-only.
    #[error("the server refused the edit ({}): {message}", code.0)]
    Refused {
        /// Why.
        code: CloseCode,
        /// A sentence for people.
        message: String,
    },
    /// The document or the handle is closed here.
    #[error("the document is closed")]
    NotOpen,
    /// It did not happen within the time given.
    #[error("no answer within {ms} ms: {what}")]
    Timeout {
        /// The time given.
        ms: u64,
        /// What was waited for.
        what: String,
    },
}
