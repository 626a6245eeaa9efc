//! The one error of a region's parts, whatever stands behind them.
//!
//! The variants are what a caller can act on, not what a service happens to say: SQLite's "database or disk is full",
//! Kafka's full producer queue and DynamoDB's throttling each have one name here. A variant that is [retryable]
//! (`Error::retryable`) says that nothing was changed or that repeating is harmless.

use std::error::Error as StdError;

use selvedge_protocol::Position;

/// What a part of a region answers when it does not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no room: a disk, a quota or a bounded queue is full. Nothing of the call was kept.
    #[error("{what} is full: nothing was written; free space or raise the quota")]
    Full {
        /// The part that is full, e.g. `log`.
        what: &'static str,
        /// What the service said.
        #[source]
        source: Option<BoxError>,
    },
    /// What was asked for was here and has been removed: a trimmed part of the log, a deleted document.
    #[error("{what} is gone")]
    Gone {
        /// What is gone, e.g. `log before offset 12`.
        what: String,
        /// The earliest position the log still has, when a log says this.
        earliest: Option<Position>,
    },
    /// A cache dropped what was asked for; it has to be read from the part that keeps it.
    #[error("{what} was evicted; read it from where it is kept")]
    Evicted {
        /// What was evicted.
        what: String,
    },
    /// There is nothing of that name.
    #[error("there is no {what}")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// A position this log has never reached, or one of another log: the asker knows more than this log does.
    #[error(
        "offset {} of log {:032x} is not in log {:032x}, which ends at offset {}",
        asked.offset, asked.log.0, end.log.0, end.offset
    )]
    BeyondEnd {
        /// The position asked for.
        asked: Position,
        /// One past the last record.
        end: Position,
    },
    /// The service asks for fewer requests.
    #[error("{what} asks to slow down")]
    Throttled {
        /// The part that is throttled.
        what: &'static str,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The service cannot be reached, or did not answer in time.
    #[error("{what} is not available")]
    Unavailable {
        /// The part that is not available.
        what: &'static str,
        /// What was seen.
        #[source]
        source: Option<BoxError>,
    },
    /// Another writer was first, or the new content does not cover the old: read again, merge, and try again.
    #[error("{what} was changed by another writer")]
    Conflict {
        /// What was contended for.
        what: String,
    },
    /// Something of that name is there already.
    #[error("{what} exists already")]
    Exists {
        /// What exists.
        what: String,
    },
    /// One key, two contents. The first content is kept.
    #[error("divergence: {what} is already kept with another content")]
    Divergence {
        /// The key.
        what: String,
    },
    /// A site is bound to another principal.
    #[error("site {site} is bound to another principal")]
    SiteTaken {
        /// The site.
        site: selvedge_engine::SiteId,
    },
    /// The caller's epoch is older than the control plane's.
    #[error("epoch {held} has ended: the control plane is at epoch {current}")]
    Fenced {
        /// The epoch of the caller.
        held: u64,
        /// The epoch now in force.
        current: u64,
    },
    /// Only the home decides this.
    #[error("this is decided in region {home}, the home in epoch {epoch}: ask there")]
    NotHome {
        /// The home.
        home: String,
        /// Since this epoch, as far as is known here.
        epoch: u64,
    },
    /// The caller asked for something no implementation can do: too large, empty, a name with other characters.
    #[error("{0}")]
    Invalid(String),
    /// What is kept does not pass its own check.
    #[error("{what} is damaged: {detail}")]
    Corrupt {
        /// What is damaged.
        what: String,
        /// Which check failed.
        detail: String,
    },
    /// The data folder is held by another process.
    #[error("the data folder {path} is in use by another process: stop it, or choose another folder with --data")]
    Locked {
        /// The folder.
        path: String,
    },
    /// This part has been shut down.
    #[error("{what} is closed")]
    Closed {
        /// The part.
        what: &'static str,
    },
    /// Anything else that the service said.
    #[error("{what} failed")]
    Failed {
        /// The part that failed.
        what: &'static str,
        /// What it said.
        #[source]
        source: BoxError,
    },
}

/// A source error of any service.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The result of every part of a region.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Throttled { .. } | Self::Unavailable { .. } | Self::Evicted { .. })
    }

    /// A short stable word for metrics: `full`, `gone`, `evicted` and so on.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::Gone { .. } => "gone",
            Self::Evicted { .. } => "evicted",
            Self::NotFound { .. } => "not_found",
            Self::BeyondEnd { .. } => "beyond_end",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Conflict { .. } => "conflict",
            Self::Exists { .. } => "exists",
            Self::Divergence { .. } => "divergence",
            Self::SiteTaken { .. } => "site_taken",
            Self::Fenced { .. } => "fenced",
            Self::NotHome { .. } => "not_home",
            Self::Invalid(_) => "invalid",
            Self::Corrupt { .. } => "corrupt",
            Self::Locked { .. } => "locked",
            Self::Closed { .. } => "closed",
            Self::Failed { .. } => "failed",
        }
    }

    /// The same error for another waiter of one shared attempt, e.g. of one group commit. Sources become text.
    #[must_use]
    pub(crate) fn share(&self) -> Self {
        let text = |source: &BoxError| -> BoxError { source.to_string().into() };
        match self {
            Self::Full { what, source } => Self::Full { what, source: source.as_ref().map(text) },
            Self::Unavailable { what, source } => Self::Unavailable { what, source: source.as_ref().map(text) },
            Self::Closed { what } => Self::Closed { what },
            Self::Invalid(reason) => Self::Invalid(reason.clone()),
            Self::Corrupt { what, detail } => Self::Corrupt { what: what.clone(), detail: detail.clone() },
            Self::Failed { what, source } => Self::Failed { what, source: text(source) },
            other => Self::Failed { what: "group commit", source: other.to_string().into() },
        }
    }
}
