//! From one text to another by few edits: lines first (Myers, An O(ND) Difference Algorithm, 1986), then what the ends of each
//! changed stretch have in common. O((n + m) d), d = differing lines, bounded; beyond the bound a stretch is replaced whole.

/// Differing lines up to which the shortest way is looked for.
const DIFFERENCES_MAX: usize = 1_000;

/// One replacement, in UTF-16 units, to be applied in order: each position counts the edits before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) at: usize,
    pub(crate) delete: usize,
    pub(crate) insert: String,
}

/// The edits that turn `old` into `new`.
pub(crate) fn diff(old: &str, new: &str) -> Vec<Replacement> {
    let (old_lines, new_lines) = (lines(old), lines(new));
    let head = old_lines.iter().zip(&new_lines).take_while(|(old, new)| old == new).count();
    let rest = old_lines.len().min(new_lines.len()) - head;
    let tail =
        old_lines.iter().rev().zip(new_lines.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let old_middle = &old_lines[head..old_lines.len() - tail];
    let new_middle = &new_lines[head..new_lines.len() - tail];
    let mut at = utf16(&old_lines[..head].concat());
    let mut edits = Vec::new();
    for (kept, deleted, inserted) in stretches(old_middle, new_middle) {
        at += utf16(&kept);
        at = refine(at, &deleted, &inserted, &mut edits);
    }
    edits
}

/// Pushes the edit for one changed stretch without what its ends have in common; answers where the stretch ends now.
fn refine(at: usize, deleted: &str, inserted: &str, edits: &mut Vec<Replacement>) -> usize {
    let head: usize =
        deleted.chars().zip(inserted.chars()).take_while(|(old, new)| old == new).map(|(old, _)| old.len_utf8()).sum();
    let (old, new) = (&deleted[head..], &inserted[head..]);
    let tail: usize = old
        .chars()
        .rev()
        .zip(new.chars().rev())
        .take_while(|(old, new)| old == new)
        .map(|(old, _)| old.len_utf8())
        .sum();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    if !old.is_empty() || !new.is_empty() {
        let edit = Replacement { at: at + utf16(&deleted[..head]), delete: utf16(old), insert: new.to_owned() };
        edits.push(edit);
    }
    at + utf16(inserted)
}

/// Stretches of (kept, deleted, inserted) lines.
fn stretches(old: &[&str], new: &[&str]) -> Vec<(String, String, String)> {
    let Some(steps) = shortest_way(old, new) else {
        return vec![(String::new(), old.concat(), new.concat())];
    };
    let mut stretches = vec![(String::new(), String::new(), String::new())];
    let (mut from, mut to) = (0, 0);
    for step in steps {
        let last = stretches.last_mut().expect("there is one from the beginning");
        match step {
            Step::Keep => {
                let changed = !last.1.is_empty() || !last.2.is_empty();
                if changed {
                    stretches.push((old[from].to_owned(), String::new(), String::new()));
                } else {
                    last.0.push_str(old[from]);
                }
                from += 1;
                to += 1;
            }
            Step::Delete => {
                last.1.push_str(old[from]);
                from += 1;
            }
            Step::Insert => {
                last.2.push_str(new[to]);
                to += 1;
            }
        }
    }
    stretches
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Keep,
    Delete,
    Insert,
}

/// Myers' greedy search forward, then the way back. `None`: more differences than are looked for.
fn shortest_way(old: &[&str], new: &[&str]) -> Option<Vec<Step>> {
    let most = (old.len() + new.len()).min(DIFFERENCES_MAX);
    let middle = most + 1;
    let mut reached = vec![0_usize; 2 * most + 3];
    let mut history: Vec<Vec<usize>> = Vec::new();
    for d in 0..=most {
        history.push(reached[middle - d..=middle + d].to_vec());
        for k in (0..=2 * d).step_by(2) {
            let diagonal = middle + k - d;
            let down = k == 0 || (k != 2 * d && reached[diagonal - 1] < reached[diagonal + 1]);
            let mut x = if down { reached[diagonal + 1] } else { reached[diagonal - 1] + 1 };
            let mut y = (x + middle).checked_sub(diagonal)?;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                x += 1;
                y += 1;
            }
            reached[diagonal] = x;
            if x >= old.len() && y >= new.len() {
                return Some(way_back(&history, old.len(), new.len()));
            }
        }
    }
    None
}

fn way_back(history: &[Vec<usize>], mut x: usize, mut y: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for d in (1..history.len()).rev() {
        // What was reached with fewer differences, diagonal -d..=d at 0..=2d.
        let before =
            |k: isize| usize::try_from(k + d as isize).ok().and_then(|at| history[d].get(at)).copied().unwrap_or(0);
        let k = x as isize - y as isize;
        let down = k == -(d as isize) || (k != d as isize && before(k - 1) < before(k + 1));
        let from_k = if down { k + 1 } else { k - 1 };
        let from_x = before(from_k);
        let from_y = (from_x as isize - from_k) as usize;
        let (begin_x, begin_y) = if down { (from_x, from_y + 1) } else { (from_x + 1, from_y) };
        steps.extend(std::iter::repeat_n(Step::Keep, x - begin_x));
        debug_assert_eq!(x - begin_x, y - begin_y);
        steps.push(if down { Step::Insert } else { Step::Delete });
        (x, y) = (from_x, from_y);
    }
    steps.extend(std::iter::repeat_n(Step::Keep, x));
    steps.reverse();
    steps
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn utf16(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(old: &str, edits: &[Replacement]) -> String {
        let mut units: Vec<u16> = old.encode_utf16().collect();
        for edit in edits {
            units.splice(edit.at..edit.at + edit.delete, edit.insert.encode_utf16());
        }
        String::from_utf16(&units).unwrap()
    }

    fn check(old: &str, new: &str, edits_max: usize) {
        let edits = diff(old, new);
        assert_eq!(apply(old, &edits), new, "{edits:?}");
        assert!(edits.len() <= edits_max, "{edits:?}");
    }

    #[test]
    fn edits_lead_from_one_text_to_the_other() {
        check("", "", 0);
        check("same\n", "same\n", 0);
        check("", "new", 1);
        check("old", "", 1);
        check("one\ntwo\nthree\n", "one\n2\nthree\n", 1);
        check("a\nb\nc\nd\ne\n", "a\nB\nc\nD\ne\n", 2);
        check("a\nb\nc\n", "c\na\nb\n", 2);
        check("x\u{1f600}y", "x\u{1f601}y", 1);
        check("\u{1f600}\n\u{1f600}\n", "\u{1f600}\n!\n\u{1f600}\n", 1);
        assert_eq!(
            diff("hello world", "hello brave world"),
            [Replacement { at: 6, delete: 0, insert: "brave ".into() }]
        );
    }

    #[test]
    fn random_texts_are_reached() {
        let mut state = 7_u64;
        let mut random = move |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for _ in 0..500 {
            let text = |random: &mut dyn FnMut(u64) -> u64| -> String {
                (0..random(30)).map(|_| format!("{}\n", random(6))).collect()
            };
            let (old, new) = (text(&mut random), text(&mut random));
            assert_eq!(apply(&old, &diff(&old, &new)), new);
        }
    }

    #[test]
    fn texts_without_a_common_line_are_replaced_whole() {
        let old: String = (0..5_000).map(|n| format!("a{n}\n")).collect();
        let new: String = (0..5_000).map(|n| format!("b{n}\n")).collect();
        check(&old, &new, 1);
    }
}
