//! What a history is asked on the way, of copies that take no part in it: a version made again of its deltas, a state told again as
//! deltas, and an outbox written again under another site.

use selvedge_engine::{Delta, Document, Op, SiteId, VersionVector};

use super::super::model::{Model, Replica};
use super::super::script::Script;
use super::World;

impl World {
    /// What a replica has, or had at some time, made again of all that was sealed: it is what the model makes of it.
    pub(super) fn make_version(&mut self, index: usize, script: &mut Script<'_>) {
        self.seal(index);
        let replica = &self.replicas[index];
        let is_whole = script.byte().is_multiple_of(2);
        let part = |counter: u64, script: &mut Script<'_>| script.below(counter as usize + 1) as u64;
        let version: VersionVector = replica
            .document
            .vector()
            .iter()
            .map(|(site, counter)| (site, if is_whole { counter } else { part(counter, script) }))
            .collect();
        let document = Document::at_version(&self.sent, &version).unwrap();
        assert_eq!(*document.vector(), version);
        if is_whole {
            assert_eq!(document.snapshot(), replica.document.snapshot(), "all that it knows");
        }
        let mut model = Model::default();
        for delta in &self.sent {
            let end = version.get(delta.site);
            assert!(end < delta.first || model.apply_until(delta, end), "sealed deltas have no gaps");
        }
        Replica { document, model, editor: Vec::new(), undo: Default::default() }.check_model();
        self.reached.versions += 1;
    }

    /// A state told again as deltas does what merging it does, to the base it was told for and to others.
    pub(super) fn retell(&mut self, index: usize, script: &mut Script<'_>) {
        let [base, other] = [0, 1].map(|_| script.below(self.replicas.len()));
        [index, base, other].into_iter().for_each(|index| self.seal(index));
        let deltas = self.replicas[index].document.deltas_since(&self.replicas[base].document);
        let load = |index: usize| Document::load(&self.replicas[index].document.snapshot()).unwrap();
        let (mut merged, mut told, mut third, mut knowing) = (load(base), load(base), load(other), load(index));
        for delta in &deltas {
            let delta = Delta::decode(&delta.encode()).unwrap();
            told.apply(&delta).unwrap();
            knowing.apply(&delta).unwrap();
            let _ = third.apply(&delta);
        }
        merged.apply_state(&knowing.state_diff(&VersionVector::new())).unwrap();
        [&merged, &told, &third, &knowing].into_iter().for_each(Document::assert_invariants);
        assert_eq!(knowing.text(), self.replicas[index].document.text(), "a teller learns nothing of its own deltas");
        assert_eq!(told.snapshot(), merged.snapshot(), "retold");
        if third.vector() == told.vector() {
            assert_eq!(third.snapshot(), told.snapshot(), "retold to a third");
        }
        assert_eq!(knowing.deltas_since(&told), [], "told once");
        self.reached.retold += 1;
    }

    /// Never-sent text of two loads, the second on top of the first, restamped, reads as if it had been sent.
    pub(super) fn restamp(&mut self, index: usize, script: &mut Script<'_>) {
        self.seal(index);
        let copy = |document: &Document| Document::load(&document.snapshot()).unwrap();
        let mut base = copy(&self.replicas[index].document);
        let mut outbox = Vec::new();
        for _ in 0..2 {
            let mut offline = copy(&base);
            outbox.iter().for_each(|delta| drop(offline.apply(delta).unwrap()));
            self.begin_writing(&mut offline, 3);
            for _ in 0..script.below(6) {
                edit_characters(&mut offline, script);
                if script.byte() % 2 == 1 {
                    outbox.extend(offline.seal());
                }
            }
            outbox.extend(offline.seal());
            offline.assert_invariants();
        }
        let mine = self.begin_writing(&mut base, 0);
        let edits = script.below(4);
        (0..edits).for_each(|_| edit_characters(&mut base, script));
        base.seal();
        let mut reader = copy(&base);
        let mut applied = copy(&base);
        outbox.iter().for_each(|delta| drop(applied.apply(delta).unwrap()));
        let mut editor: Vec<u16> = base.text().encode_utf16().collect();
        for patch in base.restamp(&outbox).unwrap() {
            editor.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
        }
        base.assert_invariants();
        assert_eq!(base.text(), String::from_utf16(&editor).unwrap(), "the editor shows the document");
        let is_rebased = outbox.iter().flat_map(|delta| &delta.ops).any(|op| matches!(op, Op::Rebase(_)));
        if edits == 0 || !is_rebased {
            assert_eq!(base.text(), applied.text(), "restamped");
        } else {
            // A rebase pushes aside what others wrote meanwhile between what it moves. Restamped it is not done again: that stays
            // where it is.
            assert_eq!(sorted(&base.text()), sorted(&applied.text()), "restamped");
            let others = without(&base, mine);
            let mut before = without(&reader, mine).into_iter();
            assert!(others.iter().all(|unit| before.any(|other| other == *unit)), "others' text stays in its order");
        }
        base.seal().iter().for_each(|delta| drop(reader.apply(delta).unwrap()));
        assert_eq!(reader.snapshot(), base.snapshot());
        self.reached.restamped += 1;
    }

    fn begin_writing(&mut self, document: &mut Document, kind: u8) -> SiteId {
        let site = self.new_site(kind);
        document.begin_writing(site, 1).unwrap();
        document.set_depth_limit(self.depth_limit);
        site
    }
}

/// An edit of whole characters.
fn edit_characters(document: &mut Document, script: &mut Script<'_>) {
    let length = document.len_scalars();
    let at = script.place(length);
    let end = at + script.below(6).saturating_sub(3).min(length - at);
    let (at, end) = (document.scalar_to_utf16(at), document.scalar_to_utf16(end));
    document.replace(at, end - at, &script.text()).unwrap();
}

fn sorted(text: &str) -> Vec<char> {
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    characters
}

/// The text that others than this site wrote.
fn without(document: &Document, site: SiteId) -> Vec<u16> {
    let units: Vec<u16> = document.text().encode_utf16().collect();
    (0..units.len()).filter(|at| document.author_at(*at) != Some(site)).map(|at| units[at]).collect()
}
