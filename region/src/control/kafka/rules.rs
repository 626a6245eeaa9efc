//! Which records of the topic take effect: decided by what came before them in it, the same in every reader.
//!
//! The topic's order is the arbiter. Whoever wants something appends a proposal and looks, when the index has come that far,
//! whether it took effect: of two that contradict each other the first one did. Decisions count only when the home of the epoch
//! in force at that place made them in that epoch; a contradiction of facts between regions is settled for the home's.

use super::index::{DocumentRow, SiteRow};
use super::record::{Change, ControlRecord};
use crate::LogId;
use crate::control::{DocumentInfo, Standing};

/// Whether an author may make this change where `standing` holds.
pub(super) fn admits(standing: &Standing, record: &ControlRecord) -> bool {
    match &record.change {
        Change::Epoch { .. } => record.epoch > standing.epoch,
        change if change.is_decision() => record.epoch == standing.epoch && record.author == standing.home,
        _ => true,
    }
}

/// Decisions of this region that the home of a later epoch had not heard of when it began: undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The first offset that was not heard.
    pub(super) from: u64,
    /// Where the epoch's beginning lies here.
    pub(super) below: u64,
}

impl Cut {
    /// What a copied beginning of an epoch cuts off of the topic `own`, if anything.
    pub(super) fn of(record: &ControlRecord, offset: u64, own: LogId) -> Option<Cut> {
        let Change::Epoch { heard, .. } = &record.change else { return None };
        record.origin?;
        let from = heard.iter().find(|(log, _)| *log == own.0).map_or(0, |&(_, next)| next);
        (from < offset).then_some(Cut { from, below: offset })
    }

    /// Whether it undoes the record at `offset`.
    pub(super) fn undoes(self, record: &ControlRecord, offset: u64) -> bool {
        record.origin.is_none() && record.change.is_decision() && (self.from..self.below).contains(&offset)
    }
}

/// Whether it is a copied fact of the home, which replaces one that was made here.
pub(super) fn overrides(standing: &Standing, own: &str, record: &ControlRecord) -> bool {
    record.origin.is_some() && record.author == standing.home && own != standing.home
}

/// Whether a document's state follows on the one that is known.
pub(super) fn document_follows(known: Option<&DocumentRow>, next: &DocumentInfo, overrides: bool) -> bool {
    let Some(DocumentRow { info: known, copied, .. }) = known else { return true };
    if next.generation != known.generation {
        return next.generation > known.generation && known.deleted_ms.is_some();
    }
    if known.deleted_ms.is_some() {
        return false;
    }
    next.deleted_ms.is_some() || (overrides && !copied)
}

/// Whether a site's state follows on the one that is known.
pub(super) fn site_follows(known: Option<&SiteRow>, next: &SiteRow, overrides: bool) -> bool {
    match known {
        None => true,
        Some(known) if known.principal == next.principal => next.version > known.version,
        Some(known) => overrides && !known.copied,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Origin;
    use super::*;

    fn record(author: &str, epoch: u64, change: Change) -> ControlRecord {
        ControlRecord { nonce: 1, epoch, author: author.into(), origin: None, change }
    }

    fn rights() -> Change {
        Change::Rights { document: "t/d".into(), principal: "p".into(), rights: 1 }
    }

    fn epoch() -> Change {
        Change::Epoch { home: "b".into(), heard: Vec::new() }
    }

    #[test]
    fn decisions_are_the_homes_in_the_present_epoch() {
        let standing = Standing { epoch: 3, home: "a".into() };
        assert!(admits(&standing, &record("a", 3, rights())));
        assert!(!admits(&standing, &record("b", 3, rights())), "not the standby's");
        assert!(!admits(&standing, &record("a", 2, rights())), "not of an ended epoch");
        let audit = Change::Audit {
            at_ms: 0,
            principal: String::new(),
            action: String::new(),
            document: None,
            detail: String::new(),
        };
        assert!(admits(&standing, &record("b", 1, audit)), "facts are everybody's");
        assert!(admits(&standing, &record("b", 4, epoch())));
        assert!(!admits(&standing, &record("b", 3, epoch())), "one chain of epochs");
    }

    #[test]
    fn the_homes_fact_wins_at_the_standby_and_nobodys_at_home() {
        let standing = Standing { epoch: 0, home: "a".into() };
        let copied = ControlRecord { origin: Some(Origin { log: 1, offset: 0 }), ..record("a", 0, rights()) };
        assert!(overrides(&standing, "b", &copied));
        assert!(!overrides(&standing, "a", &copied));
        assert!(!overrides(&standing, "b", &record("a", 0, rights())), "only what was copied");
    }

    #[test]
    fn generations_follow_each_other() {
        let info = |generation, deleted_ms| DocumentInfo {
            document: "t/d".parse().unwrap(),
            generation,
            creator: "ann".into(),
            created_ms: 1,
            deleted_ms,
        };
        let known =
            |generation, deleted_ms| DocumentRow { info: info(generation, deleted_ms), record: 1, copied: false };
        assert!(document_follows(None, &info(1, None), false));
        assert!(!document_follows(Some(&known(1, None)), &info(1, None), false), "created once");
        assert!(!document_follows(Some(&known(1, None)), &info(2, None), false), "the next only after a delete");
        assert!(document_follows(Some(&known(1, None)), &info(1, Some(4)), false));
        assert!(!document_follows(Some(&known(1, Some(4))), &info(1, Some(5)), false), "deleted once");
        assert!(document_follows(Some(&known(1, Some(4))), &info(2, None), false));
        assert!(!document_follows(Some(&known(2, None)), &info(1, Some(4)), false), "an old generation is over");
        assert!(document_follows(Some(&known(1, None)), &info(1, None), true), "the home's replaces one made here");
        let copied = DocumentRow { copied: true, ..known(1, None) };
        assert!(!document_follows(Some(&copied), &info(1, None), true), "and not another of the home's");
    }

    #[test]
    fn a_site_has_one_principal_and_its_states_count_up() {
        let row = |principal: &str, version| SiteRow {
            principal: principal.into(),
            leased_from: None,
            released: None,
            version,
            record: 0,
            copied: false,
        };
        assert!(site_follows(None, &row("ann", 1), false));
        assert!(!site_follows(Some(&row("ann", 1)), &row("ann", 1), false));
        assert!(site_follows(Some(&row("ann", 1)), &row("ann", 2), false));
        assert!(!site_follows(Some(&row("ann", 1)), &row("bob", 2), false));
        assert!(site_follows(Some(&row("ann", 1)), &row("bob", 1), true));
        let copied = SiteRow { copied: true, ..row("ann", 1) };
        assert!(!site_follows(Some(&copied), &row("bob", 1), true));
    }
}
