//! What the control plane keeps: generations, whose a site is, which sites are leased. Every region asks the same one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::DocumentId;

/// Sites a restored control plane leaves out, because they may have been leased after the backup was taken.
const LEASES_SKIPPED: u32 = 1 << 16;

/// Whom a site belongs to, and whether it may be leased again.
#[derive(Clone, Debug)]
struct Owned {
    principal: String,
    released: Option<u64>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Control {
    generations: BTreeMap<DocumentId, u64>,
    sites: BTreeMap<(DocumentId, SiteId), Owned>,
    next_lease: BTreeMap<DocumentId, u32>,
}

impl Control {
    /// Goes on from a backup.
    pub(super) fn restored(mut self) -> Self {
        for next in self.next_lease.values_mut() {
            *next += LEASES_SKIPPED;
        }
        for document in self.generations.keys() {
            self.next_lease.entry(document.clone()).or_insert(LEASES_SKIPPED);
        }
        self
    }

    /// The document's generation; it is made when it is not there.
    pub(super) fn generation(&mut self, document: &DocumentId) -> u64 {
        *self.generations.entry(document.clone()).or_insert(1)
    }

    /// Binds a site; false when it is another's.
    pub(super) fn bind(&mut self, document: &DocumentId, site: SiteId, principal: &str) -> bool {
        let owned = self
            .sites
            .entry((document.clone(), site))
            .or_insert_with(|| Owned { principal: principal.to_owned(), released: None });
        owned.principal == principal
    }

    /// Leases a site: one given back by the same principal, else a new one.
    pub(super) fn lease(&mut self, document: &DocumentId, principal: &str, logged: &VersionVector) -> (SiteId, u64) {
        let again = self.sites.iter_mut().find(|((owner, site), owned)| {
            owner == document && owned.principal == principal && owned.released == Some(logged.get(*site))
        });
        if let Some(((_, site), owned)) = again {
            let last = owned.released.take().unwrap_or_default();
            return (*site, last + 1);
        }
        loop {
            let next = self.next_lease.entry(document.clone()).or_default();
            let site = SiteId::leased(0, *next);
            *next += 1;
            if let Entry::Vacant(free) = self.sites.entry((document.clone(), site)) {
                free.insert(Owned { principal: principal.to_owned(), released: None });
                return (site, 1);
            }
        }
    }

    /// Takes a site back.
    pub(super) fn release(&mut self, document: &DocumentId, site: SiteId, principal: &str, counter: u64) {
        if let Some(owned) = self.sites.get_mut(&(document.clone(), site)).filter(|owned| owned.principal == principal)
        {
            owned.released = Some(counter);
        }
    }
}
