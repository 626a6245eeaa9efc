//! Named cases: whole-system stories told step by step, each the shortest way to something that once went wrong somewhere.

use selvedge_engine::{Document, SiteId};
use selvedge_region::LogRecord;

use super::clients::Device;
use super::dice::Dice;
use super::network::Link;
use super::plant::Plant;
use super::schedule::{MS, SECOND};
use super::shape::Shape;
use super::world::{Options, Stop, World, run};
use super::writer::Action;

/// A calm world in which nobody does anything by himself.
struct Case {
    world: World,
}

impl Case {
    /// `devices` devices, each with one tab, connected.
    fn new(devices: usize) -> Self {
        Self::with(devices, &Options { calm: true, ..Options::default() })
    }

    fn with(devices: usize, options: &Options) -> Self {
        let mut world = World::new(7, options);
        world.documents.truncate(1);
        world.devices = (0..devices)
            .map(|index| {
                Device::new(format!("anon:{index:032x}"), Link { delay: 20 * MS, jitter: 0, rate: 10_000_000 })
            })
            .collect();
        let relays = world.relays.len();
        for (index, device) in world.devices.iter_mut().enumerate() {
            (device.near, device.knows_one) = (index % relays, true);
        }
        let mut case = Self { world };
        case.held(|world| world.begin());
        case.run(3 * SECOND);
        case
    }

    #[track_caller]
    fn held<T>(&mut self, step: impl FnOnce(&mut World) -> Result<T, Stop>) -> T {
        match step(&mut self.world) {
            Ok(value) => value,
            Err(Stop(violation)) => {
                panic!("{}: {}\n{}", violation.invariant, violation.detail, self.world.trace.tail().join("\n"))
            }
        }
    }

    #[track_caller]
    fn run(&mut self, time: u64) {
        let end = self.world.schedule.now() + time;
        self.held(|world| world.advance(end));
    }

    fn load(&self, device: usize) -> usize {
        self.world.devices[device].tabs[0].expect("the tab is open")
    }

    #[track_caller]
    fn act(&mut self, device: usize, action: &Action) {
        let load = self.load(device);
        self.held(|world| world.act(load, 0, action));
    }

    #[track_caller]
    fn replace(&mut self, device: usize, at: usize, delete: usize, insert: &str) {
        self.act(device, &Action::Replace { at, delete, insert: insert.to_owned() });
    }

    /// Types one character after the other at the end.
    #[track_caller]
    fn types(&mut self, device: usize, text: &str, pause: u64) {
        for character in text.chars() {
            let at = self.length(device);
            self.replace(device, at, 0, &character.to_string());
            self.run(pause);
        }
    }

    fn length(&self, device: usize) -> usize {
        self.world.loads[self.load(device)].as_ref().expect("the load lives").opened[0].mirror.len()
    }

    fn text(&self, device: usize) -> String {
        String::from_utf16(&self.world.loads[self.load(device)].as_ref().expect("the load lives").opened[0].mirror)
            .expect("no surrogate stands alone")
    }

    #[track_caller]
    fn offline(&mut self, device: usize) {
        self.held(|world| world.go_offline(device, u64::MAX));
    }

    #[track_caller]
    fn online(&mut self, device: usize) {
        self.world.devices[device].offline_until = 0;
        self.held(|world| world.go_online(device));
    }

    /// Everything comes to rest and all is checked; the text in the end.
    #[track_caller]
    fn finish(mut self) -> String {
        self.held(|world| world.settle());
        self.run(60 * SECOND);
        self.held(|world| world.reckon());
        self.text(0)
    }
}

/// How often each letter stands in a text.
fn count(text: &str, letter: char) -> usize {
    text.chars().filter(|character| *character == letter).count()
}

#[test]
fn two_people_type_at_once() {
    let mut case = Case::new(2);
    for _ in 0..20 {
        case.types(0, "a", 30 * MS);
        case.types(1, "b", 20 * MS);
    }
    let text = case.finish();
    assert_eq!((count(&text, 'a'), count(&text, 'b')), (20, 20));
}

#[test]
fn a_power_cut_takes_the_last_outbox_writes_then_offline_edits_then_return() {
    for lost in 0..8 {
        let mut case = Case::new(2);
        case.types(0, "aaaa", 200 * MS);
        // A link that keeps everything on the way: the relay gets it late, after the device has forgotten it.
        case.world.devices[0].link = Link { delay: 3 * SECOND, jitter: 0, rate: 10_000_000 };
        case.types(0, "bbbbbb", 60 * MS);
        case.world.cut_power(0, lost);
        case.world.devices[0].offline_until = u64::MAX;
        case.run(SECOND);
        case.held(|world| world.open_tab(0, 0));
        case.types(0, "cccc", 60 * MS);
        case.types(1, "dd", 60 * MS);
        case.run(SECOND);
        case.world.devices[0].link = case.world.devices[0].usual_link;
        case.online(0);
        case.run(10 * SECOND);
        let text = case.finish();
        assert_eq!((count(&text, 'a'), count(&text, 'c'), count(&text, 'd')), (4, 4, 2), "{lost} lost: {text}");
        assert!(count(&text, 'b') <= 6, "{lost} lost: {text}");
    }
}

#[test]
fn somebody_joins_after_a_partial_ack() {
    let mut case = Case::new(3);
    case.world.crash_tab(2, 0, super::Fault::TabCrash);
    case.types(0, "aaaa", 100 * MS);
    // Half of what follows is cut off on its way, or its ack is.
    case.world.devices[0].link = Link { delay: 200 * MS, jitter: 0, rate: 10_000_000 };
    case.types(0, "bbbbbbbb", 80 * MS);
    let acked = case.world.books.acked_ops(&case.world.documents[0]);
    assert!((5..12).contains(&acked), "some of it is acked: {acked} of 12");
    let connections: Vec<_> = case.world.network.ids();
    for connection in connections {
        case.world.network.lose(connection, super::network::End::Relay);
        case.world.network.silence(connection, super::network::End::Client);
    }
    case.held(|world| world.open_tab(2, 0));
    case.types(2, "cc", 100 * MS);
    case.run(5 * SECOND);
    let text = case.finish();
    assert_eq!((count(&text, 'a'), count(&text, 'b'), count(&text, 'c')), (4, 8, 2));
}

/// The store of device 0 is kept at one moment and used at a later one, on the same device or on another.
fn copied(full_outbox: bool, restore: bool) {
    let mut case = Case::new(2);
    case.types(0, "aaaa", 100 * MS);
    case.run(5 * SECOND);
    if full_outbox {
        case.offline(0);
        case.types(0, "bbbb", 100 * MS);
        case.run(SECOND);
    }
    if restore {
        case.world.restore_device(0);
        case.types(0, "cccc", 100 * MS);
        case.run(2 * SECOND);
        case.world.restore_device(0);
        case.run(5 * SECOND);
        case.held(|world| world.open_tab(0, 0));
    } else {
        case.world.copy_profile(0);
        case.run(5 * SECOND);
        case.offline(2);
        case.types(2, "dddd", 100 * MS);
        case.types(0, "cccc", 100 * MS);
        case.online(2);
    }
    case.online(0);
    case.types(0, "ee", 100 * MS);
    case.types(1, "ff", 100 * MS);
    case.run(5 * SECOND);
    let text = case.finish();
    assert_eq!(count(&text, 'a'), 4, "{text}");
    assert_eq!(count(&text, 'b'), if full_outbox { 4 } else { 0 }, "{text}");
    // What a restored device wrote after its backup is gone only where it had never been sent.
    assert_eq!(count(&text, 'c'), if restore && full_outbox { 0 } else { 4 }, "{text}");
    assert_eq!(
        (count(&text, 'd'), count(&text, 'e'), count(&text, 'f')),
        (if restore { 0 } else { 4 }, 2, 2),
        "{text}"
    );
}

#[test]
fn a_profile_is_copied_without_an_outbox() {
    copied(false, false);
}

#[test]
fn a_profile_is_copied_with_an_outbox() {
    copied(true, false);
}

#[test]
fn a_backup_is_restored_without_an_outbox() {
    copied(false, true);
}

#[test]
fn a_backup_is_restored_with_an_outbox() {
    copied(true, true);
}

#[test]
fn a_crash_between_sending_and_storing() {
    let mut case = Case::new(2);
    case.types(0, "aaaa", 100 * MS);
    case.run(2 * SECOND);
    // Nothing is stored any more, everything is sent.
    case.world.devices[0].slow_store_until = u64::MAX;
    case.types(0, "bbbb", 5 * MS);
    case.run(60 * MS);
    let stored = case.world.devices[0].store.clone();
    case.run(500 * MS);
    case.world.crash_tab(0, 0, super::Fault::TabCrash);
    case.world.devices[0].store = stored;
    case.world.promise_what_is_stored(0);
    case.world.devices[0].slow_store_until = 0;
    case.run(10 * SECOND);
    case.types(0, "cc", 100 * MS);
    case.run(2 * SECOND);
    assert_eq!(count(&case.text(1), 'b'), 4, "what was sent is in the text");
    let text = case.finish();
    assert_eq!((count(&text, 'a'), count(&text, 'b'), count(&text, 'c')), (4, 4, 2));
}

#[test]
fn a_paste_of_300_kilobytes() {
    let mut case = Case::new(2);
    let paste: String = (0..30_000).map(|index| format!("line {:04}\n", index % 10_000)).collect();
    assert_eq!(paste.len(), 300_000);
    case.replace(0, 0, 0, "before after");
    case.run(SECOND);
    case.replace(0, 7, 0, &paste);
    case.run(30 * SECOND);
    assert_eq!(case.text(1), format!("before {paste}after"));
    let text = case.finish();
    assert_eq!(text, format!("before {paste}after"));
}

#[test]
fn a_replacement_at_5000_places() {
    let mut case = Case::new(2);
    let text = "warp weft ".repeat(5_000);
    case.replace(0, 0, 0, &text);
    case.run(20 * SECOND);
    let places = (0..5_000).rev().map(|index| (index * 10 + 5, 4)).collect();
    case.act(0, &Action::ReplaceAll { places, insert: "woof".to_owned() });
    case.replace(1, 0, 0, "> ");
    case.run(40 * SECOND);
    let expected = format!("> {}", "warp woof ".repeat(5_000));
    assert!(case.text(1) == expected, "the other person sees every replacement");
    assert!(case.finish() == expected);
}

#[test]
fn a_crash_after_each_chunk_of_a_state_diff() {
    // Text that does not pack well, so that its state takes several chunks.
    let mut dice = Dice::new(1);
    let text: String = (0..24_000).map(|_| format!("{:016x}\n", dice.bits())).collect();
    let mut of = usize::MAX;
    let mut chunks = 0;
    while chunks + 1 < of {
        chunks += 1;
        let mut case = Case::new(2);
        case.world.crash_tab(1, 0, super::Fault::TabCrash);
        case.replace(0, 0, 0, &text);
        case.run(30 * SECOND);
        // The reader has nothing and is sent the state; its tab is gone after the first, second, ... chunk.
        case.world.crash_tab(1, 0, super::Fault::TabCrash);
        case.world.devices[1].store = Default::default();
        case.world.devices[1].saved.clear();
        case.world.chunks = super::world::Chunks { shuffle: true, stop_after: Some(chunks), ..Default::default() };
        case.held(|world| world.open_tab(1, 0));
        case.run(5 * SECOND);
        assert!(case.world.chunks.stopped, "a crash after {chunks} of {of}");
        of = case.world.chunks.of;
        assert_eq!(case.length(1), 0, "nothing changes before the last chunk");
        case.world.crash_tab(1, 0, super::Fault::TabCrash);
        case.world.chunks = super::world::Chunks { shuffle: true, ..Default::default() };
        case.run(10 * SECOND);
        assert!(case.finish() == text);
    }
    assert!(of > 3, "the state came in several chunks: {of}");
}

#[test]
fn a_hole_that_nobody_can_fill_is_closed() {
    for plant in [None, Some(Plant::HoleLeftOpen)] {
        let mut case = Case::with(2, &Options { calm: true, shape: Shape::Relays, plant, ..Options::default() });
        case.types(0, "aa", 100 * MS);
        case.run(2 * SECOND);
        // Of what somebody wrote the first half is nowhere, and he is gone.
        let halves = two_halves("bb", "cc");
        case.held(|world| {
            halves.iter().try_for_each(|half| {
                let document = world.documents[0].clone();
                world.learn(&document, half, "a device")
            })
        });
        case.held(|world| {
            let document = world.documents[0].clone();
            let record = LogRecord::new(document, 1, "anon:gone".to_owned(), halves[1].clone());
            if world.regions[0].log.append(u64::MAX, vec![record]) {
                world.begin_sync(0);
            }
            Ok(())
        });
        case.run(20 * SECOND);
        assert_eq!((count(&case.text(0), 'b'), count(&case.text(0), 'c')), (0, 0));
        case.run(60 * SECOND);
        let text = case.text(1);
        assert_eq!((count(&text, 'b'), count(&text, 'c')), if plant.is_none() { (0, 2) } else { (0, 0) }, "{text}");
        if plant.is_none() {
            assert_eq!(count(&case.finish(), 'c'), 2);
        }
    }
}

#[test]
fn what_only_a_connected_reader_has_is_given_back() {
    for plant in [None, Some(Plant::KeptToOneself)] {
        let mut case = Case::with(2, &Options { calm: true, shape: Shape::Relays, plant, ..Options::default() });
        case.types(0, "aa", 100 * MS);
        case.run(2 * SECOND);
        // The log is away; one relay shows what waits for it, the other one hears it, and both relay and author are lost.
        case.world.regions[0].weather.refusing = true;
        // One delta: of two the bus may bring the second first, which shows nothing.
        case.replace(0, 2, 0, "bb");
        case.run(SECOND);
        assert_eq!(count(&case.text(1), 'b'), 2, "the reader at the other relay is shown it");
        case.world.crash_relay(0);
        case.world.crash_tab(0, 0, super::Fault::TabCrash);
        case.world.devices[0].store = Default::default();
        case.world.devices[0].saved.clear();
        // What the lost relay had asked of the log comes to nothing, too.
        case.run(2 * SECOND);
        case.world.regions[0].weather.refusing = false;
        case.run(30 * SECOND);
        let (author, reader) = (case.text(0), case.text(1));
        assert_eq!(count(&reader, 'b'), 2, "nobody takes from the reader what he was shown: {reader}");
        assert_eq!(count(&author, 'b'), if plant.is_none() { 2 } else { 0 }, "{author}");
        if plant.is_none() {
            assert_eq!(count(&case.finish(), 'b'), 2);
        }
    }
}

#[test]
fn a_copy_does_not_come_back_to_the_log_it_came_from() {
    // A region is lost and built anew: what it had is copied to it from the other one, where it was a copy itself.
    let records = [None, Some(Plant::FirstOriginKept)].map(|plant| {
        let mut case = Case::with(2, &Options { calm: true, shape: Shape::Regions, plant, ..Options::default() });
        case.types(0, "aaaa", SECOND);
        case.run(5 * SECOND);
        case.world.wipe_region(0);
        case.run(60 * SECOND);
        assert_eq!(count(&case.text(1), 'a'), 4);
        let records = [0, 1].map(|region: usize| case.world.regions[region].log.head());
        if plant.is_none() {
            assert_eq!(count(&case.finish(), 'a'), 4);
        }
        records
    });
    assert_eq!(records[0], [4, 4]);
    assert!(records[1][0] > 400, "what keeps its first origin goes round for ever: {:?}", records[1]);
}

/// Two people write brackets within brackets at one place, each at a relay of its own; how many times room was made. `forgets`: the bus keeps no lock.
fn nested_by_two(forgets: bool) -> u64 {
    let mut case = Case::with(2, &Options { calm: true, shape: Shape::Relays, ..Options::default() });
    let made = |case: &Case| case.world.figures.get("rebases appended").copied().unwrap_or_default();
    let nest_beside = |case: &mut Case, device, offset: isize| {
        let middle = case.length(device) / 2;
        case.replace(device, middle.strict_add_signed(offset), 0, "()");
    };
    let nest = |case: &mut Case, device| nest_beside(case, device, 0);
    for _ in 0..48 {
        nest(&mut case, 0);
        case.run(10 * MS);
    }
    case.run(SECOND);
    for turn in 0..12 {
        match turn {
            // At the same moment: both ask.
            0 => (0..2).for_each(|device| nest(&mut case, device)),
            // Both have their answers. Of the two pairs that stand side by side now, each goes on in one.
            1 => [-1, 1].into_iter().enumerate().for_each(|(device, offset)| nest_beside(&mut case, device, offset)),
            _ => nest(&mut case, turn % 2),
        }
        for _ in 0..200 {
            case.run(MS);
            if forgets {
                case.world.tokens.clear();
            }
        }
    }
    let made = made(&case);
    let text = case.finish();
    assert_eq!(count(&text, '('), count(&text, ')'));
    made
}

#[test]
fn two_at_one_place_and_two_relays_make_room_once() {
    assert_eq!((nested_by_two(false), nested_by_two(true)), (1, 2));
}

#[test]
fn seeds_whose_people_nest_hold_and_ask_for_the_token() {
    for shape in Shape::ALL {
        let options = Options { shape: *shape, seconds: 40, ..Options::default() };
        let nesting = (0..).filter(|seed| World::new(*seed, &options).nesting).take(2);
        let mut granted = 0;
        for seed in nesting {
            let outcome = run(seed, &options);
            let figure = |name: &str| outcome.figures.get(name).copied().unwrap_or_default();
            assert!(outcome.violation.is_none(), "seed {seed} of {}: {:?}", shape.name(), outcome.violation);
            assert!(figure("rebases appended") > 0, "seed {seed} of {}", shape.name());
            granted += figure("rebase tokens granted");
        }
        assert!(granted > 0, "{}", shape.name());
    }
}

/// Two deltas of one author.
fn two_halves(first: &str, second: &str) -> [Vec<u8>; 2] {
    let mut document = Document::new();
    document.begin_writing(SiteId::random(99), 1).expect("nobody writes it yet");
    [first, second].map(|word| {
        document.replace(document.len_utf16(), 0, word).expect("it is within the text");
        document.seal().remove(0).encode()
    })
}

#[test]
fn one_seed_is_one_story() {
    for (shape, seed) in Shape::ALL.iter().flat_map(|shape| [(*shape, 3), (*shape, 1_003)]) {
        let options = Options { shape, ..Options::default() };
        let (first, second) = (run(seed, &options), run(seed, &options));
        assert_eq!(first.hash, second.hash, "seed {seed} of {}", shape.name());
        assert_eq!(first.faults, second.faults, "seed {seed} of {}", shape.name());
    }
}
