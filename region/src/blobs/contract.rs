//! The contract of [`Blobs`].

use super::{BlobKey, Blobs};
use crate::Error;
use crate::contract::{Fault, Faults, injected, outages};

/// Holds a blob store to its contract. It must hold nothing under `contract/` before.
///
/// # Panics
/// Where the contract is broken.
pub async fn blobs(blobs: &dyn Blobs, faults: &dyn Faults) {
    bytes_by_key(blobs).await;
    listing(blobs).await;
    damage(blobs, faults).await;
    out_of_service(blobs, faults).await;
}

fn key(text: &str) -> BlobKey {
    format!("contract/{text}").parse().expect("a contract blob's key is valid")
}

async fn bytes_by_key(blobs: &dyn Blobs) {
    let (name, below) = (key("a"), key("a/b"));
    assert!(matches!(blobs.get(&name).await, Err(Error::NotFound { .. })));
    blobs.delete(&name).await.expect("what is not there is deleted without harm");
    for content in [b"first".to_vec(), Vec::new(), vec![7; 300_000]] {
        blobs.put(&name, content.clone()).await.expect("put");
        assert_eq!(blobs.get(&name).await.expect("get"), content, "what was put last");
    }
    blobs.put(&below, b"below".to_vec()).await.expect("a key may begin with another");
    assert_eq!(blobs.get(&name).await.expect("get").len(), 300_000);
    blobs.delete(&name).await.expect("delete");
    assert!(matches!(blobs.get(&name).await, Err(Error::NotFound { .. })));
    assert_eq!(blobs.get(&below).await.expect("get"), b"below");
    blobs.delete(&below).await.expect("delete");
}

async fn listing(blobs: &dyn Blobs) {
    let mut keys: Vec<_> = ["l/a", "l/a.x", "l/a/1", "l/a/2", "l/b:c", "l/b/d/e", "l/~z", "m/1"].map(key).to_vec();
    for name in &keys {
        blobs.put(name, b"x".to_vec()).await.expect("put");
    }
    keys.sort();
    for limit in [1, 3, 100] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = blobs.list("contract/", after.as_ref(), limit).await.expect("list");
            assert!(page.keys.len() <= limit, "a page keeps its limit");
            listed.extend(page.keys);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, keys, "in the order of bytes, pages of {limit}");
    }
    let under = |prefix: &'static str| async move {
        let page = blobs.list(prefix, None, 100).await.expect("list");
        page.keys.iter().map(|key| key.as_str()["contract/".len()..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(under("contract/l/a").await, ["l/a", "l/a.x", "l/a/1", "l/a/2"], "a prefix may end within a name");
    assert_eq!(under("contract/l/b/").await, ["l/b/d/e"]);
    assert!(under("contract/nothing/").await.is_empty());
    for name in &keys {
        blobs.delete(name).await.expect("delete");
    }
    assert!(under("contract/").await.is_empty());
}

async fn damage(blobs: &dyn Blobs, faults: &dyn Faults) {
    let name = key("damaged");
    blobs.put(&name, b"some bytes".to_vec()).await.expect("put");
    if injected(faults, Fault::DamagedBlob(name.to_string()), "a damaged blob").await {
        assert!(matches!(blobs.get(&name).await, Err(Error::Corrupt { .. })), "damage is never handed out");
    }
    blobs.put(&name, b"new bytes".to_vec()).await.expect("put");
    assert_eq!(blobs.get(&name).await.expect("a new put mends it"), b"new bytes");
    blobs.delete(&name).await.expect("delete");
}

async fn out_of_service(blobs: &dyn Blobs, faults: &dyn Faults) {
    let name = key("out");
    for (fault, kind) in outages() {
        if injected(faults, fault, "a blob store out of service").await {
            let refused = blobs.put(&name, b"x".to_vec()).await.expect_err("out of service");
            assert_eq!(refused.kind(), kind);
            assert!(faults.inject(Fault::Healed).await);
            assert!(matches!(blobs.get(&name).await, Err(Error::NotFound { .. })), "nothing half written is there");
        }
    }
}
