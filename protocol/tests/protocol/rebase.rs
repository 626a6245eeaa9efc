//! The rebase token: who of those that write at one place makes room there, and who does so without it.

use crate::harness::{Disk, World};
use selvedge_engine::{PATH_LEVELS_MAX, REBASE_LEVELS};
use selvedge_protocol::Instant;

/// The holder of nothing here: the token is elsewhere.
const SOMEBODY: (usize, u64, u64) = (99, 0, 0);

/// A world in which a document has devices that are up to date.
fn world(devices: usize) -> World {
    let mut world = World::new(41);
    for device in 0..devices {
        world.add(&format!("person {device}"), Disk::default());
    }
    world.run(1_000);
    world
}

fn levels(world: &World, device: usize) -> usize {
    world.replica(device).document().stats().depth_max
}

/// Types brackets within the innermost ones: one level deeper each time.
fn nest(world: &mut World, device: usize) {
    let middle = world.nodes[device].editor.len() / 2;
    world.type_at(device, middle, 0, "()");
}

/// Nests until text stands so many levels deep, `pause` milliseconds apart.
fn nest_to(world: &mut World, device: usize, depth: usize, pause: u64) {
    while levels(world, device) < depth {
        nest(world, device);
        world.run(pause);
    }
}

/// Two people write at one place, at the same moment when text comes to stand too deep there, and then by turns: how often room
/// is made, and the asks.
fn two_at_one_place(knows_token: bool, latency_ms: u64) -> (usize, usize) {
    let mut world = world(2);
    world.server.rebase_tokens = knows_token;
    for device in 0..2 {
        world.cut(device);
    }
    world.run(20_000);
    nest_to(&mut world, 0, REBASE_LEVELS, 10);
    world.run(1_000);
    world.latency_ms = latency_ms;
    (0..2).for_each(|device| nest(&mut world, device));
    for turn in 0..12 {
        world.run(200);
        nest(&mut world, turn % 2);
    }
    world.settle();
    (world.server.rebases(), world.server.asks.len())
}

#[test]
fn two_at_one_place_make_room_once_and_twice_without_the_token() {
    for latency_ms in [5, 20, 40] {
        let (with, asks) = two_at_one_place(true, latency_ms);
        let (without, none) = two_at_one_place(false, latency_ms);
        assert_eq!((with, without), (1, 2), "{latency_ms} ms");
        assert!((1..=3).contains(&asks), "{asks}");
        assert_eq!(none, 0, "a relay that does not know the token is not asked");
    }
}

#[test]
fn a_writer_asks_once_writes_on_and_makes_room_with_the_answer() {
    let mut world = world(1);
    nest_to(&mut world, 0, REBASE_LEVELS, 10);
    assert!(world.server.asks.is_empty(), "text of so many levels is well");
    // One edit asks, and those before the answer go deeper.
    for _ in 0..4 {
        nest(&mut world, 0);
        world.run(5);
    }
    assert_eq!((world.server.rebases(), levels(&world, 0)), (0, REBASE_LEVELS + 4));
    world.run(200);
    assert_eq!((world.server.asks.len(), world.server.rebases()), (1, 0), "room is made by an edit");
    nest(&mut world, 0);
    world.run(200);
    assert_eq!((world.server.asks.len(), world.server.rebases(), world.server.holder), (1, 1, None));
    assert!(levels(&world, 0) < REBASE_LEVELS / 2, "{}", levels(&world, 0));
    nest_to(&mut world, 0, REBASE_LEVELS + 1, 10);
    world.run(200);
    assert_eq!((world.server.asks.len(), world.server.rebases()), (2, 1), "for the next time it asks again");
    world.settle();
}

#[test]
fn offline_or_at_an_older_relay_room_is_made_without_asking() {
    let mut away = world(1);
    away.nodes[0].client.go_offline(Instant(away.now));
    let mut older = World::new(42);
    older.server.rebase_tokens = false;
    older.add("ann", Disk::default());
    older.run(1_000);
    for mut world in [away, older] {
        for _ in 0..REBASE_LEVELS + 20 {
            nest(&mut world, 0);
            world.run(10);
            assert!(levels(&world, 0) <= REBASE_LEVELS);
        }
        world.settle();
        assert_eq!((world.server.rebases(), world.server.asks.len()), (1, 0));
    }
}

#[test]
fn whose_answer_does_not_come_makes_room_at_the_last_level() {
    let mut world = world(1);
    nest_to(&mut world, 0, REBASE_LEVELS, 10);
    world.latency_ms = 60_000;
    nest_to(&mut world, 0, PATH_LEVELS_MAX, 0);
    nest(&mut world, 0);
    let depth = levels(&world, 0);
    assert!(depth < REBASE_LEVELS / 2, "as much room as ever: {depth}");
    nest_to(&mut world, 0, REBASE_LEVELS + 1, 0);
    world.latency_ms = 20;
    world.settle();
    assert_eq!(world.server.rebases(), 1);
}

#[test]
fn who_is_told_not_now_asks_again_later_and_makes_room_at_the_last_level() {
    let mut world = world(1);
    world.server.holder = Some((SOMEBODY, Instant(u64::MAX)));
    nest_to(&mut world, 0, PATH_LEVELS_MAX, 100);
    let asks: Vec<u64> = world.server.asks.iter().map(|(_, at)| *at).collect();
    assert!(asks.len() >= 3, "{asks:?}");
    assert!(asks.windows(2).all(|pair| pair[1] - pair[0] >= 500), "not before it was told to: {asks:?}");
    assert_eq!(world.server.rebases(), 0);
    nest(&mut world, 0);
    world.run(200);
    assert_eq!(world.server.rebases(), 1);
    world.settle();
}

#[test]
fn who_was_told_not_now_has_the_room_that_the_holder_made() {
    let mut world = world(2);
    nest_to(&mut world, 0, REBASE_LEVELS + 1, 10);
    world.run(200);
    nest(&mut world, 1);
    world.run(200);
    assert_eq!(world.server.asks.iter().map(|(device, _)| *device).collect::<Vec<_>>(), [0, 1]);
    nest(&mut world, 0);
    world.run(200);
    for _ in 0..10 {
        nest(&mut world, 1);
        world.run(200);
    }
    assert_eq!((world.server.rebases(), world.server.asks.len()), (1, 2));
    world.settle();
}

#[test]
fn what_was_granted_ends_by_time_and_with_the_connection() {
    let mut world = world(1);
    nest_to(&mut world, 0, REBASE_LEVELS + 1, 10);
    world.run(11_000);
    assert_eq!(world.server.asks.len(), 1);
    nest(&mut world, 0);
    assert_eq!(levels(&world, 0), REBASE_LEVELS + 2, "it has ended, and no room is made");
    world.run(200);
    assert_eq!(world.server.asks.len(), 2);
    world.cut(0);
    world.server.holder = None;
    world.run(20_000);
    nest(&mut world, 0);
    assert_eq!(levels(&world, 0), REBASE_LEVELS + 3);
    world.run(200);
    assert_eq!((world.server.asks.len(), world.server.rebases()), (3, 0));
    nest(&mut world, 0);
    world.settle();
    assert_eq!((world.server.asks.len(), world.server.rebases()), (3, 1));
}
