//! The signed list of endpoints of a fleet of two regions: a key of its own, and the settings by which replicators sign with it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use selvedge_relay::auth::mint::{self, TokenArgs, TokenCommand};
use selvedge_replicator::failover::promotion::endpoints::Signer;

use super::FleetOptions;
use super::region::{relay_ports, ways};

/// See the module.
pub(super) struct Lists {
    /// File of the private key.
    key: PathBuf,
    /// The public key, PEM.
    pub(super) trust: String,
}

impl Lists {
    /// Makes the key, where there are two regions with somebody to sign.
    pub(super) fn of(options: &FleetOptions, folder: &Path) -> anyhow::Result<Option<Self>> {
        if options.regions.len() < 2 || !options.replicators {
            return Ok(None);
        }
        let key = folder.join("endpoints.pem");
        if !key.exists() {
            mint::run(&TokenArgs { command: TokenCommand::Key { file: key.clone() } })?;
        }
        let pem = std::fs::read(&key).with_context(|| format!("{} cannot be read", key.display()))?;
        let trust = Signer::new(&pem).with_context(|| key.display().to_string())?.public_key().to_pem();
        Ok(Some(Self { key, trust }))
    }

    /// The settings of one region's replicator. Native QUIC is not listed: the certificates that relays show are their own, and
    /// change. A page on this machine asks the relay for them.
    pub(super) fn environment(&self, options: &FleetOptions, number: usize) -> Vec<(String, String)> {
        let ports = relay_ports(options.ports, options.regions.len(), options.relays);
        let urls: Vec<String> = ports.into_iter().flat_map(ways).collect();
        let (first, second) = urls.split_at(2 * usize::from(options.relays));
        let (own, peer) = if number == 0 { (first, second) } else { (second, first) };
        vec![
            ("SELVEDGE_ENDPOINTS_KEY".to_owned(), self.key.display().to_string()),
            ("SELVEDGE_RELAYS".to_owned(), own.join(",")),
            ("SELVEDGE_PEER_RELAYS".to_owned(), peer.join(",")),
        ]
    }
}
