//! Finding places: by position, by identifier, by dot.

use core::ops::Range;

use super::{Caret, LeafIndex, Measure, Place, Run, Sequence, Spot, Unit};
use crate::id::{Dot, SiteId};
use crate::position::Element;
use crate::position::allocate::Gap;
use crate::position::group::{Atom, Key};

/// How much text is looked through for a counter rather than an index made.
const SCALARS_PER_COUNTER: u64 = 8;

impl Sequence {
    /// The place at a UTF-16 position within the text, before the character it splits; remembers it. O(1) near the last
    /// one.
    // With its caller, so that the place stays in registers.
    #[inline(always)]
    pub(crate) fn seek(&mut self, utf16: usize) -> (Place, Measure) {
        let offset = utf16 as u32;
        let near = self.caret.filter(|caret| {
            let start = caret.before.utf16;
            let end = start + self.tree.leaf(caret.leaf).measure.utf16;
            (start < offset || offset == 0) && start <= offset && offset <= end
        });
        let caret = near.unwrap_or_else(|| self.leaf_at(offset));
        self.walk_to(caret, offset)
    }

    /// The place of the character at a UTF-16 position, which is not the end of the text; remembers it. As [`seek`](Self::seek), but at
    /// a border of leaves the place is in the later one.
    #[inline(always)]
    pub(crate) fn seek_character(&mut self, utf16: usize) -> Place {
        let offset = utf16 as u32;
        let near = self.caret.filter(|caret| {
            let inside = offset.checked_sub(caret.before.utf16);
            inside.is_some_and(|inside| inside < self.tree.leaf(caret.leaf).measure.utf16)
        });
        let caret = near.unwrap_or_else(|| self.leaf_at(offset + 1));
        self.walk_to(caret, offset).0
    }

    /// The caret at the start of the leaf that holds `offset`, at a border of the one that ends there.
    fn leaf_at(&mut self, offset: u32) -> Caret {
        let (leaf, before) = self.tree.seek(Unit::Utf16, offset);
        Caret { leaf, before, run: 0, start: Measure::default() }
    }

    /// Moves a caret to the place at `offset` within its leaf, and remembers it.
    #[inline(always)]
    fn walk_to(&mut self, mut caret: Caret, offset: u32) -> (Place, Measure) {
        let leaf = self.tree.leaf(caret.leaf);
        let spot = leaf.walk(&mut caret.run, &mut caret.start, Unit::Utf16, offset - caret.before.utf16);
        self.caret = Some(caret);
        let mut at = caret.before;
        at += spot.before;
        (Place { leaf: caret.leaf, spot }, at)
    }

    /// The place at a UTF-16 position behind the one that was sought last: O(1) in its leaf.
    pub(crate) fn find_behind_caret(&self, utf16: usize) -> Place {
        let offset = utf16 as u32;
        let near = self.caret.and_then(|Caret { leaf, before, mut run, mut start }| {
            let at = offset.checked_sub(before.utf16)?;
            let here = self.tree.leaf(leaf);
            let within = at <= here.measure.utf16;
            within.then(|| Place { leaf, spot: here.walk(&mut run, &mut start, Unit::Utf16, at) })
        });
        near.unwrap_or_else(|| self.find(Unit::Utf16, offset).0)
    }

    /// The place at a position, and the lengths before it: O(log n).
    pub(crate) fn find(&self, unit: Unit, offset: u32) -> (Place, Measure) {
        let (leaf, before) = self.tree.find(unit, offset);
        self.in_leaf(leaf, before, unit, offset)
    }

    fn in_leaf(&self, leaf: LeafIndex, before: Measure, unit: Unit, offset: u32) -> (Place, Measure) {
        let spot = self.tree.leaf(leaf).spot(unit, offset - before.get(unit));
        let mut at = before;
        at += spot.before;
        (Place { leaf, spot }, at)
    }

    /// The place before all text.
    pub(crate) fn start(&self) -> Place {
        self.find(Unit::Bytes, 0).0
    }

    /// The place of the character after `place`: at the end of a leaf that is in the next one.
    pub(crate) fn forward(&self, place: Place) -> Place {
        let leaf = self.tree.leaf(place.leaf);
        if place.spot.run < leaf.runs.len() || leaf.next == super::NONE {
            return place;
        }
        Place { leaf: leaf.next, spot: Spot::default() }
    }

    /// The lengths of the text before `place`: O(log n), O(1) in the caret's leaf.
    pub(crate) fn before(&self, place: Place) -> Measure {
        let caret = self.caret.filter(|caret| caret.leaf == place.leaf);
        let mut before = caret.map_or_else(|| self.tree.before(place.leaf), |caret| caret.before);
        before += place.spot.before;
        before
    }

    /// [`before`](Self::before) a place that is about to be changed: the caret goes there.
    pub(crate) fn focus(&mut self, place: Place) -> Measure {
        if self.caret.is_none_or(|caret| caret.leaf != place.leaf) {
            let before = self.tree.focus(place.leaf);
            self.caret = Some(Caret { leaf: place.leaf, before, run: 0, start: Measure::default() });
        }
        self.before(place)
    }

    /// Where `atom`, which is not in the text, belongs: O(d log n), d = its depth.
    pub(crate) fn place_of(&self, atom: Atom) -> Place {
        let groups = &self.groups;
        let inside = |run: Run| groups.count_before(run.first(), run.measure.scalars() as usize, atom) as u32;
        self.place_behind(|run| groups.compare(run.first(), atom).is_lt(), inside)
    }

    /// Where text of a group that has none, nor has any below it, begins: O(d log n), d = its depth.
    pub(crate) fn place_of_group(&self, key: Key) -> Place {
        let groups = &self.groups;
        let inside = |run: Run| groups.count_before_group(run.first(), run.measure.scalars(), key);
        self.place_behind(|run| groups.compare_group(run.first(), key).is_lt(), inside)
    }

    /// The place behind all runs that are `less`, and behind the characters `inside` the last of these. O(log n) calls.
    fn place_behind(&self, less: impl Fn(Run) -> bool, inside: impl Fn(Run) -> u32) -> Place {
        let index = self.tree.find_by(&less);
        let leaf = self.tree.leaf(index);
        let spot = match leaf.runs.partition_point(|run| less(*run)).checked_sub(1) {
            None => leaf.start_of(0),
            Some(run) => leaf.within(run, inside(leaf.runs[run])),
        };
        Place { leaf: index, spot }
    }

    /// Where `atom`, which is not in the text, belongs, if that is beside what was edited last: O(d).
    pub(crate) fn place_at_caret(&self, atom: Atom) -> Option<Place> {
        let caret = self.caret?;
        let runs = &self.tree.leaf(caret.leaf).runs;
        let less = |run: &Run| self.groups.compare(run.first(), atom).is_lt();
        let start = caret.run.checked_sub(2)?;
        let near = runs.get(start..=caret.run + 1)?;
        let bounded = less(&near[0]) && near.last().is_some_and(|run| !less(run));
        let run = bounded.then(|| start + near[1..].partition_point(less))?;
        let length = runs[run].measure.scalars();
        let inside = self.groups.count_before(runs[run].first(), length as usize, atom);
        Some(Place { leaf: caret.leaf, spot: self.tree.leaf(caret.leaf).within(run, inside as u32) })
    }

    /// The character of a dot, if it is in the text: O(log n).
    pub(crate) fn place_of_dot(&mut self, dot: Dot) -> Option<Place> {
        self.first_live(dot.site, dot.counter..dot.counter + 1).map(|(place, _)| place)
    }

    /// The character of a dot, if it is in the text: O(log n), O(n) before any dot was looked up by a change.
    pub(crate) fn find_dot(&self, dot: Dot) -> Option<Place> {
        let has =
            |run: &Run| (run.low()..=run.high()).contains(&dot.counter) && self.groups.site(run.group) == dot.site;
        let (leaf, run) = if self.index.is_made() {
            self.first_run(dot.site, dot.counter..dot.counter + 1)?
        } else {
            let mut leaves = self.tree.leaves();
            leaves.find_map(|(index, leaf)| leaf.runs.iter().position(has).map(|run| (index, run)))?
        };
        let runs = self.tree.leaf(leaf);
        let whole = runs.runs[run];
        let offset = if whole.first_k > 0 { dot.counter - whole.low() } else { whole.high() - dot.counter };
        Some(Place { leaf, spot: runs.within(run, offset as u32) })
    }

    /// The place behind the character at `place`, if that is `atom`.
    pub(crate) fn after(&self, place: Place, atom: Atom) -> Option<Place> {
        let leaf = self.tree.leaf(place.leaf);
        let run = leaf.runs.get(place.spot.run)?;
        let found = run.atom(place.spot.scalars) == atom;
        found.then(|| Place { leaf: place.leaf, spot: leaf.within(place.spot.run, place.spot.scalars + 1) })
    }

    /// The neighbours of `measure` characters of one run from `place` on.
    pub(crate) fn neighbours(&self, place: Place, measure: Measure) -> Gap {
        let leaf = self.tree.leaf(place.leaf);
        let end = leaf.within(place.spot.run, place.spot.scalars + measure.scalars);
        Gap { left: self.left_of(place), right: self.right_of(Place { leaf: place.leaf, spot: end }) }
    }

    /// Where the character of `path` stands or, if it is not in the text, belongs. Its groups need not exist. O(d log n),
    /// d = its depth.
    pub(crate) fn place_of_path(&self, path: &[Element]) -> Place {
        let groups = &self.groups;
        let inside = |run: Run| groups.count_before_path(run.first(), run.measure.scalars(), path);
        self.place_behind(|run| groups.compare_path(run.first(), path).is_lt(), inside)
    }

    /// The living dots within `counters` that hold together in one run and include the lowest one; where the text of
    /// them begins and how much it is. O(log n), O(1) at the caret.
    pub(crate) fn first_live(&mut self, site: SiteId, counters: Range<u64>) -> Option<(Place, Measure)> {
        if counters.is_empty() {
            return None;
        }
        let (index, run) = self.run_at_caret(site, counters.start).or_else(|| {
            self.make_index();
            self.index.turn_to(Dot::new(site, counters.start));
            self.first_run(site, counters.clone())
        })?;
        Some(self.part_within(index, run, self.run_start(index, run), &counters))
    }

    /// All living dots within `counters` as [`first_live`](Self::first_live) would find them one after the other, if looking through
    /// the whole text costs no more than the counters are worth and there is no index yet. O(n + r log r), n = runs, r = those of the
    /// result.
    pub(crate) fn all_live(&self, site: SiteId, counters: &Range<u64>) -> Option<Vec<(Place, Measure)>> {
        let counted = counters.end.saturating_sub(counters.start);
        if self.index.is_made() || counted.saturating_mul(SCALARS_PER_COUNTER) < u64::from(self.measure().scalars) {
            return None;
        }
        let mut found = Vec::new();
        for (index, leaf) in self.tree.leaves() {
            let mut start = Measure::default();
            for (number, run) in leaf.runs.iter().enumerate() {
                let is_within = run.low() < counters.end && run.high() >= counters.start;
                if is_within && self.groups.site(run.group) == site {
                    found.push((run.low(), self.part_within(index, number, start, counters)));
                }
                start += run.measure;
            }
        }
        found.sort_unstable_by_key(|&(low, _)| low);
        Some(found.into_iter().map(|(_, part)| part).collect())
    }

    /// Those characters of a run, before which its leaf has `start`, whose counters are within a range: where they begin, and their
    /// lengths.
    fn part_within(&self, index: LeafIndex, run: usize, start: Measure, counters: &Range<u64>) -> (Place, Measure) {
        let leaf = self.tree.leaf(index);
        let whole = leaf.runs[run];
        let first = whole.low().max(counters.start);
        let last = whole.high().min(counters.end - 1);
        let (from, to) = if whole.first_k > 0 {
            (first - whole.low(), last + 1 - whole.low())
        } else {
            (whole.high() - last, whole.high() + 1 - first)
        };
        let (spot, measure) = leaf.part(run, start, from as u32, to as u32);
        (Place { leaf: index, spot }, measure)
    }

    /// The run of `site` at the caret or next to it that has `counter`: where somebody types, and takes back.
    fn run_at_caret(&self, site: SiteId, counter: u64) -> Option<(LeafIndex, usize)> {
        let caret = self.caret?;
        let runs = &self.tree.leaf(caret.leaf).runs;
        let first = caret.run.saturating_sub(1);
        let near = runs.get(first..runs.len().min(caret.run + 2))?;
        let has = |run: &Run| (run.low()..=run.high()).contains(&counter) && self.groups.site(run.group) == site;
        near.iter().position(has).map(|at| (caret.leaf, first + at))
    }

    /// The lengths of its leaf's text before a run: O(1) at the caret.
    fn run_start(&self, leaf: LeafIndex, run: usize) -> Measure {
        let runs = &self.tree.leaf(leaf).runs;
        match self.caret.filter(|caret| caret.leaf == leaf) {
            Some(caret) if caret.run == run => caret.start,
            Some(caret) if caret.run == run + 1 => {
                let mut start = caret.start;
                start -= runs[run].measure;
                start
            }
            _ => self.tree.leaf(leaf).start_of(run).before,
        }
    }

    fn first_run(&self, site: SiteId, counters: Range<u64>) -> Option<(LeafIndex, usize)> {
        let containing = self.index.floor(site, counters.start).map(|entry| self.indexed_run(site, entry));
        let containing = containing.filter(|&(leaf, run)| self.tree.leaf(leaf).runs[run].high() >= counters.start);
        containing.or_else(|| {
            let next = self.index.ceiling(site, counters.start).filter(|entry| entry.0 < counters.end);
            next.map(|entry| self.indexed_run(site, entry))
        })
    }

    fn indexed_run(&self, site: SiteId, (low, leaf): (u64, LeafIndex)) -> (LeafIndex, usize) {
        let is_it = |run: &Run| run.low() == low && self.groups.site(run.group) == site;
        let run = self.tree.leaf(leaf).runs.iter().position(is_it).expect("the index names a run of the leaf");
        (leaf, run)
    }

    /// The run at `place` and the rest of it from there; `None` at the end of the text.
    pub(crate) fn rest_of_run(&self, place: Place) -> Option<(Run, Measure)> {
        let leaf = self.tree.leaf(place.leaf);
        leaf.runs.get(place.spot.run).map(|run| (*run, leaf.rest_of_run(place.spot)))
    }

    /// The text of `measure` characters of one leaf from `place` on.
    pub(crate) fn text_at(&self, place: Place, measure: Measure) -> &str {
        self.tree.leaf(place.leaf).text_at(place.spot, measure)
    }

    /// The part of `measure` characters from `place` on that has at most `offset` units.
    pub(crate) fn prefix_at(&self, place: Place, measure: Measure, unit: Unit, offset: u32) -> Measure {
        if offset >= measure.get(unit) {
            return measure;
        }
        super::measure::prefix(self.text_at(place, measure), measure, unit, offset)
    }

    /// The text between two places given by their lengths before them. O(log n + its length).
    pub(crate) fn slice(&self, from: Measure, to: Measure) -> String {
        let mut text = String::with_capacity((to.bytes - from.bytes) as usize);
        let (leaf, before) = self.tree.find(Unit::Bytes, from.bytes);
        let mut skip = (from.bytes - before.bytes) as usize;
        for (_, leaf) in self.tree.leaves_from(leaf) {
            let wanted = (to.bytes - from.bytes) as usize - text.len();
            let end = leaf.text.len().min(skip.saturating_add(wanted));
            text.push_str(&leaf.text[skip..end]);
            skip = 0;
            if text.len() == (to.bytes - from.bytes) as usize {
                break;
            }
        }
        text
    }
}
