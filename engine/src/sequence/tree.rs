//! The tree over the leaves: lengths summed per child, parents known, so that a place is found from the root and a
//! leaf's offset from the leaf, both in O(log n), n = leaves.

use super::leaf::{LEAF_BYTES_MAX, LEAF_RUNS_MAX, Leaf, LeafIndex, NONE, Run};
use super::measure::{Measure, Unit};

const CHILDREN_MAX: usize = 32;
/// A level is added where a node of 33 children divides in two of 16 or more, and leaves are counted with 32 bits: 16 levels would
/// take 2^60 of them to have been made.
const HEIGHT_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Child {
    node: u32,
    measure: Measure,
}

#[derive(Clone, Debug)]
struct Inner {
    parent: u32,
    children: Vec<Child>,
}

/// Leaves in text order under inner nodes of one height. There is always at least one leaf; only a lone one is empty.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    leaves: Vec<Leaf>,
    leaves_free: Vec<LeafIndex>,
    inners: Vec<Inner>,
    inners_free: Vec<u32>,
    root: u32,
    /// Inner levels above the leaves; at 0 the root is a leaf.
    height: usize,
    measure: Measure,
    /// Per height the number of the child last changed: typing changes the same ones again.
    recent: [u8; HEIGHT_MAX],
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            leaves: vec![Leaf::new()],
            leaves_free: Vec::new(),
            inners: Vec::new(),
            inners_free: Vec::new(),
            root: 0,
            height: 0,
            measure: Measure::default(),
            recent: [0; HEIGHT_MAX],
        }
    }
}

impl Tree {
    /// A tree of these leaves: O(n).
    #[inline(never)]
    pub(crate) fn from_leaves(leaves: Vec<Leaf>) -> Self {
        if leaves.is_empty() {
            return Self::default();
        }
        let mut tree = Self { leaves, ..Self::default() };
        let count = tree.leaves.len() as u32;
        let mut nodes: Vec<Child> = Vec::with_capacity(tree.leaves.len());
        for (index, leaf) in tree.leaves.iter_mut().enumerate() {
            let index = index as u32;
            leaf.previous = index.checked_sub(1).unwrap_or(NONE);
            leaf.next = if index + 1 < count { index + 1 } else { NONE };
            tree.measure += leaf.measure;
            nodes.push(Child { node: index, measure: leaf.measure });
        }
        while nodes.len() > 1 {
            let mut above = Vec::with_capacity(nodes.len() / CHILDREN_MAX + 1);
            // Spread evenly, so that no node is left with a single child.
            let parts = nodes.len().div_ceil(CHILDREN_MAX * 3 / 4);
            let mut start = 0;
            for part in 0..parts {
                let end = nodes.len() * (part + 1) / parts;
                let children = nodes[start..end].to_vec();
                start = end;
                let index = tree.inners.len() as u32;
                let measure = sum(&children);
                for child in &children {
                    tree.set_parent(child.node, tree.height == 0, index);
                }
                tree.inners.push(Inner { parent: NONE, children });
                above.push(Child { node: index, measure });
            }
            nodes = above;
            tree.height += 1;
        }
        tree.root = nodes[0].node;
        tree
    }

    pub(crate) const fn measure(&self) -> Measure {
        self.measure
    }

    pub(crate) fn leaf(&self, leaf: LeafIndex) -> &Leaf {
        &self.leaves[leaf as usize]
    }

    /// The leaf of a number that may be none's.
    pub(crate) fn get(&self, leaf: LeafIndex) -> Option<&Leaf> {
        self.leaves.get(leaf as usize)
    }

    /// A leaf to change; whoever changes its lengths calls [`grow`](Self::grow) or [`shrink`](Self::shrink).
    pub(crate) fn leaf_mut(&mut self, leaf: LeafIndex) -> &mut Leaf {
        &mut self.leaves[leaf as usize]
    }

    /// The leaves in text order.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (LeafIndex, &Leaf)> + '_ {
        self.leaves_from(self.first_leaf())
    }

    /// The leaves from `leaf` on.
    pub(crate) fn leaves_from(&self, leaf: LeafIndex) -> impl Iterator<Item = (LeafIndex, &Leaf)> + '_ {
        let mut next = leaf;
        core::iter::from_fn(move || {
            let index = next;
            let leaf = self.leaves.get(index as usize)?;
            next = leaf.next;
            Some((index, leaf))
        })
    }

    fn first_leaf(&self) -> LeafIndex {
        self.first_leaf_below(self.root, self.height)
    }

    fn first_leaf_below(&self, node: u32, height: usize) -> LeafIndex {
        (0..height).fold(node, |node, _| self.inners[node as usize].children[0].node)
    }

    /// The leaf that holds `offset`, and the lengths before it; at a border the leaf that ends there.
    pub(crate) fn find(&self, unit: Unit, offset: u32) -> (LeafIndex, Measure) {
        descend(&self.inners, self.top(), unit, offset, |_, _| ())
    }

    /// [`find`](Self::find) of a leaf that is about to be changed: the way to it is remembered.
    pub(crate) fn seek(&mut self, unit: Unit, offset: u32) -> (LeafIndex, Measure) {
        let (top, recent) = (self.top(), &mut self.recent);
        descend(&self.inners, top, unit, offset, |height, at| recent[height] = at as u8)
    }

    const fn top(&self) -> Top {
        Top { root: self.root, height: self.height, measure: self.measure }
    }

    /// The last leaf whose first run `precedes`; the first leaf if there is none. O(log n) calls.
    pub(crate) fn find_by(&self, precedes: impl Fn(Run) -> bool) -> LeafIndex {
        let mut node = self.root;
        for height in (0..self.height).rev() {
            let children = &self.inners[node as usize].children;
            let starts_before = |child: &Child| {
                let leaf = self.first_leaf_below(child.node, height);
                self.leaf(leaf).runs.first().is_some_and(|run| precedes(*run))
            };
            let at = children[1..].partition_point(starts_before);
            node = children[at].node;
        }
        node
    }

    /// The lengths of the text before a leaf.
    pub(crate) fn before(&self, leaf: LeafIndex) -> Measure {
        self.ascend(leaf, |_, _| ())
    }

    /// [`before`](Self::before) a leaf that is about to be changed: the way to it is remembered.
    pub(crate) fn focus(&mut self, leaf: LeafIndex) -> Measure {
        let mut recent = self.recent;
        let before = self.ascend(leaf, |height, at| recent[height] = at as u8);
        self.recent = recent;
        before
    }

    fn ascend(&self, leaf: LeafIndex, mut visit: impl FnMut(usize, usize)) -> Measure {
        let mut before = Measure::default();
        let (mut node, mut parent) = (leaf, self.leaf(leaf).parent);
        for height in 0..self.height {
            let inner = &self.inners[parent as usize];
            let mut at = 0;
            while inner.children[at].node != node {
                before += inner.children[at].measure;
                at += 1;
            }
            visit(height, at);
            (node, parent) = (parent, inner.parent);
        }
        before
    }

    /// Adds to a leaf's lengths and to the sums above it.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn grow(&mut self, leaf: LeafIndex, by: Measure) {
        self.leaves[leaf as usize].measure += by;
        self.measure += by;
        self.for_each_above(leaf, |measure| *measure += by);
    }

    /// Takes from a leaf's lengths and from the sums above it.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn shrink(&mut self, leaf: LeafIndex, by: Measure) {
        self.leaves[leaf as usize].measure -= by;
        self.measure -= by;
        self.for_each_above(leaf, |measure| *measure -= by);
    }

    #[inline(always)]
    fn for_each_above(&mut self, leaf: LeafIndex, mut change: impl FnMut(&mut Measure)) {
        let (mut node, mut parent) = (leaf, self.leaf(leaf).parent);
        for recent in self.recent.iter_mut().take(self.height) {
            let Inner { parent: above, children } = &mut self.inners[parent as usize];
            let child = match children.get(usize::from(*recent)) {
                Some(child) if child.node == node => &mut children[usize::from(*recent)],
                _ => {
                    let at = children.iter().position(|child| child.node == node);
                    let at = at.expect("a node is its parent's child");
                    *recent = at as u8;
                    &mut children[at]
                }
            };
            change(&mut child.measure);
            (node, parent) = (parent, *above);
        }
    }

    /// Makes room for `more` leaves.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.leaves.reserve(more);
    }

    /// Puts `right`, cut from `leaf`'s end, into the tree after it. `leaf.measure` must be what is left of it.
    pub(crate) fn insert_after(&mut self, leaf: LeafIndex, mut right: Leaf) -> LeafIndex {
        let measure = right.measure;
        right.previous = leaf;
        right.next = self.leaf(leaf).next;
        let next = right.next;
        let index = match self.leaves_free.pop() {
            Some(index) => {
                self.leaves[index as usize] = right;
                index
            }
            None => {
                self.leaves.push(right);
                (self.leaves.len() - 1) as LeafIndex
            }
        };
        self.leaves[leaf as usize].next = index;
        if next != NONE {
            self.leaves[next as usize].previous = index;
        }
        let left = Child { node: leaf, measure: self.leaf(leaf).measure };
        self.insert_child(left, Child { node: index, measure }, 0);
        index
    }

    /// Puts `right` beside `left` (whose measure is updated), both at `height`; splits what overflows.
    fn insert_child(&mut self, left: Child, right: Child, height: usize) {
        let parent = self.parent(left.node, height);
        if parent == NONE {
            let mut children = Vec::with_capacity(CHILDREN_MAX / 2);
            children.extend([left, right]);
            let root = self.add_inner(Inner { parent: NONE, children });
            self.set_parent(left.node, height == 0, root);
            self.set_parent(right.node, height == 0, root);
            self.root = root;
            self.height += 1;
            return;
        }
        self.set_parent(right.node, height == 0, parent);
        let inner = &mut self.inners[parent as usize];
        let at = inner.children.iter().position(|child| child.node == left.node).expect("a node is its parent's child");
        inner.children[at].measure = left.measure;
        inner.children.insert(at + 1, right);
        if inner.children.len() <= CHILDREN_MAX {
            return;
        }
        let tail = inner.children.split_off(CHILDREN_MAX / 2);
        let (head_measure, tail_measure) = (sum(&inner.children), sum(&tail));
        let above = inner.parent;
        let index = self.add_inner(Inner { parent: above, children: tail });
        for at in 0..self.inners[index as usize].children.len() {
            let node = self.inners[index as usize].children[at].node;
            self.set_parent(node, height == 0, index);
        }
        let head = Child { node: parent, measure: head_measure };
        self.insert_child(head, Child { node: index, measure: tail_measure }, height + 1);
    }

    /// `leaf` and the one after or before it under the same parent, in order, if both together are small.
    pub(crate) fn small_pair(&self, leaf: LeafIndex) -> Option<(LeafIndex, LeafIndex)> {
        let this = self.leaf(leaf);
        if this.text.len() > LEAF_BYTES_MAX / 2 {
            return None;
        }
        let is_small = |other: LeafIndex| {
            self.leaves.get(other as usize).is_some_and(|other| {
                other.parent == this.parent
                    && this.text.len() + other.text.len() <= LEAF_BYTES_MAX / 2
                    && this.runs.len() + other.runs.len() <= LEAF_RUNS_MAX / 2
            })
        };
        if is_small(this.next) {
            Some((leaf, this.next))
        } else {
            is_small(this.previous).then_some((this.previous, leaf))
        }
    }

    /// Takes a leaf out, unless it is the only one. Its text must be gone or given to the leaf before, whose sums
    /// [`grow`](Self::grow) afterwards.
    pub(crate) fn remove(&mut self, leaf: LeafIndex) -> Leaf {
        let measure = self.leaf(leaf).measure;
        self.shrink(leaf, measure);
        let mut taken = core::mem::replace(&mut self.leaves[leaf as usize], Leaf::new());
        taken.measure = measure;
        if self.height == 0 {
            return taken;
        }
        if taken.previous != NONE {
            self.leaves[taken.previous as usize].next = taken.next;
        }
        if taken.next != NONE {
            self.leaves[taken.next as usize].previous = taken.previous;
        }
        self.leaves_free.push(leaf);
        self.remove_child(leaf, taken.parent, 0);
        taken
    }

    fn remove_child(&mut self, node: u32, parent: u32, height: usize) {
        let inner = &mut self.inners[parent as usize];
        inner.children.retain(|child| child.node != node);
        let above = inner.parent;
        if inner.children.is_empty() {
            self.inners_free.push(parent);
            self.remove_child(parent, above, height + 1);
        } else if above == NONE {
            self.lower_root();
        } else if self.inners[parent as usize].children.len() < CHILDREN_MAX / 4 {
            self.merge_inner(parent, above, height);
        }
    }

    /// Merges an inner node with the one after or before it if both together are small.
    fn merge_inner(&mut self, node: u32, parent: u32, height: usize) {
        let siblings = &self.inners[parent as usize].children;
        let at = siblings.iter().position(|child| child.node == node).expect("a node is its parent's child");
        let count = |index: usize| {
            siblings.get(index).map_or(CHILDREN_MAX, |child| self.inners[child.node as usize].children.len())
        };
        let own = count(at);
        let left = if own + count(at + 1) <= CHILDREN_MAX / 2 {
            at
        } else if own + count(at.wrapping_sub(1)) <= CHILDREN_MAX / 2 {
            at - 1
        } else {
            return;
        };
        let (into, from) = (siblings[left].node, siblings[left + 1].node);
        let moved = core::mem::take(&mut self.inners[from as usize].children);
        for child in &moved {
            self.set_parent(child.node, height == 0, into);
        }
        self.inners[into as usize].children.extend(moved);
        let measure = sum(&self.inners[into as usize].children);
        self.inners[parent as usize].children[left].measure = measure;
        self.inners_free.push(from);
        self.remove_child(from, parent, height + 1);
    }

    fn lower_root(&mut self) {
        while self.height > 0 && self.inners[self.root as usize].children.len() == 1 {
            let only = self.inners[self.root as usize].children[0].node;
            self.inners_free.push(self.root);
            self.root = only;
            self.height -= 1;
            self.set_parent(only, self.height == 0, NONE);
        }
    }

    fn add_inner(&mut self, inner: Inner) -> u32 {
        match self.inners_free.pop() {
            Some(index) => {
                self.inners[index as usize] = inner;
                index
            }
            None => {
                self.inners.push(inner);
                (self.inners.len() - 1) as u32
            }
        }
    }

    fn parent(&self, node: u32, height: usize) -> u32 {
        if height == 0 { self.leaves[node as usize].parent } else { self.inners[node as usize].parent }
    }

    fn set_parent(&mut self, node: u32, is_leaf: bool, parent: u32) {
        if is_leaf {
            self.leaves[node as usize].parent = parent;
        } else {
            self.inners[node as usize].parent = parent;
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let leaves: usize =
            self.leaves.iter().map(|leaf| leaf.text.capacity() + leaf.runs.capacity() * size_of::<Run>()).sum();
        let inners: usize = self.inners.iter().map(|inner| inner.children.capacity() * size_of::<Child>()).sum();
        leaves
            + inners
            + self.leaves.capacity() * size_of::<Leaf>()
            + self.inners.capacity() * size_of::<Inner>()
            + (self.leaves_free.capacity() + self.inners_free.capacity()) * size_of::<u32>()
    }

    /// Checks links, sums, sizes and heights.
    pub(crate) fn assert_invariants(&self) {
        let mut in_order = Vec::new();
        let measure = self.assert_node(self.root, self.height, NONE, &mut in_order);
        assert_eq!(measure, self.measure, "the whole measure is the sum");
        let linked: Vec<_> = self.leaves().map(|(index, _)| index).collect();
        assert_eq!(linked, in_order, "links follow the tree");
        assert_eq!(in_order.len() + self.leaves_free.len(), self.leaves.len(), "no leaf is lost");
        let mut previous = NONE;
        for (index, leaf) in self.leaves() {
            assert_eq!(leaf.previous, previous, "links go both ways");
            previous = index;
        }
    }

    fn assert_node(&self, node: u32, height: usize, parent: u32, in_order: &mut Vec<LeafIndex>) -> Measure {
        assert_eq!(self.parent(node, height), parent, "a child knows its parent");
        if height > 0 {
            let inner = &self.inners[node as usize];
            assert!(
                inner.children.len() <= CHILDREN_MAX && !inner.children.is_empty(),
                "inner nodes have 1 to 32 children"
            );
            let mut total = Measure::default();
            for child in &inner.children {
                let measure = self.assert_node(child.node, height - 1, node, in_order);
                assert_eq!(measure, child.measure, "sums are right");
                total += measure;
            }
            return total;
        }
        let leaf = self.leaf(node);
        in_order.push(node);
        let mut at = 0;
        for run in &leaf.runs {
            assert!(run.measure.scalars() > 0, "runs have characters");
            let end = at + run.measure.bytes() as usize;
            assert_eq!(Measure::of(&leaf.text[at..end]), run.measure.long(), "a run's lengths are its text's");
            at = end;
        }
        assert_eq!(at, leaf.text.len(), "a leaf's text belongs to its runs");
        assert_eq!(Measure::of(&leaf.text), leaf.measure, "a leaf's lengths are its text's");
        assert!(leaf.runs.len() <= LEAF_RUNS_MAX && leaf.text.len() <= LEAF_BYTES_MAX, "leaves keep their limits");
        assert!(self.height == 0 || !leaf.runs.is_empty(), "only a lone leaf is empty");
        leaf.measure
    }
}

/// Where a descent begins.
struct Top {
    root: u32,
    height: usize,
    measure: Measure,
}

/// The leaf that holds `offset`, at a border the one that ends there, and the lengths before it. Tells `visit` the height of each
/// inner node on the way and the number of the child below.
fn descend(
    inners: &[Inner],
    top: Top,
    unit: Unit,
    offset: u32,
    mut visit: impl FnMut(usize, usize),
) -> (LeafIndex, Measure) {
    let Top { root: mut node, height, measure: mut whole } = top;
    let (mut before, mut inside) = (Measure::default(), offset);
    for height in (0..height).rev() {
        let children = &inners[node as usize].children;
        let (at, passed) = child_at(children, whole, unit, inside);
        visit(height, at);
        before += passed;
        inside -= passed.get(unit);
        (node, whole) = (children[at].node, children[at].measure);
    }
    (node, before)
}

/// The child that holds `offset`, at a border the one that ends there, and the lengths before it. From the nearer end of `whole`.
fn child_at(children: &[Child], whole: Measure, unit: Unit, offset: u32) -> (usize, Measure) {
    if whole.scalars == whole.bytes {
        // Of ASCII all three lengths are one.
        let (at, passed) = ascii_child_at(children, offset);
        return (at, Measure::of_ascii(passed as usize));
    }
    if offset <= whole.get(unit) / 2 {
        let (mut at, mut passed) = (0, Measure::default());
        while at + 1 < children.len() && passed.get(unit) + children[at].measure.get(unit) < offset {
            passed += children[at].measure;
            at += 1;
        }
        return (at, passed);
    }
    let (mut at, mut passed) = (children.len(), whole);
    loop {
        at -= 1;
        passed -= children[at].measure;
        if at == 0 || passed.get(unit) < offset {
            return (at, passed);
        }
    }
}

/// [`child_at`] among children of `whole` bytes of ASCII, and the bytes before that child.
fn ascii_child_at(children: &[Child], offset: u32) -> (usize, u32) {
    // Counted without a branch on what each child has: where it ends is not to be foreseen.
    let (mut at, mut end, mut passed) = (0, 0, 0);
    for child in children {
        end += child.measure.bytes;
        let is_behind = end < offset;
        at += usize::from(is_behind);
        passed = if is_behind { end } else { passed };
    }
    (at, passed)
}

fn sum(children: &[Child]) -> Measure {
    let mut total = Measure::default();
    for child in children {
        total += child.measure;
    }
    total
}
