//! The contract of [`OpStore`].

use selvedge_engine::{SiteId, VersionVector};

use super::{DocumentKey, OpRun, OpStore, TRIMMED_BYTES_MAX};
use crate::Error;
use crate::contract::{Fault, Faults, UNFIT_BYTES, document, injected, outages};

/// Holds an op store to its contract. It must hold nothing of `contract/ops-*` before.
///
/// # Panics
/// Where the contract is broken.
pub async fn op_store(store: &dyn OpStore, faults: &dyn Faults) {
    runs_since_a_vector(store).await;
    paging(store).await;
    divergence(store).await;
    bad_runs(store).await;
    trimming(store).await;
    out_of_service(store, faults).await;
}

type Entries<'a> = &'a [(SiteId, u64)];

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(document(name), 1)
}

fn run(site: SiteId, first: u64, last: u64) -> OpRun {
    OpRun { site, first, last, bytes: format!("{site} {first} {last}").into_bytes() }
}

fn vector(entries: Entries<'_>) -> VersionVector {
    entries.iter().copied().collect()
}

async fn all(store: &dyn OpStore, key: &DocumentKey, since: &VersionVector, limit: usize) -> Vec<OpRun> {
    let (mut runs, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.read(key, since, cursor, limit).await.expect("a page is read");
        assert!(page.runs.len() <= limit, "a page keeps its limit");
        runs.extend(page.runs);
        cursor = page.next;
        if cursor.is_none() {
            return runs;
        }
    }
}

async fn runs_since_a_vector(store: &dyn OpStore) {
    let key = key("ops-since");
    let next_generation = DocumentKey::new(key.document.clone(), 2);
    // The greatest site has its top bits set: order is that of unsigned numbers.
    let (a, b, c) = (SiteId::leased(0, 1), SiteId::random(5), SiteId::system(u64::MAX));
    let everything = [run(a, 1, 4), run(a, 3, 9), run(a, 10, 12), run(b, 1, 1), run(c, 2, 3)];
    let mut shuffled = everything.to_vec();
    shuffled.reverse();
    store.put(&key, shuffled).await.expect("runs are kept");
    store.put(&key, vec![run(a, 1, 4)]).await.expect("a run is put again without harm");
    store.put(&next_generation, vec![run(a, 1, 2)]).await.expect("runs are kept");

    let none = VersionVector::new();
    assert_eq!(all(store, &key, &none, 100).await, everything, "in the order of site and counters");
    assert_eq!(all(store, &next_generation, &none, 100).await, [run(a, 1, 2)], "generations do not mix");
    let checks: [(Entries<'_>, &[OpRun]); 5] = [
        (&[(a, 4)], &[run(a, 3, 9), run(a, 10, 12), run(b, 1, 1), run(c, 2, 3)]),
        (&[(a, 5), (b, 1)], &[run(a, 3, 9), run(a, 10, 12), run(c, 2, 3)]),
        (&[(a, 9), (c, 3)], &[run(a, 10, 12), run(b, 1, 1)]),
        (&[(a, 12), (b, 1), (c, 3)], &[]),
        (&[(a, 99), (b, 99), (c, 99)], &[]),
    ];
    for (since, expected) in checks {
        assert_eq!(all(store, &key, &vector(since), 100).await, expected, "since {since:?}");
    }
    store.erase(&key).await.expect("a generation is erased");
    assert_eq!(all(store, &key, &none, 100).await, []);
    assert_eq!(all(store, &next_generation, &none, 100).await.len(), 1, "erasing one generation leaves the others");
}

async fn paging(store: &dyn OpStore) {
    let key = key("ops-paged");
    let sites: Vec<_> = (0..5).map(|index| SiteId::leased(0, index)).collect();
    let runs = sites.iter().flat_map(|&site| (0..11).map(move |number| run(site, number * 3 + 1, number * 3 + 3)));
    let runs: Vec<_> = runs.collect();
    store.put(&key, runs.clone()).await.expect("runs are kept");
    for limit in [1, 4, 11, 55, 56] {
        assert_eq!(all(store, &key, &VersionVector::new(), limit).await, runs, "pages of {limit}");
    }
    let since: VersionVector = sites.iter().map(|&site| (site, 31)).collect();
    assert_eq!(all(store, &key, &since, 2).await.len(), 5, "pages begin at the vector");
}

async fn divergence(store: &dyn OpStore) {
    let key = key("ops-diverged");
    let site = SiteId::leased(0, 1);
    store.put(&key, vec![run(site, 1, 2)]).await.expect("a run is kept");
    let forged = OpRun { bytes: b"other".to_vec(), ..run(site, 1, 2) };
    let told = store.put(&key, vec![forged, run(site, 3, 3)]).await.expect_err("one key, two contents is told");
    assert!(matches!(told, Error::Divergence { .. }), "{told}");
    let kept = all(store, &key, &VersionVector::new(), 10).await;
    assert_eq!(kept, [run(site, 1, 2), run(site, 3, 3)], "the first content is kept, and the others of the call");
}

async fn bad_runs(store: &dyn OpStore) {
    let key = key("ops-bad");
    let site = SiteId::leased(0, 1);
    for bad in [run(site, 0, 1), run(site, 3, 2), OpRun { bytes: Vec::new(), ..run(site, 1, 1) }] {
        let refused = store.put(&key, vec![run(site, 1, 1), bad]).await.expect_err("no run");
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    }
    assert_eq!(all(store, &key, &VersionVector::new(), 10).await, [], "nothing of a refused call is kept");
}

async fn trimming(store: &dyn OpStore) {
    let (key, other) = (key("ops-trimmed"), key("ops-trimmed-not"));
    let (a, b) = (SiteId::leased(0, 1), SiteId::random(2));
    let kept = [run(a, 4, 8), run(b, 3, 3)];
    store.put(&key, vec![run(a, 1, 4), run(a, 1, 8), run(b, 1, 2)]).await.expect("runs are kept");
    store.put(&key, kept.to_vec()).await.expect("runs are kept");
    store.put(&other, vec![run(a, 1, 4)]).await.expect("runs are kept");
    let nothing = VersionVector::new();
    assert_eq!(store.trimmed(&key).await.expect("read"), nothing);
    let gone = [run(a, 1, 4), run(a, 1, 8), run(b, 1, 2)].map(|run| run.cursor());
    for _ in 0..2 {
        store.trim(&key, &gone).await.expect("trimming again is harmless");
        assert_eq!(all(store, &key, &nothing, 10).await, kept, "exactly what was named goes");
        assert_eq!(store.trimmed(&key).await.expect("read"), vector(&[(a, 8), (b, 2)]));
    }
    assert_eq!(all(store, &other, &nothing, 10).await.len(), 1, "nothing goes elsewhere");
    assert_eq!(store.trimmed(&other).await.expect("read"), nothing);
    store.trim(&key, &[]).await.expect("nothing is trimmed");
    store.note_trimmed(&key, &vector(&[(a, 3), (b, 9)])).await.expect("noted");
    assert_eq!(store.trimmed(&key).await.expect("read"), vector(&[(a, 8), (b, 9)]), "joined");
    store.put(&key, vec![run(a, 1, 4)]).await.expect("what was trimmed may come again");
    assert_eq!(all(store, &key, &nothing, 10).await.len(), 3);

    let many: VersionVector = (0..TRIMMED_BYTES_MAX as u64).map(|bits| (SiteId::random(bits << 20), 1)).collect();
    let refused = store.note_trimmed(&key, &many).await.expect_err("too long to be noted");
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    assert_eq!(store.trimmed(&key).await.expect("read"), vector(&[(a, 8), (b, 9)]), "as it was");
    let [one, two] = [[(a, 20)], [(b, 20)]].map(|entries| vector(&entries));
    let (one, two) = futures_util::future::join(store.note_trimmed(&key, &one), store.note_trimmed(&key, &two)).await;
    one.and(two).expect("both are noted");
    assert_eq!(store.trimmed(&key).await.expect("read"), vector(&[(a, 20), (b, 20)]));
    store.erase(&key).await.expect("erased");
    assert_eq!(store.trimmed(&key).await.expect("read"), nothing, "erased with the rest");
}

async fn out_of_service(store: &dyn OpStore, faults: &dyn Faults) {
    let key = key("ops-out");
    let site = SiteId::leased(0, 1);
    let big = OpRun { bytes: vec![3; UNFIT_BYTES], ..run(site, 1, 1) };
    for (fault, kind) in outages() {
        if injected(faults, fault, "an op store out of service").await {
            let refused = store.put(&key, vec![big.clone()]).await.expect_err("out of service");
            assert_eq!(refused.kind(), kind);
            assert!(faults.inject(Fault::Healed).await);
        }
    }
    store.put(&key, vec![big.clone()]).await.expect("the same call succeeds when the fault is over");
    assert_eq!(all(store, &key, &VersionVector::new(), 10).await, [big]);
}
