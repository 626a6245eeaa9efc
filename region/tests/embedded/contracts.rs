//! The embedded region held to the contracts of its parts.

use selvedge_region::contract;
use selvedge_region::embedded::{DatabaseFaults, EmbeddedOptions, EmbeddedRegion, FileFaults};
use tempfile::TempDir;

async fn opened() -> (TempDir, EmbeddedRegion) {
    let folder = tempfile::tempdir().unwrap();
    let region = EmbeddedRegion::open(EmbeddedOptions::new(folder.path().join("data"))).await.unwrap();
    (folder, region)
}

macro_rules! suite {
    ($name:ident, $part:ident, $suite:path, $faults:ty) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (_folder, region) = opened().await;
            $suite(&*region.region().$part, &<$faults>::new(&region)).await;
            region.close().await;
        }
    };
}

suite!(log, log, contract::log, DatabaseFaults);
suite!(op_store, ops, contract::op_store, DatabaseFaults);
suite!(snapshots, snapshots, contract::snapshots, DatabaseFaults);
suite!(bus, bus, contract::bus, DatabaseFaults);
suite!(blobs, blobs, contract::blobs, FileFaults);
suite!(control, control, contract::control, DatabaseFaults);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_readers() {
    let (_folder, region) = opened().await;
    contract::log_readers(&*region.region().log).await;
    region.close().await;
}
