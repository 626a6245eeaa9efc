//! The stream codec is lossless over any deltas, and any bytes are read or refused.

use proptest::prelude::*;
use selvedge_engine::{Delta, Digit, Direction, Dot, DotRange, Element, Op, Path, Piece, Rebase, SiteId};

use super::*;
use crate::Random;
use crate::error::DecodeError;
use crate::level::Instant;

fn site() -> impl Strategy<Value = SiteId> {
    prop_oneof![(0u32..6).prop_map(|index| SiteId::leased(0, index)), (0u64..3).prop_map(SiteId::random)]
}

fn path() -> impl Strategy<Value = Path> {
    let element = (1i64..200, any::<bool>(), site(), 1i64..500);
    prop::collection::vec(element, 0..5).prop_map(|elements| {
        let mut path = Path::root();
        for (digit, hashed, site, k) in elements {
            let mut element = Element { digit: Digit::new(digit), site, k };
            if hashed {
                element.digit = Digit::hashed(element.dot(), path.depth());
            }
            path.push(element);
        }
        path
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::option::of(path()), -200i64..200, any::<bool>(), prop_oneof![9 => "[a-z\u{e9}\u{1f600}]{1,40}", 1 => "[a-e ]{200,900}"]).prop_map(
            |(parent, digit, after, text)| Op::Insert {
                parent: parent.unwrap_or_default(),
                digit: Digit::new(if digit == 0 { 1 } else { digit }),
                direction: if after { Direction::After } else { Direction::Before },
                text,
            }
        ),
        2 => prop::collection::btree_map((site(), 0u64..40), 0u64..8, 1..6).prop_map(|starts| Op::Delete {
            ranges: starts
                .into_iter()
                .map(|((site, start), length)| {
                    let first = start * 10 + 1;
                    DotRange { site, first, last: first + length }
                })
                .collect(),
        }),
        1 => ("[a-z]{0,9}", prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 1u64..1000)
            .prop_map(|(key, value, lamport)| Op::Meta { key, value, lamport }),
        1 => (1u64..100).prop_map(|length| Op::Void { length }),
        1 => (prop::option::of(path()), 1i64..200, 1u64..9, prop::collection::vec((0u64..3, site(), any::<bool>(), 1u64..5), 1..5))
            .prop_map(|(parent, digit, lamport, drawn)| {
                let (mut slot, mut first) = (0, 1);
                let pieces = drawn.into_iter().map(|(gap, site, falling, length)| {
                    slot += gap + 1;
                    first += 5;
                    let first_k = if falling { -(first + length as i64 - 1) } else { first };
                    Piece { slot: slot - 1, site, first_k, length }
                });
                let pieces = pieces.collect();
                let digit = Digit::new(digit);
                Op::Rebase(Box::new(Rebase { parent: parent.unwrap_or_default(), digit, lamport, spacing: 3, pieces }))
            }),
    ]
}

fn deltas() -> impl Strategy<Value = Vec<Delta>> {
    let delta = (site(), 1u64..1000, any::<bool>(), prop::collection::vec(op(), 1..6));
    prop::collection::vec(delta, 0..12).prop_map(|drawn| {
        let mut deltas: Vec<Delta> = Vec::new();
        for (site, first, continues, ops) in drawn {
            let before = deltas.iter().rev().find(|delta| delta.site == site).map(Delta::last);
            let first = before.filter(|_| continues).map_or(first, |last| last + 1);
            deltas.push(Delta { site, first, ops });
        }
        deltas.retain(|delta| delta.validate().is_ok());
        deltas
    })
}

proptest! {
    #[test]
    fn deltas_come_back_with_their_durable_bytes(deltas in deltas(), cut: prop::sample::Index) {
        let mut encoder = StreamEncoder::new();
        let mut decoder = StreamDecoder::new();
        let cut = cut.index(deltas.len() + 1);
        for part in [&deltas[..cut], &deltas[cut..]] {
            let mut bytes = Vec::new();
            part.iter().for_each(|delta| encoder.push(delta, &mut bytes));
            let read = decoder.decode(&bytes).unwrap();
            prop_assert_eq!(&read[..], part);
            for (a, b) in read.iter().zip(part) {
                prop_assert_eq!(a.encode(), b.encode());
            }
            prop_assert_eq!(encoder.state(), StreamEncoder::from_state(&encoder.state()).unwrap().state());
            // Who joins here reads on as one who was there from the start.
            decoder = StreamDecoder::from_state(&encoder.state()).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = StreamDecoder::from_state(&bytes);
        if let Ok(deltas) = StreamDecoder::new().decode(&bytes) {
            prop_assert!(deltas.iter().all(|delta| delta.validate().is_ok()));
        }
    }

    #[test]
    fn changed_bytes_are_read_or_refused(deltas in deltas(), at: prop::sample::Index, byte: u8) {
        let mut encoder = StreamEncoder::new();
        let mut bytes = Vec::new();
        deltas.iter().for_each(|delta| encoder.push(delta, &mut bytes));
        if !bytes.is_empty() {
            *at.get_mut(&mut bytes) = byte;
            let _ = StreamDecoder::new().decode(&bytes);
        }
    }

    #[test]
    fn changed_states_are_read_or_refused(deltas in deltas(), at: prop::sample::Index, byte: u8, next in deltas()) {
        let mut encoder = StreamEncoder::new();
        deltas.iter().for_each(|delta| encoder.push(delta, &mut Vec::new()));
        let mut state = encoder.state();
        *at.get_mut(&mut state) = byte;
        let mut bytes = Vec::new();
        next.iter().chain(&deltas).for_each(|delta| encoder.push(delta, &mut bytes));
        if let Ok(mut decoder) = StreamDecoder::from_state(&state) {
            let _ = decoder.decode(&bytes);
        }
        if let Ok(mut encoder) = StreamEncoder::from_state(&state) {
            prop_assert_eq!(StreamEncoder::from_state(&encoder.state()).unwrap().state(), encoder.state());
            next.iter().chain(&deltas).for_each(|delta| encoder.push(delta, &mut bytes));
        }
    }

    #[test]
    fn a_room_is_read_from_wherever_one_joins(deltas in deltas(), join: prop::sample::Index, renew: prop::sample::Index) {
        let mut room = RoomEncoder::new(Instant(0));
        let (join, renew) = (join.index(deltas.len() + 1), renew.index(deltas.len() + 1));
        let mut reader = RoomDecoder::new();
        for (at, delta) in deltas.iter().enumerate() {
            if at == join {
                reader.join(Some(&room.state(Instant(0)))).unwrap();
            }
            let now = Instant(if at >= renew { EPOCH_MS } else { 0 });
            for message in room.encode(std::slice::from_ref(delta), None, now) {
                if at >= join {
                    prop_assert_eq!(reader.decode(&message).unwrap(), vec![delta.clone()]);
                }
            }
        }
        let alone: Vec<_> = standalone(&deltas, None).iter().flat_map(|one| reader.decode(one).unwrap()).collect();
        prop_assert_eq!(alone, deltas);
    }
}

fn typed(site: SiteId, first: u64) -> Delta {
    let insert =
        Op::Insert { parent: Path::root(), digit: Digit::new(9), direction: Direction::After, text: "a".into() };
    Delta { site, first, ops: vec![insert] }
}

fn deleted(site: SiteId, first: u64, dot: u64) -> Delta {
    Delta { site, first, ops: vec![Op::Delete { ranges: vec![DotRange { site, first: dot, last: dot }] }] }
}

#[test]
fn a_keystroke_costs_a_byte_beside_its_text() {
    let (a, b) = (SiteId::random(1), SiteId::random(2));
    let mut encoder = StreamEncoder::new();
    let mut bytes_of = |delta: Delta| {
        let mut bytes = Vec::new();
        encoder.push(&delta, &mut bytes);
        bytes.len()
    };
    assert!(bytes_of(typed(a, 1)) > 8, "the site is named once");
    assert_eq!(bytes_of(typed(a, 2)), 2);
    assert_eq!(bytes_of(typed(a, 3)), 2);
    assert_eq!(bytes_of(deleted(a, 4, 3)), 1, "the character typed last");
    assert_eq!(bytes_of(deleted(a, 5, 2)), 1, "the one before it");
    assert_eq!(bytes_of(typed(a, 6)), 2);
    assert!(bytes_of(typed(b, 1)) > 8);
    assert_eq!(bytes_of(typed(a, 7)), 3, "after another author");
    assert_eq!(bytes_of(typed(b, 2)), 3);
    assert_eq!(bytes_of(deleted(b, 3, 1)), 1);
    assert_eq!(bytes_of(deleted(b, 4, 2)), 1, "the one behind it");
}

/// Documents of two sites that write anywhere: each insert in a fork of a run, or before or behind one's own.
struct Anywhere {
    random: Random,
    next: [u64; 2],
    runs: Vec<(Path, Element, Direction, u64)>,
}

impl Anywhere {
    fn new() -> Self {
        Self { random: Random::new(3), next: [1; 2], runs: Vec::new() }
    }

    fn delta(&mut self) -> Delta {
        let author = self.random.below(2) as usize;
        let site = SiteId::random(author as u64);
        let first = self.next[author];
        let length = 1 + self.random.below(4);
        let (parent, digit, direction) = self.stand(Dot::new(site, first));
        self.next[author] = first + length;
        let k = if direction == Direction::After { first as i64 } else { -((first + length - 1) as i64) };
        self.runs.push((parent.clone(), Element { digit, site, k }, direction, length));
        let text = "x".repeat(length as usize);
        Delta { site, first, ops: vec![Op::Insert { parent, digit, direction, text }] }
    }

    fn stand(&mut self, dot: Dot) -> (Path, Digit, Direction) {
        if self.runs.is_empty() {
            return (Path::root(), Digit::new(7), Direction::After);
        }
        // Mostly near the newest, where the paths grow deep.
        let reach = if self.random.below(4) == 0 { self.runs.len() } else { self.runs.len().min(40) };
        let at = self.runs.len() - 1 - self.random.below(reach as u64) as usize;
        let (parent, element, direction, length) = &self.runs[at];
        let deep = parent.depth() > 40;
        if element.site == dot.site && (deep || self.random.below(2) == 0) {
            let direction = if self.random.below(2) == 0 { Direction::After } else { Direction::Before };
            return (parent.clone(), element.digit, direction);
        }
        let mut path = if deep { Path::root() } else { parent.clone() };
        if !deep {
            path.push(Element { k: element.k + self.random.below(*length) as i64, ..*element });
        }
        let level = path.depth();
        let digit = if self.random.below(4) == 0 { Digit::new(5) } else { Digit::hashed(dot, level) };
        (path, digit, *direction)
    }
}

#[test]
fn runs_are_remembered_and_forgotten_alike_on_both_sides() {
    let mut written = Anywhere::new();
    let mut encoder = StreamEncoder::new();
    let mut decoders = vec![StreamDecoder::new()];
    let (mut bytes, mut most) = (Vec::new(), 0);
    for n in 0..5 * GENERATION_RUNS {
        let delta = written.delta();
        bytes.clear();
        encoder.push(&delta, &mut bytes);
        for decoder in &mut decoders {
            assert_eq!(decoder.decode(&bytes).unwrap(), vec![delta.clone()], "{n}");
        }
        if n % 1500 == 700 {
            let state = encoder.state();
            most = most.max(state.len());
            decoders.push(StreamDecoder::from_state(&state).unwrap());
            if n % 3000 == 700 {
                encoder = StreamEncoder::from_state(&state).unwrap();
            }
        }
    }
    assert!(most < 12 * 2 * GENERATION_RUNS, "{most}");
}

#[test]
fn a_caret_that_jumps_costs_three_bytes_beside_the_text() {
    let site = SiteId::leased(0, 1);
    let mut encoder = StreamEncoder::new();
    let mut bytes_of = |parent: &[(i64, i64)], digit: Option<i64>, direction, first: u64, text: &str| {
        let element = |&(digit, k): &(i64, i64)| Element { digit: Digit::new(digit), site, k };
        let parent = Path::from(parent.iter().map(element).collect::<Vec<_>>());
        let hashed = Digit::hashed(Dot::new(site, first), parent.depth());
        let op = Op::Insert { digit: digit.map_or(hashed, Digit::new), parent, direction, text: text.into() };
        let mut bytes = Vec::new();
        encoder.push(&Delta { site, first, ops: vec![op] }, &mut bytes);
        bytes.len() - text.len()
    };
    use Direction::{After, Before};
    assert_eq!(bytes_of(&[], None, After, 1, "some text"), 4, "the site is new");
    let digit = Digit::hashed(Dot::new(site, 1), 0).get();
    assert_eq!(bytes_of(&[(digit, 9)], None, After, 10, "behind"), 2);
    assert_eq!(bytes_of(&[(digit, 2)], None, After, 16, "within"), 3);
    let below = Digit::hashed(Dot::new(site, 10), 1).get();
    assert_eq!(bytes_of(&[(digit, 9)], Some(below), After, 22, "more behind"), 2);
    assert_eq!(bytes_of(&[(digit, 9)], Some(below), Before, 33, "more before"), 2);
    assert_eq!(bytes_of(&[(digit, 9), (below, 15)], Some(300), After, 44, "a digit"), 4);
    assert_eq!(bytes_of(&[(digit, 9), (below, 15)], Some(-300), Before, 51, "a direction"), 5);
    let far = [(digit, 9), (below, 15), (-300, -61), (7, 4000)];
    assert_eq!(bytes_of(&far, None, After, 62, "what is not remembered"), 9);
    assert_eq!(bytes_of(&far, Some(8), After, 84, "now it is"), 3);
}

#[test]
fn a_lost_frame_is_noticed_and_the_next_epoch_heals_it() {
    let typed = |first| Delta { site: SiteId::random(1), first, ops: vec![Op::Void { length: 1 }] };
    let mut room = RoomEncoder::new(Instant(0));
    let mut reader = RoomDecoder::new();
    reader.join(Some(&room.state(Instant(0)))).unwrap();
    let mut send = |n, now| room.encode(&[typed(n)], None, Instant(now)).remove(0);
    assert!(reader.decode(&send(1, 0)).is_ok());
    let _lost = send(2, 0);
    assert_eq!(reader.decode(&send(3, 0)), Err(DecodeError::StreamGap));
    assert_eq!(reader.decode(&send(4, EPOCH_MS)).unwrap(), vec![typed(4)]);
}

#[test]
fn memory_stays_bounded_on_both_sides() {
    let mut encoder = StreamEncoder::new();
    let mut decoder = StreamDecoder::new();
    let mut most = 0;
    for n in 0..5_000 {
        let delta = Delta { site: SiteId::random(n), first: 1, ops: vec![Op::Void { length: 1 }] };
        let mut bytes = Vec::new();
        encoder.push(&delta, &mut bytes);
        assert_eq!(decoder.decode(&bytes).unwrap(), vec![delta]);
        most = most.max(encoder.state().len());
    }
    assert!(most < 16 * 1024, "{most}");
}

#[test]
fn a_place_is_checked_again_where_it_is_not_the_one_last_checked() {
    let site = SiteId::leased(0, 1);
    let insert = |parent: &Path, text: &str| Op::Insert {
        parent: parent.clone(),
        digit: Digit::new(1),
        direction: Direction::After,
        text: text.to_owned(),
    };
    let fits = |path: &Path, first| Delta { site, first, ops: vec![insert(path, "a")] }.validate().is_ok();
    // So long that only counters of one byte fit behind it.
    let mut elements = vec![Element { digit: Digit::new(1), site, k: 1 }; 62];
    for at in 0..elements.len() {
        for bits in (6..52).step_by(7) {
            let before = std::mem::replace(&mut elements[at].k, 1 << bits);
            if !fits(&elements.as_slice().into(), 1) {
                elements[at].k = before;
            }
        }
    }
    let long: Path = elements.into();
    assert!(fits(&long, 63) && !fits(&long, 64));

    let typed = |first, ops| Delta { site, first, ops };
    let near = typed(100, vec![insert(&Path::root(), "a")]);
    let far = typed(62, vec![insert(&long, "a"), Op::Void { length: 1 }]);
    let beyond = typed(64, vec![insert(&long, "b")]);
    let (mut encoder, mut decoder) = (StreamEncoder::new(), StreamDecoder::new());
    let mut bytes = Vec::new();
    [&near, &far].into_iter().for_each(|delta| encoder.push(delta, &mut bytes));
    assert_eq!(decoder.decode(&bytes).unwrap(), [near, far]);
    bytes.clear();
    encoder.push(&beyond, &mut bytes);
    assert_eq!(bytes.len(), 2, "an extension");
    assert!(matches!(decoder.decode(&bytes), Err(DecodeError::Delta(_))), "an identifier of more than 512 bytes");
}

#[test]
fn a_delta_that_is_too_long_to_be_kept_is_refused() {
    let read = |lengths: &[usize]| {
        let insert = |&length: &usize| Op::Insert {
            parent: Path::root(),
            digit: Digit::new(1),
            direction: Direction::After,
            text: "a".repeat(length),
        };
        let delta = Delta { site: SiteId::leased(0, 1), first: 1, ops: lengths.iter().map(insert).collect() };
        let mut bytes = Vec::new();
        StreamEncoder::new().push(&delta, &mut bytes);
        let read = StreamDecoder::new().decode(&bytes);
        assert_eq!(read.is_ok(), Delta::decode(&delta.encode()).is_ok(), "{lengths:?}");
        read
    };
    assert!(read(&[16_384, 16_350]).is_ok());
    assert!(matches!(read(&[16_384, 16_384]), Err(DecodeError::TooLarge { .. })));
}

fn pasted(first: u64, text: &str) -> Delta {
    let op =
        Op::Insert { parent: Path::root(), digit: Digit::new(7), direction: Direction::After, text: text.to_owned() };
    Delta { site: SiteId::leased(0, 1), first, ops: vec![op] }
}

/// So many words, of which some come again and again.
fn prose(seed: u64, words: u64) -> String {
    let mut random = Random::new(seed);
    (0..words).map(|_| format!("word{:x} ", random.draw() % 300)).collect()
}

#[test]
fn a_long_paste_is_packed_and_what_follows_goes_on_from_it() {
    let (mut encoder, mut decoder) = (StreamEncoder::new(), StreamDecoder::new());
    let text = prose(1, 200);
    let mut bytes = Vec::new();
    let deltas = [pasted(1, &text), typed(SiteId::leased(0, 1), 1 + text.len() as u64), pasted(3000, &text)];
    deltas.iter().for_each(|delta| encoder.push(delta, &mut bytes));
    assert!(bytes.len() < text.len(), "{} bytes for twice {}", bytes.len(), text.len());
    assert_eq!(decoder.decode(&bytes), Ok(deltas.to_vec()));
    // What repeats too much for a reader to trust it goes as it is.
    let mut repeated = Vec::new();
    StreamEncoder::new().push(&pasted(1, &"weft ".repeat(400)), &mut repeated);
    assert!(repeated.len() > 2000);
    // What no packing shortens goes as it is.
    let noise: String = (0..600_u64).map(|at| char::from(b' ' + (Random::new(at).draw() % 95) as u8)).collect();
    let mut plain = Vec::new();
    StreamEncoder::new().push(&pasted(1, &noise), &mut plain);
    assert!(plain.len() <= noise.len() + 16);
    assert_eq!(StreamDecoder::new().decode(&plain), Ok(vec![pasted(1, &noise)]));
}

/// A delta of these numbers and texts, each with the length it is said to have.
fn in_parts(numbers: (usize, &[u8]), texts: (usize, &[u8])) -> Vec<u8> {
    let mut bytes = vec![code::PACKED];
    for (length, part) in [numbers, texts] {
        crate::varint::write_varint(&mut bytes, length as u64);
        crate::varint::write_varint(&mut bytes, part.len() as u64);
    }
    [&bytes, numbers.1, texts.1].concat()
}

#[test]
fn what_is_not_packed_as_it_says_is_refused() {
    let read = |numbers: (usize, &[u8]), texts: (usize, &[u8])| StreamDecoder::new().decode(&in_parts(numbers, texts));
    let text = prose(2, 30);
    let delta = pasted(1, &text);
    let mut plain = Vec::new();
    StreamEncoder::new().push(&delta, &mut plain);
    assert!(plain.len() < PACKED_FROM_BYTES, "too short to be packed by itself");
    let (packed, length) = (selvedge_engine::packing::deflate(text.as_bytes()), text.len());
    let (numbers, texts) = plain.split_at(plain.len() - length);
    let numbers = (numbers.len(), numbers);
    // A part may be as it is.
    assert_eq!(read(numbers, (length, &packed)), Ok(vec![delta.clone()]));
    assert_eq!(read(numbers, (length, texts)), Ok(vec![delta]));
    let malformed =
        |read: Result<Vec<Delta>, DecodeError>| assert!(matches!(read, Err(DecodeError::Malformed(_))), "{read:?}");
    malformed(read(numbers, (length - 1, &packed)));
    malformed(read(numbers, (length + 1, &packed)));
    malformed(read(numbers, (length, &packed[1..])));
    malformed(read(numbers, (length, &[&packed[..], &[0]].concat())));
    malformed(read((numbers.0 + 1, numbers.1), (length, &packed)));
    // Less text than is said, more, and half a character.
    malformed(read(numbers, (length - 1, &texts[1..])));
    malformed(read(numbers, (length + 1, &[texts, b"s"].concat())));
    malformed(read(numbers, (length, &[&texts[1..], &[0xc3]].concat())));
    let too_large =
        |read: Result<Vec<Delta>, DecodeError>| assert!(matches!(read, Err(DecodeError::TooLarge { .. })), "{read:?}");
    too_large(read(numbers, ((packed.len() + numbers.0) * 8 + 1, &packed)));
    too_large(read(numbers, (usize::MAX, &packed)));
    too_large(read((UNPACKED_BYTES_MAX + 1, &[0; 16 * 1024]), (0, &[])));
    too_large(read((UNPACKED_BYTES_MAX / 2 + 1, &[0; 16 * 1024]), (UNPACKED_BYTES_MAX / 2, &[0; 16 * 1024])));
    // More than a delta, one that is packed again, and none.
    let twice = numbers.1.repeat(2);
    malformed(read((twice.len(), &twice), (2 * length, texts.repeat(2).as_slice())));
    let within = in_parts(numbers, (length, &packed));
    malformed(read((within.len(), &within), (0, &[])));
    assert!(read((0, &[]), (0, &[])).is_err());
    for cut in 1..within.len() {
        assert!(StreamDecoder::new().decode(&within[..cut]).is_err());
    }
}

/// A character at the border of two texts belongs to one of them.
#[test]
fn texts_apart_are_divided_between_characters() {
    let (mut encoder, mut decoder) = (StreamEncoder::new(), StreamDecoder::new());
    let site = SiteId::leased(0, 1);
    let op = |text: &str| Op::Insert {
        parent: Path::root(),
        digit: Digit::new(5),
        direction: Direction::After,
        text: text.to_owned(),
    };
    let mut random = Random::new(7);
    let ops = (0..200).map(|_| op(["é", "水", "😀", "x", "水é"][(random.draw() % 5) as usize])).collect();
    let delta = Delta { site, first: 1, ops };
    let mut bytes = Vec::new();
    encoder.push(&delta, &mut bytes);
    assert_eq!(bytes[0], code::PACKED);
    assert_eq!(decoder.decode(&bytes), Ok(vec![delta]));
    // An insert of two bytes and one of one, of which the first takes half a character.
    let numbers = |lengths: [u8; 2]| {
        let mut plain = Vec::new();
        StreamEncoder::new().push(&Delta { site, first: 1, ops: vec![op("xx"), op("x")] }, &mut plain);
        plain.retain(|&byte| byte != b'x');
        let heads: Vec<usize> = (0..plain.len()).filter(|&at| [5 | 2 << 4, 1 << 3].contains(&plain[at])).collect();
        let [.., first, second] = heads[..] else { panic!("{plain:?}") };
        plain[first] = 5 | (plain[first] & 8) | lengths[0] << 4;
        plain[second] = lengths[1] << 3;
        plain
    };
    let text = "éx".as_bytes();
    let read = |numbers: Vec<u8>| StreamDecoder::new().decode(&in_parts((numbers.len(), &numbers), (text.len(), text)));
    assert!(read(numbers([2, 1])).is_ok());
    assert_eq!(read(numbers([1, 2])), Err(DecodeError::Malformed("a text that is not there")));
}

#[test]
fn what_names_more_than_its_packed_bytes_may_goes_as_it_is() {
    let site = SiteId::leased(0, 1);
    // Operations of two letters and a byte that names a path of so many elements.
    let packs = |depth: u64, count: u64| {
        let mut random = Random::new(depth);
        let elements: Vec<_> = (1..=depth).map(|k| Element { digit: Digit::new(7), site, k: k as i64 }).collect();
        let parent: Path = elements.into();
        let mut op = || {
            let text: String = (0..2).map(|_| char::from(b'a' + (random.draw() % 20) as u8)).collect();
            Op::Insert { parent: parent.clone(), digit: Digit::new(9), direction: Direction::After, text }
        };
        let deltas = [1, count].map(|count| (0..count).map(|_| op()).collect::<Vec<_>>());
        let mut first = depth + 1;
        let (mut encoder, mut decoder) = (StreamEncoder::new(), StreamDecoder::new());
        let mut is_packed = false;
        for ops in deltas {
            let delta = Delta { site, first, ops };
            first += delta.ops.iter().map(Op::counters).sum::<u64>();
            let mut bytes = Vec::new();
            encoder.push(&delta, &mut bytes);
            assert_eq!(decoder.decode(&bytes), Ok(vec![delta]));
            is_packed = bytes[0] == code::PACKED;
        }
        is_packed
    };
    assert!(packs(4, 300), "three bytes name four elements");
    assert!(!packs(60, 300), "three bytes name sixty elements");
}

#[test]
fn what_few_packed_bytes_may_not_claim_is_refused() {
    let site = SiteId::leased(0, 1);
    // Operations of a letter out of so many, on a path of so many elements that the first delta spells.
    let read = |depth: u64, letters: u64| {
        let mut random = Random::new(letters);
        let elements: Vec<_> = (1..=depth).map(|k| Element { digit: Digit::new(7), site, k: k as i64 }).collect();
        let parent: Path = elements.into();
        let mut op = || Op::Insert {
            parent: parent.clone(),
            digit: Digit::new(9),
            direction: Direction::After,
            text: char::from(b'a' + (random.draw() % letters) as u8).to_string(),
        };
        let (first, rest) = (vec![op()], (0..2000).map(|_| op()).collect());
        let (mut encoder, mut decoder) = (StreamEncoder::new(), StreamDecoder::new());
        let mut head = Vec::new();
        encoder.push(&Delta { site, first: depth + 1, ops: first }, &mut head);
        decoder.decode(&head).expect("it is not packed");
        let mut plain = Vec::new();
        encoder.write(&Delta { site, first: depth + 2, ops: rest }, &mut plain);
        // Each operation is a byte and a letter.
        let (numbers, texts) = plain.split_at(plain.len() - 2 * 2000);
        let (mut numbers, mut letters) = (numbers.to_vec(), Vec::new());
        for pair in texts.chunks(2) {
            numbers.push(pair[0]);
            letters.push(pair[1]);
        }
        let [first, second] = [&numbers, &letters].map(|part| selvedge_engine::packing::deflate(part));
        let bytes = in_parts((numbers.len(), &first), (letters.len(), &second));
        decoder.decode(&bytes).map(|deltas| deltas.len())
    };
    let too_large = |read| match read {
        Err(DecodeError::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(1, 20), Ok(1));
    assert_eq!(too_large(read(60, 20)), "the paths of a delta");
    assert_eq!(too_large(read(1, 3)), "the operations of a delta");
    assert_eq!(too_large(read(1, 2)), "a packed delta");
}
