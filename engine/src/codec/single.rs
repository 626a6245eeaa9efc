//! A delta of one operation, written and read without the operation in between: what a keystroke sends. Read are also two, an insert
//! and the delete of what it takes the place of.
//!
//! The bytes are those of [`super::delta`]. A reader takes only what it recognises and leaves everything else, the
//! damaged and the not canonical included, to that module.

use super::delta::{
    BEFORE, DELETE, DELTA, Decoder, INSERT, PLACED, Ranges, SINGLE, digit_code, digit_of, placed, read_header,
    read_placed, write_path, write_placed,
};
use super::site_numbers::SiteNumbers;
use super::{Reader, Writer};
use crate::delta::{DeltaHeader, validate_ranges};
use crate::id::{Dot, DotRange, SiteId};
use crate::limits::OP_TEXT_BYTES_MAX;
use crate::op::Direction;
use crate::position::{Digit, Element};

/// Text at a place whose path is spelled already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleInsert<'a> {
    pub(crate) digit: Digit,
    /// Levels of the path it stands on.
    pub(crate) depth: usize,
    pub(crate) direction: Direction,
    pub(crate) text: &'a str,
}

/// Bytes of a delta that is one insert at most, path and text not counted: kind, code, and five numbers.
const NUMBERS_BYTES_MAX: usize = 2 + 5 * 10;
/// Bytes to reserve for an element: few take more.
const ELEMENT_BYTES_GUESS: usize = 6;

/// The path an insert stands on, as the first operation of a delta of `site` spells it: depth and elements. O(d).
pub(crate) fn spell_path(site: SiteId, elements: &[Element]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + elements.len() * ELEMENT_BYTES_GUESS);
    write_path(&mut writer, &mut SiteNumbers::of(site), elements);
    writer.finish()
}

/// Writes the durable bytes of a delta that is one insert on the path `spelled`. O(bytes).
pub(crate) fn write_insert(writer: &mut Writer, header: DeltaHeader, spelled: &[u8], insert: SingleInsert<'_>) {
    let code = digit_code(insert.digit, Dot::new(header.site, header.first), insert.depth);
    writer.reserve(NUMBERS_BYTES_MAX + spelled.len() + insert.text.len());
    begin(writer, header);
    writer.byte(INSERT | placed(code) | if insert.direction == Direction::Before { BEFORE } else { 0 });
    writer.raw(spelled);
    write_placed(writer, code);
    writer.blob(insert.text.as_bytes());
}

/// Writes the durable bytes of a delta that deletes one range of dots.
pub(crate) fn write_delete(writer: &mut Writer, header: DeltaHeader, range: DotRange) {
    let foreign = range.site != header.site;
    begin(writer, header);
    writer.byte(DELETE | SINGLE);
    writer.varint(u64::from(foreign));
    if foreign {
        writer.varint(range.site.get());
    }
    writer.varint(range.first);
    writer.varint(range.last - range.first);
}

fn begin(writer: &mut Writer, header: DeltaHeader) {
    let DeltaHeader { site, first, last } = header;
    writer.byte(DELTA);
    writer.varint(site.get());
    writer.varint(first);
    writer.varint(last - first + 1);
}

/// The path read last, and its bytes: the next one often begins with the same elements, which are not read again.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeardPath {
    /// Of the delta: references in the bytes depend on it.
    site: SiteId,
    /// Depth and elements.
    bytes: Vec<u8>,
    pub(crate) elements: Vec<Element>,
    /// Where the bytes of each element end.
    ends: Vec<u16>,
}

impl HeardPath {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the path that bytes of a delta of `site` begin with, and answers what follows. O(bytes that are not those of the path
    /// before).
    fn read<'a>(&mut self, site: SiteId, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.begin(site, bytes);
        let rest = self.read_on(bytes);
        match rest {
            Some(rest) => {
                self.bytes.clear();
                self.bytes.extend_from_slice(&bytes[..bytes.len() - rest.len()]);
            }
            None => *self = Self::default(),
        }
        rest
    }

    /// Keeps the elements that these bytes begin with too.
    fn begin(&mut self, site: SiteId, bytes: &[u8]) {
        let known = match (bytes.split_first(), self.bytes.split_first()) {
            (Some((&depth, next)), Some((_, before))) if site == self.site => {
                let same = 1 + common_prefix(next, before);
                self.ends.iter().take(usize::from(depth)).take_while(|&&end| usize::from(end) <= same).count()
            }
            _ => 0,
        };
        self.site = site;
        self.elements.truncate(known);
        self.ends.truncate(known);
    }

    /// Reads the elements behind those that are known.
    fn read_on<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let mut decoder = Decoder::new(Reader::new(bytes), self.site);
        let depth = decoder.depth().ok()?;
        if let Some(&end) = self.ends.last() {
            decoder.skip(&self.elements, usize::from(end) - 1);
        }
        for level in self.elements.len()..depth {
            let above = self.elements.last().map_or(self.site, |above| above.site);
            self.elements.push(decoder.element(level, above).ok()?);
            self.ends.push((bytes.len() - decoder.rest().len()) as u16);
        }
        Some(decoder.rest())
    }
}

/// How many bytes both begin with: eight at a time.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_words, b_words) = (a.chunks_exact(8), b.chunks_exact(8));
    let same = a_words.zip(b_words).take_while(|(a, b)| a == b).count() * 8;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// A delta's header and its first operation's code, the rest unread.
pub(crate) struct SingleReader<'a> {
    pub(crate) header: DeltaHeader,
    code: u8,
    rest: Reader<'a>,
}

impl<'a> SingleReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::new(bytes);
        let header = read_header(&mut rest).ok()?;
        let code = rest.byte().ok()?;
        Some(Self { header, code, rest })
    }

    pub(crate) const fn is_insert(&self) -> bool {
        self.code & !(BEFORE | PLACED) == INSERT
    }

    /// The one insert of the delta, if it stands on the path `spelled`, of `depth` levels. Its counters are not checked
    /// against its text.
    pub(crate) fn insert(&self, spelled: &[u8], depth: usize) -> Option<SingleInsert<'a>> {
        let (insert, behind) = self.insert_after(self.rest.strip_prefix(spelled)?, depth)?;
        behind.is_empty().then_some(insert)
    }

    /// The insert that the delta begins with, whose path is then `heard`, and what is behind it. The bytes of the path are not counted,
    /// nor the counters checked against the text.
    pub(crate) fn heard_insert(&self, heard: &mut HeardPath) -> Option<(SingleInsert<'a>, &'a [u8])> {
        let rest = heard.read(self.header.site, self.rest.rest())?;
        self.insert_after(Reader::new(rest), heard.elements.len())
    }

    /// The rest of the insert behind its path of `depth` levels, and what is behind it.
    fn insert_after(&self, rest: Reader<'a>, depth: usize) -> Option<(SingleInsert<'a>, &'a [u8])> {
        let mut rest = rest;
        let code = read_placed(&mut rest, self.code & PLACED != 0).ok()?;
        let digit = digit_of(code, Dot::new(self.header.site, self.header.first), depth).ok()?;
        let text = simdutf8::basic::from_utf8(rest.blob().ok()?).ok()?;
        let valid = !text.is_empty() && text.len() <= OP_TEXT_BYTES_MAX;
        let direction = if self.code & BEFORE != 0 { Direction::Before } else { Direction::After };
        valid.then_some((SingleInsert { digit, depth, direction, text }, rest.rest()))
    }

    /// The ranges of the one delete of the delta.
    pub(crate) fn deletes(&self) -> Option<Ranges> {
        let (ranges, _) = self.ranges(self.code, self.rest.rest())?;
        (self.header.first == self.header.last).then_some(ranges)
    }

    /// The ranges of a delete, if that is all there is behind the insert, and it names the delta's site alone: numbers of others depend
    /// on the path.
    pub(crate) fn deletes_behind(&self, behind: &[u8]) -> Option<Ranges> {
        let (&code, rest) = behind.split_first()?;
        let (ranges, names_no_other) = self.ranges(code, rest)?;
        names_no_other.then_some(ranges)
    }

    /// The ranges of a delete of this code, if these bytes are no more, and whether they name no site but the delta's.
    fn ranges(&self, code: u8, bytes: &[u8]) -> Option<(Ranges, bool)> {
        let flags = code & !DELETE;
        if code & DELETE == 0 || flags & !SINGLE != 0 {
            return None;
        }
        let mut decoder = Decoder::new(Reader::new(bytes), self.header.site);
        let ranges = decoder.ranges(flags).ok()?;
        let valid = decoder.rest().is_empty() && validate_ranges(&ranges).is_ok();
        valid.then(|| (ranges, decoder.names_no_other()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn path(steps: &[(u32, i64, bool)]) -> Vec<Element> {
        let element = |(level, &(site, k, hashed)): (usize, &(u32, i64, bool))| {
            let site = SiteId::leased(0, site);
            let hash = Digit::hashed(Dot::new(site, k.unsigned_abs()), level);
            Element { digit: if hashed { hash } else { Digit::new(-hash.get()) }, site, k }
        };
        steps.iter().enumerate().map(element).collect()
    }

    proptest! {
        #[test]
        fn a_path_is_read_on_from_the_one_before(
            paths in vec((1u32..3, vec((1u32..3, 1i64..3, proptest::bool::ANY), 0..5)), 1..8),
            noise in vec(0u8..9, 0..12),
        ) {
            let mut heard = HeardPath::default();
            for (site, steps) in paths {
                let (site, elements) = (SiteId::leased(0, site), path(&steps));
                let bytes = spell_path(site, &elements);
                prop_assert!(heard.read(site, &bytes).is_some_and(<[u8]>::is_empty));
                prop_assert_eq!(&heard.elements, &elements);
                let mut other = heard.clone();
                let damaged = [&bytes[..bytes.len() / 2], &noise].concat();
                prop_assert_eq!(other.read(site, &damaged), HeardPath::default().read(site, &damaged));
            }
        }
    }
}
