//! `INTERNALS.md` says what the engine does: its identifiers, runs and bytes are made again here.
#![allow(clippy::unwrap_used, reason = "tests may")]

use selvedge_engine::{Delta, Digit, Direction, Document, Element, Op, Path, SiteId, StateDiff};

const TEXT: &str = include_str!("../INTERNALS.md");

/// The lines of the block behind `<!-- name -->`, and the paragraph before that.
fn block(name: &str) -> (Vec<&'static str>, &'static str) {
    let (before, rest) = TEXT.split_once(&format!("<!-- {name} -->\n```text\n")).unwrap_or_else(|| panic!("no {name}"));
    let (lines, _) = rest.split_once("\n```").unwrap();
    (lines.lines().collect(), before.trim_end().rsplit("\n\n").next().unwrap())
}

/// The bytes at the beginning of each line, up to two spaces.
fn bytes(name: &str) -> Vec<u8> {
    let (lines, before) = block(&format!("bytes: {name}"));
    let digits = |line: &'static str| line.trim_start().split("  ").next().unwrap().split(' ');
    let bytes: Vec<u8> = lines.into_iter().flat_map(digits).map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    assert!(before.contains(&format!("{} bytes", bytes.len())), "{name} has {} bytes: {before}", bytes.len());
    bytes
}

fn writer(index: u32) -> Document {
    let mut document = Document::new();
    document.begin_writing(SiteId::leased(0, index), 1).unwrap();
    document
}

/// The only delta that an edit makes.
fn edit(document: &mut Document, at: usize, delete: usize, insert: &str) -> Delta {
    document.replace(at, delete, insert).unwrap();
    let mut sealed = document.seal();
    assert_eq!(sealed.len(), 1);
    sealed.remove(0)
}

/// Ada and Bob after the history that the text begins with, and what each said: "cat", "h", "s" and the delete.
fn history() -> ([Document; 2], [Delta; 4]) {
    let (mut ada, mut bob) = (writer(1), writer(2));
    let cat = edit(&mut ada, 0, 0, "cat");
    bob.apply(&cat).unwrap();
    let h = edit(&mut bob, 1, 0, "h");
    let s = edit(&mut ada, 0, 0, "s");
    let t = edit(&mut ada, 3, 1, "");
    ada.apply(&h).unwrap();
    [&s, &t].into_iter().for_each(|delta| drop(bob.apply(delta).unwrap()));
    assert_eq!((ada.text(), bob.text()), ("scha".to_owned(), "scha".to_owned()));
    ([ada, bob], [cat, h, s, t])
}

/// The identifiers that a delta gives, each with its character.
fn identifiers(delta: &Delta) -> Vec<(Path, char)> {
    let mut given = Vec::new();
    let mut next = delta.first as i64;
    for op in &delta.ops {
        if let Op::Insert { parent, digit, direction, text } = op {
            let (first, count) = (next, text.chars().count() as i64);
            for (at, character) in text.chars().enumerate() {
                let k = match direction {
                    Direction::After => first + at as i64,
                    Direction::Before => at as i64 - (first + count - 1),
                };
                let mut path = parent.clone();
                path.push(Element { digit: *digit, site: delta.site, k });
                given.push((path, character));
            }
        }
        next += op.counters() as i64;
    }
    given
}

fn spelled(path: &Path) -> String {
    let element = |element: &Element| {
        let site = char::from(b'A' + element.site.get() as u8 - 1);
        format!("({},{site},{:+})", element.digit.get(), element.k)
    };
    path.elements().iter().map(element).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_merged_text_has_these_identifiers() {
    let (_, deltas) = history();
    let mut all: Vec<(Path, char)> = deltas.iter().flat_map(identifiers).collect();
    all.retain(|(_, character)| *character != 't');
    all.sort();
    let lines: Vec<String> = all.iter().map(|(path, character)| format!("{character}   {}", spelled(path))).collect();
    assert_eq!(block("identifiers: merged").0, lines);
}

#[test]
fn new_text_goes_where_it_is_said_to_go() {
    let ([_, mut bob], said) = history();
    let mut cleo = writer(3);
    said.iter().for_each(|delta| drop(cleo.apply(delta).unwrap()));
    let mut given = Vec::new();
    let write = |writer: &mut Document, reader: &mut Document, at: usize, text: &str| {
        let delta = edit(writer, at, 0, text);
        reader.apply(&delta).unwrap();
        identifiers(&delta)
    };
    given.extend(write(&mut bob, &mut cleo, 3, "e"));
    given.extend(write(&mut bob, &mut cleo, 0, "!"));
    given.extend(write(&mut bob, &mut cleo, 6, "?"));
    given.extend(write(&mut cleo, &mut bob, 1, "+"));
    assert_eq!(bob.text(), "!+schea?");
    given.extend(write(&mut cleo, &mut bob, 4, "-"));
    let mut halves = Vec::new();
    while halves.last() != Some(&1) {
        let bobs = halves.len() % 2 == 0;
        let (writer, reader) = if bobs { (&mut bob, &mut cleo) } else { (&mut cleo, &mut bob) };
        let one = write(writer, reader, 4, "<").remove(0);
        halves.push(one.0.last().unwrap().digit.get());
        if halves.last() == Some(&1) {
            given.push(one);
        }
    }
    assert_eq!(halves, [704, 352, 176, 88, 44, 22, 11, 5, 2, 1]);
    given.extend(write(&mut bob, &mut cleo, 4, "~"));
    let lines = block("identifiers: allocated").0;
    assert_eq!(lines.len(), given.len());
    for (line, (path, character)) in lines.iter().zip(&given) {
        let said = line.split("  ").map(str::trim).filter(|part| !part.is_empty()).take(2).collect::<Vec<_>>();
        assert_eq!(said, [character.to_string(), spelled(path)], "{line}");
    }
}

#[test]
fn the_text_is_these_runs() {
    let ([ada, _], _) = history();
    let lines = block("runs: merged").0;
    let stats = ada.stats();
    let groups = lines.iter().filter(|line| line.starts_with("group ")).count();
    let runs = lines.last().unwrap().matches("..").count();
    assert_eq!((stats.groups, stats.runs), (groups, runs));
    let digits = |level| Digit::max_of(level).to_string();
    assert_eq!((digits(0).as_str(), digits(1).as_str()), ("256", "4096"));
}

#[test]
fn the_bytes_are_these() {
    let ([ada, bob], [_, h, s, t]) = history();
    for (name, delta) in [("h", &h), ("s", &s), ("t", &t)] {
        assert_eq!(bytes(name), delta.encode(), "{name}");
        assert_eq!(Delta::decode(&bytes(name)).as_ref(), Ok(delta));
    }
    assert_eq!(bytes("snapshot"), ada.snapshot());
    assert_eq!(Document::load(&bytes("snapshot")).unwrap().text(), "scha");
    let since = [(SiteId::leased(0, 1), 3), (SiteId::leased(0, 2), 1)].into_iter().collect();
    assert_eq!(bytes("diff"), ada.state_diff(&since).encode());
    // Bob as he was before he heard of "s" and the delete.
    let mut behind = Document::new();
    let [cat, h, ..] = history().1;
    [cat, h].iter().for_each(|delta| drop(behind.apply(delta).unwrap()));
    assert_eq!((behind.text(), behind.vector()), ("chat".to_owned(), &since));
    behind.apply_state(&StateDiff::decode(&bytes("diff")).unwrap()).unwrap();
    assert_eq!((behind.text(), behind.snapshot()), ("scha".to_owned(), bob.snapshot()));

    let mut once = writer(1);
    once.replace(0, 0, "cat").unwrap();
    once.replace(0, 0, "s").unwrap();
    once.replace(3, 1, "").unwrap();
    let joined: Vec<Vec<u8>> = once.seal().iter().map(Delta::encode).collect();
    assert_eq!(joined, [bytes("joined")]);
}
