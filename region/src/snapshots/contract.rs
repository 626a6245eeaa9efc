//! The contract of [`SnapshotStore`].

use selvedge_engine::{SiteId, VersionVector};

use super::{Snapshot, SnapshotStore};
use crate::contract::{Fault, Faults, UNFIT_BYTES, document, injected, outages};
use crate::ops::DocumentKey;
use crate::{Error, LogId, Position};

/// Holds a snapshot store to its contract. It must hold nothing of `contract/snapshot-*` before.
///
/// # Panics
/// Where the contract is broken.
pub async fn snapshots(store: &dyn SnapshotStore, faults: &dyn Faults) {
    versions(store).await;
    compare_and_set(store).await;
    concurrent_writers(store).await;
    pruning(store).await;
    listing(store).await;
    damage(store, faults).await;
    out_of_service(store, faults).await;
}

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(document(name), 1)
}

fn snapshot(entries: &[(u32, u64)], bytes: &str) -> Snapshot {
    let vector: VersionVector = entries.iter().map(|&(index, counter)| (SiteId::leased(0, index), counter)).collect();
    let position = Some(Position { log: LogId(77), partition: 0, offset: 12 });
    Snapshot { vector, position, bytes: bytes.as_bytes().to_vec() }
}

async fn versions(store: &dyn SnapshotStore) {
    let key = key("snapshot-versions");
    assert_eq!(store.latest(&key).await.expect("latest"), None, "nothing is there at first");
    assert_eq!(store.versions(&key).await.expect("versions"), []);
    let first = snapshot(&[(1, 3)], "first");
    let second = Snapshot { position: None, ..snapshot(&[(1, 3), (2, 1)], "second") };
    assert_eq!(store.put(&key, None, &first).await.expect("put"), 1);
    assert_eq!(store.put(&key, Some(1), &second).await.expect("put"), 2);

    let latest = store.latest(&key).await.expect("latest").expect("there is one");
    assert_eq!((latest.version, &latest.snapshot, latest.damaged.len()), (2, &second, 0));
    assert_eq!(store.load(&key, 1).await.expect("load"), first, "older versions stay");
    let infos = store.versions(&key).await.expect("versions");
    assert_eq!(infos.iter().map(|info| info.version).collect::<Vec<_>>(), [2, 1], "newest first");
    assert_eq!(infos[1].checksum, first.checksum());
    assert_eq!((infos[1].position, infos[1].length, &infos[1].vector), (first.position, 5, &first.vector));
    assert!(matches!(store.load(&key, 9).await, Err(Error::NotFound { .. })));

    let other = DocumentKey::new(key.document.clone(), 2);
    assert_eq!(store.latest(&other).await.expect("latest"), None, "generations do not mix");
    store.erase(&key).await.expect("erase");
    assert_eq!(store.latest(&key).await.expect("latest"), None);
    assert!(store.put(&key, None, &first).await.expect("put") > 2, "no version is used twice");
}

async fn listing(store: &dyn SnapshotStore) {
    let wanted: Vec<DocumentKey> = [("snapshot-listed-a", 1), ("snapshot-listed-a", 2), ("snapshot-listed-b", 1)]
        .map(|(name, generation)| DocumentKey::new(document(name), generation))
        .into();
    for key in wanted.iter().rev() {
        store.put(key, None, &snapshot(&[(1, 1)], "one")).await.expect("put");
    }
    store.put(&wanted[0], Some(1), &snapshot(&[(1, 2)], "two")).await.expect("put");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.documents(after.as_ref(), 2).await.expect("documents");
        assert!(page.len() <= 2 && page.is_sorted(), "{page:?}");
        let Some(last) = page.last() else { break };
        assert!(after.as_ref().is_none_or(|after| after < &page[0]), "pages go on");
        after = Some(last.clone());
        found.extend(page);
    }
    found.retain(|key| wanted.contains(key));
    assert_eq!(found, wanted, "each generation once, in order");
    for key in &wanted {
        store.erase(key).await.expect("erase");
    }
    let left = store.documents(None, 10_000).await.expect("documents");
    assert!(wanted.iter().all(|key| !left.contains(key)), "what was erased is listed no more");
}

async fn compare_and_set(store: &dyn SnapshotStore) {
    let key = key("snapshot-cas");
    let conflict = |refused: Result<u64, Error>, why: &str| {
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{why}: {refused:?}");
    };
    let base = snapshot(&[(1, 3), (2, 2)], "base");
    conflict(store.put(&key, Some(1), &base).await, "a version that never was");
    store.put(&key, None, &base).await.expect("put");
    conflict(store.put(&key, None, &snapshot(&[(1, 4), (2, 2)], "late")).await, "another writer came first");
    conflict(store.put(&key, Some(1), &snapshot(&[(1, 9)], "forgets site 2")).await, "a vector that does not dominate");
    conflict(store.put(&key, Some(1), &snapshot(&[(1, 2), (2, 2)], "older")).await, "an older vector");
    let latest = store.latest(&key).await.expect("latest").expect("there is one");
    assert_eq!((latest.version, latest.snapshot), (1, base), "a refused snapshot changes nothing");
    assert!(store.put(&key, Some(1), &snapshot(&[(1, 3), (2, 2)], "equal")).await.is_ok(), "an equal vector dominates");
}

async fn concurrent_writers(store: &dyn SnapshotStore) {
    let key = key("snapshot-race");
    store.put(&key, None, &snapshot(&[(1, 1)], "base")).await.expect("put");
    let writers = (0..6).map(|writer| {
        let key = &key;
        async move { store.put(key, Some(1), &snapshot(&[(1, 1), (10 + writer, 1)], "mine")).await }
    });
    let answers = futures_util::future::join_all(writers).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "one of many wins");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(Error::Conflict { .. }))), "the others are told");
}

async fn pruning(store: &dyn SnapshotStore) {
    let key = key("snapshot-pruned");
    let mut expected = None;
    for counter in 1..=5 {
        expected = Some(store.put(&key, expected, &snapshot(&[(1, counter)], "x")).await.expect("put"));
    }
    assert_eq!(store.prune(&key, 2).await.expect("prune"), 3);
    let left: Vec<_> = store.versions(&key).await.expect("versions").iter().map(|info| info.version).collect();
    assert_eq!(left, [5, 4], "the newest stay");
    assert_eq!(store.prune(&key, 0).await.expect("prune"), 1, "the newest always stays");
    store.discard(&key, 5).await.expect("discard");
    assert_eq!(store.latest(&key).await.expect("latest"), None, "one version can be discarded");
    assert_eq!(store.put(&key, None, &snapshot(&[(1, 1)], "again")).await.expect("put"), 6, "no version is used twice");
}

async fn damage(store: &dyn SnapshotStore, faults: &dyn Faults) {
    let key = key("snapshot-damaged");
    let fault = || Fault::DamagedSnapshot(key.document.clone());
    let good = snapshot(&[(1, 1)], "good");
    store.put(&key, None, &good).await.expect("put");
    store.put(&key, Some(1), &snapshot(&[(1, 2)], "soon damaged")).await.expect("put");
    if !injected(faults, fault(), "a damaged snapshot").await {
        return;
    }
    let latest = store.latest(&key).await.expect("latest").expect("an intact one is found");
    assert_eq!(
        (latest.version, latest.snapshot, latest.damaged),
        (1, good, vec![2]),
        "the newest intact one, and what was passed over"
    );
    assert!(matches!(store.load(&key, 2).await, Err(Error::Corrupt { .. })), "damage is never handed out");
    store.discard(&key, 2).await.expect("discard");
    assert!(faults.inject(fault()).await, "the other can be damaged, too");
    let all_damaged = store.latest(&key).await;
    assert!(matches!(all_damaged, Err(Error::Corrupt { .. })), "none intact is not the same as none: {all_damaged:?}");
}

async fn out_of_service(store: &dyn SnapshotStore, faults: &dyn Faults) {
    let key = key("snapshot-out");
    let big = snapshot(&[(1, 1)], &"x".repeat(UNFIT_BYTES));
    for (fault, kind) in outages() {
        if injected(faults, fault, "a snapshot store out of service").await {
            let refused = store.put(&key, None, &big).await.expect_err("out of service");
            assert_eq!(refused.kind(), kind);
            assert!(faults.inject(Fault::Healed).await);
        }
    }
    store.put(&key, None, &big).await.expect("the same call succeeds when the fault is over");
}
