//! The contract of [`Control`].

use selvedge_engine::{SiteId, SiteKind, VersionVector};
use selvedge_protocol::{Rights, SIGNED_LIST_BYTES_MAX};

use super::{AuditEntry, Control, ControlLog, Decided, DocumentInfo, DocumentQuery, NewDocument, SignedEndpoints};
use crate::contract::{Fault, Faults, UNFIT_BYTES, document, injected, outages};
use crate::ops::DocumentKey;
use crate::{DocumentId, Error};

const ANN: &str = "anon:ann";
const BOB: &str = "anon:bob";

/// Holds a control plane to its contract. It must know nothing of the tenant `contract` before.
///
/// # Panics
/// Where the contract is broken.
pub async fn control(control: &dyn Control, faults: &dyn Faults) {
    documents_and_generations(control).await;
    listing(control).await;
    rights(control).await;
    decisions(control).await;
    bindings(control).await;
    leases(control).await;
    releases(control).await;
    concurrent_leases(control).await;
    audit(control).await;
    out_of_service(control, faults).await;
}

/// Two control planes of one deployment, and a way to copy each one's records to the other.
pub struct Pair<'a> {
    /// The home's, in epoch 0.
    pub home: &'a dyn Control,
    /// Its records.
    pub home_log: &'a dyn ControlLog,
    /// Its region's name.
    pub home_name: &'a str,
    /// The standby's.
    pub standby: &'a dyn Control,
    /// Its records.
    pub standby_log: &'a dyn ControlLog,
    /// Its region's name.
    pub standby_name: &'a str,
}

impl Pair<'_> {
    /// Copies everything both ways, twice: repeating is harmless.
    async fn copy(&self) {
        for _ in 0..2 {
            carry(self.home_log, self.standby_log).await;
            carry(self.standby_log, self.home_log).await;
        }
    }
}

async fn carry(from: &dyn ControlLog, to: &dyn ControlLog) {
    let mut next = 0;
    loop {
        let page = from.records(next, 3).await.expect("records");
        to.import(from.log_id(), page.records).await.expect("import");
        next = page.next;
        if page.at_end {
            return;
        }
    }
}

/// Holds the control planes of two regions to their common contract: facts both ways, decisions from the home of the epoch in
/// force, one chain of epochs.
///
/// # Panics
/// Where the contract is broken.
pub async fn control_of_two_regions(pair: Pair<'_>) {
    let Pair { home, standby, home_name, standby_name, .. } = &pair;
    let (shared, own) = (document("two-shared"), document("two-own"));
    let is_shared = |decided: &Decided| decided.document == shared;
    let mut heard = standby.decided(None).await.expect("decided").next;
    create(*home, &shared, ANN).await;
    home.set_rights(&shared, BOB, Rights::Write).await.expect("the home decides");
    create(*standby, &own, BOB).await;
    let key = DocumentKey::new(shared.clone(), 1);
    let leased = standby.lease_site(&key, BOB, &VersionVector::new()).await.expect("a standby leases its own sites");
    let here = home.lease_site(&key, BOB, &VersionVector::new()).await.expect("lease");
    assert_ne!(leased.site, here.site, "each region has sites of its own");
    for refused in
        [standby.set_rights(&own, ANN, Rights::Read).await, standby.delete(&DocumentKey::new(own.clone(), 1), 5).await]
    {
        assert!(matches!(&refused, Err(Error::NotHome { home, .. }) if home == home_name), "{refused:?}");
    }
    pair.copy().await;
    assert_eq!(standby.rights(&shared, BOB).await.expect("rights"), Rights::Write, "decisions reach the standby");
    let bobs = Decided { document: shared.clone(), principal: Some(BOB.to_owned()) };
    let told = decided(*standby, &mut heard, is_shared).await;
    assert_eq!(told, (vec![bobs], false), "and those who follow them there hear of it");
    assert!(home.document(&own).await.expect("document").is_some(), "facts reach the home");
    let owner = home.site_owner(&key, leased.site).await.expect("owner");
    assert_eq!(owner.as_deref(), Some(BOB), "bindings, too");

    let contended = SiteId::random(77);
    home.bind_site(&key, contended, ANN).await.expect("bind");
    standby.bind_site(&key, contended, BOB).await.expect("not heard of there");
    pair.copy().await;
    for control in [home, standby] {
        let owner = control.site_owner(&key, contended).await.expect("owner");
        assert_eq!(owner.as_deref(), Some(ANN), "of two facts that contradict each other the home's counts");
    }

    endpoints_of_the_first_epoch(&pair).await;
    home.delete(&key, 9).await.expect("not heard of yet at the standby");
    standby.begin_epoch(1, standby_name).await.expect("a promotion");
    standby.begin_epoch(1, standby_name).await.expect("beginning it again is harmless");
    let (_, anything) = decided(*standby, &mut heard, is_shared).await;
    assert!(anything, "an epoch undoes what its home had not heard of");
    for (epoch, of) in [(1, home_name), (0, home_name)] {
        let refused = standby.begin_epoch(epoch, of).await;
        assert!(matches!(refused, Err(Error::Fenced { current: 1, .. })), "one chain of epochs: {refused:?}");
    }
    standby.set_rights(&shared, ANN, Rights::Read).await.expect("it is the home now");
    pair.copy().await;
    assert_eq!(home.standing(), super::Standing { epoch: 1, home: (*standby_name).to_owned() });
    let late = home.set_rights(&shared, BOB, Rights::None).await;
    assert!(matches!(&late, Err(Error::NotHome { home, .. }) if home == standby_name), "{late:?}");
    let kept = standby.document(&shared).await.expect("document").expect("it is there");
    assert_eq!(kept.deleted_ms, None, "a decision of an ended epoch that nobody had heard of is refused");
    let now = home.document(&shared).await.expect("document").expect("it is there");
    assert_eq!(now.deleted_ms, None, "and undone where it was made");
    assert_eq!(home.rights(&shared, ANN).await.expect("rights"), Rights::Read);
    endpoints_of_the_next_epoch(&pair).await;
}

/// The list of endpoints of epoch 0 is the home's, and reaches the standby.
async fn endpoints_of_the_first_epoch(pair: &Pair<'_>) {
    let Pair { home, standby, .. } = pair;
    assert_eq!(home.endpoints().await.expect("endpoints"), None);
    for signed in ["first", "second"] {
        home.publish_endpoints(0, signed).await.expect("the home publishes, and again in the same epoch");
    }
    let refused = standby.publish_endpoints(0, "of a standby").await;
    assert!(matches!(refused, Err(Error::NotHome { .. })), "{refused:?}");
    let early = home.publish_endpoints(1, "of an epoch to come").await;
    assert!(matches!(early, Err(Error::Fenced { held: 1, current: 0 })), "{early:?}");
    let long = home.publish_endpoints(0, &"x".repeat(SIGNED_LIST_BYTES_MAX + 1)).await;
    assert!(matches!(long, Err(Error::Invalid(_))), "{long:?}");
    pair.copy().await;
    for control in [home, standby] {
        assert_eq!(control.endpoints().await.expect("endpoints"), list(0, "second"));
    }
}

/// Epoch 1 has begun at the standby: a list of epoch 0 replaces nothing any more, wherever it comes from.
async fn endpoints_of_the_next_epoch(pair: &Pair<'_>) {
    let Pair { home, standby, .. } = pair;
    assert_eq!(standby.endpoints().await.expect("endpoints"), list(0, "second"), "until there is a newer one");
    standby.publish_endpoints(1, "third").await.expect("it is the home now");
    for (control, epoch) in [(standby, 0), (home, 0), (home, 1)] {
        let refused = control.publish_endpoints(epoch, "old").await;
        assert!(matches!(refused, Err(Error::Fenced { .. } | Error::NotHome { .. })), "{refused:?}");
    }
    pair.copy().await;
    for control in [home, standby] {
        assert_eq!(control.endpoints().await.expect("endpoints"), list(1, "third"));
    }
}

fn list(epoch: u64, signed: &str) -> Option<SignedEndpoints> {
    Some(SignedEndpoints { epoch, signed: signed.to_owned() })
}

async fn create(control: &dyn Control, document: &DocumentId, creator: &str) -> DocumentInfo {
    let new = NewDocument { document: document.clone(), creator: creator.to_owned(), now_ms: 1000 };
    control.create(new).await.expect("a new document is created")
}

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(document(name), 1)
}

async fn documents_and_generations(control: &dyn Control) {
    let plan = document("plan");
    assert_eq!(control.document(&plan).await.expect("document"), None);
    let first = create(control, &plan, ANN).await;
    let expected = DocumentInfo {
        document: plan.clone(),
        generation: 1,
        creator: ANN.to_owned(),
        created_ms: 1000,
        deleted_ms: None,
    };
    assert_eq!(first, expected);
    assert_eq!(control.document(&plan).await.expect("document"), Some(first));
    let again = NewDocument { document: plan.clone(), creator: BOB.to_owned(), now_ms: 1001 };
    assert!(matches!(control.create(again).await, Err(Error::Exists { .. })), "created once");

    let missing = control.delete(&key("never"), 5).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    let old = DocumentKey::new(plan.clone(), 1);
    let wrong = control.delete(&DocumentKey::new(plan.clone(), 2), 5).await;
    assert!(matches!(wrong, Err(Error::Conflict { .. })), "only the newest generation can be deleted: {wrong:?}");
    assert!(matches!(control.forget(&old).await, Err(Error::Conflict { .. })), "what is there is not forgotten");
    control.delete(&old, 2000).await.expect("delete");
    control.delete(&old, 3000).await.expect("deleting it again is harmless");
    let deleted = control.document(&plan).await.expect("document").expect("a deleted document is remembered");
    assert_eq!((deleted.generation, deleted.deleted_ms), (1, Some(2000)));
    assert_eq!(control.rights(&plan, ANN).await.expect("rights"), Rights::None, "its rights end");

    let second = create(control, &plan, BOB).await;
    assert_eq!((second.generation, second.creator.as_str()), (2, BOB), "created again in the next generation");
    let stale = control.delete(&old, 4000).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "an old generation's delete does not hit the new: {stale:?}");
    let waiting =
        |before| async move { control.deleted(before, 10_000).await.expect("deleted").contains(&key("plan")) };
    assert!(waiting(2001).await && !waiting(2000).await, "deleted generations wait for the cleanup");
    control.forget(&old).await.expect("forget");
    assert!(!waiting(2001).await);
}

async fn listing(control: &dyn Control) {
    let mut ids: Vec<DocumentId> =
        ["list-a", "list-a.b", "list-a:1", "list-b", "list~"].map(document).into_iter().collect();
    for id in ids.iter().rev() {
        create(control, id, ANN).await;
    }
    create(control, &"contract2/list-a".parse().expect("valid"), ANN).await;
    create(control, &document("list-a-deleted"), ANN).await;
    control.delete(&key("list-a-deleted"), 1).await.expect("delete");
    ids.sort();
    let query = |prefix: &str, after: Option<&DocumentId>, limit| DocumentQuery {
        tenant: "contract".to_owned(),
        prefix: prefix.to_owned(),
        after: after.cloned(),
        limit,
    };
    for limit in [1, 2, 5, 100] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = control.list(&query("list", after.as_ref(), limit)).await.expect("list");
            assert!(page.documents.len() <= limit, "a page keeps its limit");
            listed.extend(page.documents.into_iter().map(|info| info.document));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, ids, "in the order of ids, pages of {limit}");
    }
    let page = control.list(&query("list-a", None, 10)).await.expect("list");
    assert_eq!(page.documents.len(), 3, "a prefix may end within a name");
    assert!(control.list(&query("nothing", None, 10)).await.expect("list").documents.is_empty());
}

async fn rights(control: &dyn Control) {
    let shared = document("rights");
    let missing = control.set_rights(&shared, ANN, Rights::Read).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    create(control, &shared, ANN).await;
    assert_eq!(control.rights(&shared, ANN).await.expect("rights"), Rights::Admin, "who creates it is its admin");
    assert_eq!(control.rights(&shared, BOB).await.expect("rights"), Rights::None);
    for rights in [Rights::Read, Rights::Write, Rights::Admin] {
        control.set_rights(&shared, BOB, rights).await.expect("set rights");
        assert_eq!(control.rights(&shared, BOB).await.expect("rights"), rights);
    }
    let all = control.rights_of(&shared).await.expect("rights");
    assert_eq!(all, [(ANN.to_owned(), Rights::Admin), (BOB.to_owned(), Rights::Admin)]);
    control.set_rights(&shared, BOB, Rights::None).await.expect("set rights");
    assert_eq!(control.rights_of(&shared).await.expect("rights").len(), 1, "no rights are no entry");
    control.delete(&key("rights"), 9).await.expect("delete");
    let gone = control.set_rights(&shared, BOB, Rights::Read).await;
    assert!(matches!(gone, Err(Error::Gone { .. })), "{gone:?}");
}

/// What was decided from a place on about documents that `is_own` knows, and whether anything may have been.
async fn decided(control: &dyn Control, from: &mut u64, is_own: impl Fn(&Decided) -> bool) -> (Vec<Decided>, bool) {
    let (mut all, mut anything) = (Vec::new(), false);
    loop {
        let page = control.decided(Some(*from)).await.expect("decided");
        all.extend(page.decided.into_iter().filter(&is_own));
        anything |= page.anything;
        *from = page.next;
        if page.at_end {
            return (all, anything);
        }
    }
}

async fn decisions(control: &dyn Control) {
    let followed = document("followed");
    let of = |principal: Option<&str>| Decided { document: followed.clone(), principal: principal.map(str::to_owned) };
    let is_own = |decided: &Decided| decided.document == followed;
    let begin = control.decided(None).await.expect("decided");
    assert!(begin.decided.is_empty() && begin.at_end && !begin.anything, "nothing of the past: {begin:?}");
    let mut from = begin.next;
    create(control, &followed, ANN).await;
    control.bind_site(&DocumentKey::new(followed.clone(), 1), SiteId::random(7), ANN).await.expect("bind");
    assert_eq!(decided(control, &mut from, is_own).await, (Vec::new(), false), "facts are no decisions");
    control.set_rights(&followed, BOB, Rights::Write).await.expect("set rights");
    control.set_rights(&followed, BOB, Rights::None).await.expect("set rights");
    let told = decided(control, &mut from, is_own).await;
    assert_eq!(told, (vec![of(Some(BOB)), of(Some(BOB))], false));
    let mut again = begin.next;
    assert_eq!(decided(control, &mut again, is_own).await, told, "as often as it is asked");
    control.delete(&DocumentKey::new(followed.clone(), 1), 9).await.expect("delete");
    create(control, &followed, BOB).await;
    assert_eq!(
        decided(control, &mut from, is_own).await,
        (vec![of(None), of(None)], false),
        "deleted, and there again"
    );
    assert_eq!(decided(control, &mut from, is_own).await, (Vec::new(), false), "and then nothing more");
}

async fn bindings(control: &dyn Control) {
    let key = key("bindings");
    let next_generation = DocumentKey::new(key.document.clone(), 2);
    create(control, &key.document, ANN).await;
    for site in [SiteId::random(3), SiteId::leased(0, 4000), SiteId::seed_of("d", 1, "x")] {
        assert_eq!(control.site_owner(&key, site).await.expect("owner"), None);
        for _ in 0..2 {
            control.bind_site(&key, site, ANN).await.expect("bound once and again to the same principal");
        }
        let taken = control.bind_site(&key, site, BOB).await;
        assert!(matches!(taken, Err(Error::SiteTaken { site: named }) if named == site), "{taken:?}");
        assert_eq!(control.site_owner(&key, site).await.expect("owner").as_deref(), Some(ANN));
        control.bind_site(&next_generation, site, BOB).await.expect("another generation has bindings of its own");
    }
    let racers = [ANN, BOB, "anon:eve"].map(|principal| control.bind_site(&key, SiteId::random(8), principal));
    let answers = futures_util::future::join_all(racers).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "a site has one owner: {answers:?}");
}

async fn leases(control: &dyn Control) {
    let key = key("leases");
    create(control, &key.document, ANN).await;
    let none = VersionVector::new();
    let mut indices = Vec::new();
    for principal in [ANN, BOB, ANN] {
        let leased = control.lease_site(&key, principal, &none).await.expect("lease");
        assert_eq!(leased.next_counter, 1, "a new site begins at 1");
        assert_eq!(control.site_owner(&key, leased.site).await.expect("owner").as_deref(), Some(principal));
        let SiteKind::Leased { index, .. } = leased.site.kind() else { panic!("a leased site is one") };
        indices.push(index);
    }
    assert_eq!(indices, [0, 1, 2], "dense, and never the same one twice");
    // A leased index that a client already writes as, known from a time before this control plane, is passed over.
    let next = match control.lease_site(&key, ANN, &none).await.expect("lease").site.kind() {
        SiteKind::Leased { region, index } => SiteId::leased(region, index + 1),
        other => panic!("{other:?}"),
    };
    control.bind_site(&key, next, BOB).await.expect("bind");
    let after = control.lease_site(&key, ANN, &none).await.expect("lease");
    assert_ne!(after.site, next, "a bound site is not leased");
}

async fn releases(control: &dyn Control) {
    let key = key("releases");
    create(control, &key.document, ANN).await;
    let none = VersionVector::new();
    let logged = |site, counter| [(site, counter)].into_iter().collect::<VersionVector>();
    let leased = control.lease_site(&key, ANN, &none).await.expect("lease").site;

    let foreign = control.release_site(&key, leased, BOB, 5).await;
    assert!(matches!(foreign, Err(Error::SiteTaken { .. })), "only its owner gives a site back: {foreign:?}");
    control.bind_site(&key, SiteId::random(1), ANN).await.expect("bind");
    for not_leased in [SiteId::random(1), SiteId::random(2)] {
        let refused = control.release_site(&key, not_leased, ANN, 5).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "only a leased site is given back: {refused:?}");
    }
    control.release_site(&key, leased, ANN, 5).await.expect("release");
    for (counter, why) in [(4, "the log lacks some of it"), (6, "somebody wrote on after giving it back")] {
        let other = control.lease_site(&key, ANN, &logged(leased, counter)).await.expect("lease");
        assert_ne!(other.site, leased, "{why}");
    }
    let other = control.lease_site(&key, BOB, &logged(leased, 5)).await.expect("lease");
    assert_ne!(other.site, leased, "a site never changes its owner");
    let again = control.lease_site(&key, ANN, &logged(leased, 5)).await.expect("lease");
    assert_eq!((again.site, again.next_counter), (leased, 6), "leased again from the counter after");
    let next = control.lease_site(&key, ANN, &logged(leased, 5)).await.expect("lease");
    assert_ne!(next.site, leased, "once");

    let back = control.release_site(&key, leased, ANN, 4).await;
    assert!(matches!(back, Err(Error::Conflict { .. })), "a copy that knows less does not win: {back:?}");
    control.release_site(&key, leased, ANN, 5).await.expect("given back unused");
    control.release_site(&key, leased, ANN, 8).await.expect("the one who wrote more is right");
    let again = control.lease_site(&key, ANN, &logged(leased, 8)).await.expect("lease");
    assert_eq!((again.site, again.next_counter), (leased, 9));
}

async fn concurrent_leases(control: &dyn Control) {
    let key = key("lease-race");
    create(control, &key.document, ANN).await;
    let none = VersionVector::new();
    let answers = futures_util::future::join_all((0..20).map(|_| control.lease_site(&key, ANN, &none))).await;
    let mut sites: Vec<_> = answers.into_iter().map(|answer| answer.expect("lease").site).collect();
    sites.sort_unstable();
    sites.dedup();
    assert_eq!(sites.len(), 20, "no site is leased twice");
}

async fn audit(control: &dyn Control) {
    let entry = |action: &str, document: Option<DocumentId>| AuditEntry {
        at_ms: 5,
        principal: ANN.to_owned(),
        action: action.to_owned(),
        document,
        detail: "detail".to_owned(),
    };
    let audited = document("audited");
    let entries = [entry("one", Some(audited.clone())), entry("two", None), entry("three", Some(audited.clone()))];
    for entry in &entries {
        control.audit(entry.clone()).await.expect("audit");
    }
    let of_document = control.audit_log(Some(&audited), 10).await.expect("audit log");
    assert_eq!(of_document, [entries[2].clone(), entries[0].clone()], "newest first");
    let newest = control.audit_log(None, 2).await.expect("audit log");
    assert_eq!(newest, [entries[2].clone(), entries[1].clone()], "of all");
}

async fn out_of_service(control: &dyn Control, faults: &dyn Faults) {
    let big = AuditEntry {
        at_ms: 1,
        principal: ANN.to_owned(),
        action: "contract".to_owned(),
        document: None,
        detail: "x".repeat(UNFIT_BYTES),
    };
    for (fault, kind) in outages() {
        if injected(faults, fault, "a control plane out of service").await {
            let refused = control.audit(big.clone()).await.expect_err("out of service");
            assert_eq!(refused.kind(), kind);
            assert!(faults.inject(Fault::Healed).await);
        }
    }
    control.audit(big.clone()).await.expect("the same call succeeds when the fault is over");
    let newest = control.audit_log(None, 1).await.expect("audit log");
    assert_eq!(newest, [big]);
}
