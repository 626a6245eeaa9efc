//! The steps of a promotion that stand on this region's parts: the control plane's epoch, the databases.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_region::Region;

use super::{Step, StepError};
use crate::ship::postgres::{Side, adopt, detach, following};

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
