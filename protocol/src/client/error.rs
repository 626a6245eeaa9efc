//! What a client's user can do wrong, or is not allowed.

use selvedge_engine::EditError;

use crate::close::CloseCode;

/// Why a call on a client was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No document is open on this channel.
    #[error("no document is open on this channel")]
    NotOpen,
    /// More documents than one connection carries.
    #[error("a connection carries at most 64 documents")]
    TooManyDocuments,
    /// This client has the document open already.
    #[error("the document is open already")]
    AlreadyOpen,
    /// An initial text is at most 16 KiB; longer ones are for the server's REST interface.
    #[error("the initial text is longer than 16 KiB: create the document over REST, or insert the text")]
    InitialTextTooLong,
    /// The document may only be read now.
    #[error("the document is read-only: {}", .0.sentence())]
    ReadOnly(CloseCode),
    /// The engine refused the edit.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// What the store held cannot be read.
    #[error("the stored copy cannot be read: {0}")]
    Stored(String),
    /// A presence of more than 1 KiB.
    #[error("a presence has at most 1024 bytes")]
    PresenceTooLarge,
    /// What comes before an update is not here yet.
    #[error("an earlier update of its site is missing")]
    Missing,
    /// Bytes of another tab that are no delta.
    #[error("the update cannot be read: {0}")]
    Update(String),
}

impl Error {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOpen => "not-open",
            Self::TooManyDocuments => "too-many-documents",
            Self::AlreadyOpen => "already-open",
            Self::InitialTextTooLong => "initial-text-too-long",
            Self::ReadOnly(_) => "read-only",
            Self::Edit(_) => "edit",
            Self::Stored(_) => "stored-copy",
            Self::PresenceTooLarge => "presence-too-large",
            Self::Missing => "missing",
            Self::Update(_) => "update",
        }
    }

    /// Whether the same call can succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::ReadOnly(_) | Self::TooManyDocuments)
    }
}
