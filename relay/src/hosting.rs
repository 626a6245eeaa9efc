//! The region a relay stands on: a data folder of its own, or services that it shares with others.
//!
//! On services the relay keeps nothing: it appends, listens and asks, and `selvedge-replicator` does what persists. In a data
//! folder persist runs in this process.

use selvedge_protocol::AckLevel;
use selvedge_region::Region;
use selvedge_region::embedded::{EmbeddedOptions, EmbeddedRegion};
use selvedge_region::fold::{PersistConfig, PersistTask};
#[cfg(feature = "regional")]
use selvedge_region::regional::RegionalRegion;

use crate::app::StartError;
use crate::config::Config;

/// How long a data folder may stay locked by a relay that is ending, before it counts as somebody else's.
const PREDECESSOR: std::time::Duration = std::time::Duration::from_secs(2);
/// Pause between two looks at a locked folder.
const PREDECESSOR_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// The open region.
pub(crate) enum Hosting {
    /// In a data folder, with its persist.
    Embedded {
        /// The folder.
        region: EmbeddedRegion,
        /// Folds the log into op store and snapshots.
        persist: PersistTask,
    },
    /// On services.
    #[cfg(feature = "regional")]
    Services(Box<RegionalRegion>),
}

impl Hosting {
    /// Opens what the settings name.
    ///
    /// # Errors
    /// [`StartError`] names the flag, the value and the fix.
    pub(crate) async fn open(config: &Config) -> Result<Self, StartError> {
        #[cfg(feature = "regional")]
        if let Some(options) = config.services()? {
            let region = RegionalRegion::open(options).await?;
            return Ok(Hosting::Services(Box::new(region)));
        }
        let region = open_folder(config).await?;
        let persist = PersistTask::spawn(region.region().clone(), PersistConfig::default());
        Ok(Hosting::Embedded { region, persist })
    }

    /// Its parts.
    pub(crate) fn region(&self) -> &Region {
        match self {
            Hosting::Embedded { region, .. } => region.region(),
            #[cfg(feature = "regional")]
            Hosting::Services(region) => region.region(),
        }
    }

    /// The highest level it acknowledges: with another region beside it, `replicated`.
    pub(crate) fn highest(&self, config: &Config) -> AckLevel {
        let level = if config.peer_region.is_some() { AckLevel::Replicated } else { AckLevel::Region };
        match self {
            Hosting::Embedded { .. } => level.min(AckLevel::Region),
            #[cfg(feature = "regional")]
            Hosting::Services(_) => level,
        }
    }

    /// The region's number among regions; 0: it is alone.
    pub(crate) fn number(&self) -> u8 {
        match self {
            Hosting::Embedded { .. } => 0,
            #[cfg(feature = "regional")]
            Hosting::Services(region) => region.options().number,
        }
    }

    /// Finishes what is under way and lets go.
    pub(crate) async fn close(self) {
        match self {
            Hosting::Embedded { region, persist } => {
                persist.stop().await;
                region.close().await;
            }
            #[cfg(feature = "regional")]
            Hosting::Services(region) => region.close().await,
        }
    }
}

/// Opens the data folder; a relay that is just ending there is waited for.
async fn open_folder(config: &Config) -> Result<EmbeddedRegion, StartError> {
    let options = EmbeddedOptions { restored: config.restored, ..EmbeddedOptions::new(config.data.clone()) };
    let patience = tokio::time::Instant::now() + PREDECESSOR;
    loop {
        match EmbeddedRegion::open(options.clone()).await {
            Err(selvedge_region::Error::Locked { .. }) if tokio::time::Instant::now() < patience => {
                tokio::time::sleep(PREDECESSOR_PAUSE).await;
            }
            opened => {
                return opened.map_err(|source| StartError::Data { folder: config.data.display().to_string(), source });
            }
        }
    }
}
