//! The steps of a promotion that stand on this region's parts: the control plane's epoch, the databases, the list of endpoints.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_region::{BlobKey, Region};
use tokio::sync::watch;

use super::endpoints::{BLOB, JITTER_MS, List, Region as ListedRegion, Signer};
use super::{Step, StepError};
use crate::clock;
use crate::ship::postgres::{Side, adopt, detach, following};

/// How long a client may go by a list, in milliseconds.
const LIST_HOLDS_MS: u64 = 24 * 3600 * 1000;

/// Begins the epoch in this region's control plane: decisions of earlier ones are refused from then on.
pub struct BeginEpoch {
    /// The region.
    pub region: Region,
    /// Its name.
    pub name: String,
}

impl Step for BeginEpoch {
    fn name(&self) -> &'static str {
        "control plane"
    }

    fn plan(&self, epoch: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>> {
        Box::pin(async move {
            let standing = self.region.control.standing();
            Ok(vec![format!(
                "begin epoch {epoch} with home {} (now epoch {} with home {})",
                self.name, standing.epoch, standing.home
            )])
        })
    }

    fn run(&self, epoch: u64) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            let standing = self.region.control.standing();
            if (standing.epoch, standing.home.as_str()) == (epoch, self.name.as_str()) {
                return Ok(());
            }
            Ok(self.region.control.begin_epoch(epoch, &self.name).await?)
        })
    }
}

/// Makes the copies of the other region's snapshots stand by themselves where that region is lost, and merges what they cover
/// beyond this region's own.
pub struct Databases {
    /// This region.
    pub region: Region,
    /// Its servers.
    pub own: Side,
    /// The other region's.
    pub peer: Side,
}

impl Step for Databases {
    fn name(&self) -> &'static str {
        "databases"
    }

    fn plan(&self, _: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>> {
        Box::pin(async move {
            let mut lines = Vec::new();
            for (number, server) in following(&self.peer, &self.own).await?.into_iter().enumerate() {
                lines.push(match (server.subscribed, server.behind_bytes) {
                    (false, _) => format!("server {number}: follows nobody, and can be written to"),
                    (true, Some(behind)) => format!("server {number}: goes on following, {behind} bytes behind"),
                    (true, None) => format!("server {number}: take the subscription to the lost publisher away"),
                });
            }
            lines.push("merge what the copied snapshots cover beyond the own ones".to_owned());
            Ok(lines)
        })
    }

    fn run(&self, _: u64) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            let servers = following(&self.peer, &self.own).await?;
            if servers.iter().any(|server| server.subscribed && server.behind_bytes.is_none()) {
                detach(&self.peer, &self.own).await?;
            }
            let adopted = adopt(&self.region, &self.own, self.peer.number, Arc::clone(&self.region.blobs)).await?;
            if adopted > 0 {
                tracing::info!(adopted, "snapshots of the other region were merged into the own ones");
            }
            Ok(())
        })
    }
}

/// Signs the list of endpoints anew, and publishes it in every region that can be reached.
pub struct Endpoints {
    /// Signs it.
    pub signer: Signer,
    /// This region's name and its relays' URLs.
    pub own: (String, Vec<String>),
    /// The other region's.
    pub peer: Option<(String, Vec<String>)>,
    /// This region's parts.
    pub region: Region,
    /// The other region's parts while it can be reached.
    pub reached: watch::Receiver<Option<Region>>,
}

impl Endpoints {
    fn list(&self, epoch: u64) -> List {
        let region = |(name, urls): &(String, Vec<String>), role: &str| ListedRegion {
            name: name.clone(),
            role: role.to_owned(),
            endpoints: urls.iter().map(|url| endpoint(name, url)).collect(),
        };
        let now = clock::wall_ms();
        let own = region(&self.own, "home");
        let regions = [own].into_iter().chain(self.peer.as_ref().map(|peer| region(peer, "standby")));
        List {
            epoch,
            issued_ms: now,
            expires_ms: now + LIST_HOLDS_MS,
            jitter_ms: JITTER_MS,
            regions: regions.collect(),
        }
    }
}

impl Step for Endpoints {
    fn name(&self) -> &'static str {
        "list of endpoints"
    }

    fn plan(&self, epoch: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>> {
        Box::pin(async move {
            let line = |region: &ListedRegion| {
                format!("{} {}: {} endpoints", region.role, region.name, region.endpoints.len())
            };
            let regions: Vec<String> = self.list(epoch).regions.iter().map(line).collect();
            Ok(vec![format!("sign epoch {epoch} with {}", regions.join(", "))])
        })
    }

    fn run(&self, epoch: u64) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            let signed = self.signer.sign(&self.list(epoch))?;
            let (key, bytes) = (BLOB.parse::<BlobKey>()?, serde_json::to_vec(&signed)?);
            self.region.blobs.put(&key, bytes.clone()).await?;
            let reached = self.reached.borrow().clone();
            // A region that is lost has no clients, and gets the list when it is back.
            if let Some(peer) = reached
                && let Err(error) = peer.blobs.put(&key, bytes).await
            {
                tracing::warn!(%error, "the other region has an older list of endpoints");
            }
            Ok(())
        })
    }
}

/// A relay as the list of endpoints describes it: its name is host and port, and what carries it follows from the scheme.
fn endpoint(region: &str, url: &str) -> serde_json::Value {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let transport = match scheme {
        "ws" | "wss" | "http" => "websocket",
        "quic" => "quic",
        _ => "webtransport",
    };
    let place = rest.split('/').next().unwrap_or(rest);
    let address = serde_json::json!({ "transport": transport, "url": url, "certificates": [] });
    serde_json::json!({ "relay": place, "region": region, "addresses": [address] })
}

/// A list that is signed again before it runs out, while this process decides.
pub async fn renew(endpoints: Arc<Endpoints>, deciding: watch::Receiver<Option<u64>>) {
    let pause = std::time::Duration::from_millis(LIST_HOLDS_MS / 24);
    loop {
        tokio::time::sleep(pause).await;
        let epoch = *deciding.borrow();
        if let Some(epoch) = epoch
            && let Err(error) = endpoints.run(epoch).await
        {
            tracing::warn!(%error, "the list of endpoints is signed again later");
        }
    }
}

/// One step shared with whoever repeats it.
pub struct Shared<S>(pub Arc<S>);

impl<S: Step> Step for Shared<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn plan(&self, epoch: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>> {
        self.0.plan(epoch)
    }

    fn run(&self, epoch: u64) -> BoxFuture<'_, Result<(), StepError>> {
        self.0.run(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn a_relay_is_described_by_its_url() {
        let described = endpoint("a", "wss://relay-1.example.org:4400/v1/connect");
        assert_eq!(described["relay"], "relay-1.example.org:4400");
        assert_eq!(described["addresses"][0]["transport"], "websocket");
        assert_eq!(endpoint("a", "quic://h:1")["addresses"][0]["transport"], "quic");
        assert_eq!(endpoint("a", "https://h:1")["addresses"][0]["transport"], "webtransport");
    }
}
