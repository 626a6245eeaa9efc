//! The client machine against a server in memory: sync, acks, loss, reconnects.

use crate::harness::{Disk, World};
use selvedge_protocol::client::*;
use selvedge_protocol::message::{Ack, Drain};
use selvedge_protocol::{AckLevel, Channel, CloseCode, Instant, Rights};

#[test]
fn two_devices_type_and_agree() {
    let mut world = World::new(1);
    let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
    world.append(a, "offline first. ");
    world.run(500);
    assert_eq!(world.status(a), Status::Connected);
    for turn in 0..20 {
        world.append(if turn % 2 == 0 { a } else { b }, "word ");
        world.run(turn * 7);
    }
    world.settle();
    assert!(world.text(a).starts_with("offline first. "));
    assert_eq!(world.text(a).matches("word ").count(), 20);
    assert_eq!(world.server.gaps, 0);
}

#[test]
fn a_device_offline_edits_is_closed_opened_again_and_comes_back() {
    let mut world = World::new(2);
    let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
    world.append(a, "one ");
    world.run(3_000);
    world.nodes[a].client.go_offline(Instant(world.now));
    world.pump(a);
    world.append(a, "two ");
    world.append(b, "three ");
    world.run(3_000);
    world.restart(a, false);
    assert!(world.text(a).contains("two ") && world.text(a).contains("one "), "own text is there without a server");
    world.append(a, "four ");
    world.run(3_000);
    world.restart(a, false);
    assert!(world.text(a).contains("four "));
    assert_eq!(world.status(a), Status::Offline);
    assert!(!world.saved(a).is_saved(AckLevel::Region));
    world.settle();
    for word in ["one ", "two ", "three ", "four "] {
        assert_eq!(world.text(b).matches(word).count(), 1);
    }
}

#[test]
fn levels_are_told_in_their_order() {
    let mut world = World::new(3);
    world.server.highest = AckLevel::Replicated;
    let a = world.add("ann", Disk::default());
    world.run(500);
    world.append(a, "x");
    let mark = world.saved(a).edited;
    assert!(!world.saved(a).is_saved_through(mark, AckLevel::Device));
    world.run(6);
    assert!(world.saved(a).is_saved_through(mark, AckLevel::Device));
    world.run(500);
    assert!(world.saved(a).is_saved_through(mark, AckLevel::Region));
    assert!(!world.saved(a).is_saved_through(mark, AckLevel::Replicated));
    world.run(5_000);
    assert_eq!(world.nodes[a].disk.outbox.len(), 1, "the outbox keeps it until the highest level");
    world.server.replicate();
    world.deliver();
    world.run(100);
    assert!(world.saved(a).is_saved(AckLevel::Replicated));
    world.settle();
}

#[test]
fn an_ack_that_goes_back_changes_nothing() {
    let mut world = World::new(4);
    let a = world.add("ann", Disk::default());
    world.append(a, "text");
    world.run(500);
    let site = world.replica(a).site().unwrap();
    world.server.send_all(Ack { site, region: 1, replicated: 0 });
    world.server.send_all(Ack { site, region: 0, replicated: 0 });
    world.deliver();
    world.run(500);
    assert!(world.saved(a).is_saved(AckLevel::Region));
    world.settle();
}

#[test]
fn a_paste_larger_than_every_window_arrives() {
    let mut world = World::new(5);
    let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
    world.run(500);
    world.append(a, &"0123456789".repeat(60_000));
    world.run(5_000);
    assert_eq!(world.text(b).len(), 600_000);
    world.settle();
}

#[test]
fn an_announced_outbox_waits_for_credit() {
    let mut world = World::new(6);
    world.server.credit = 2_000;
    let a = world.add_with("ann", Disk::default(), false, false);
    for n in 0..200 {
        world.append(a, &format!("line {n} with some words in it\n"));
        world.run(60);
    }
    world.settle();
    assert!(world.text(a).contains("line 199 "));
}

#[test]
fn a_silent_server_is_suspected_and_replaced() {
    let mut world = World::new(7);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    world.append(a, "x");
    world.server.silent = true;
    world.run(1_000);
    let before = world.nodes[a].seen.len();
    world.run(3_000);
    let connects = world.nodes[a].seen[before..].iter().filter(|effect| matches!(effect, Effect::Connect { .. }));
    assert!(connects.count() >= 1, "another endpoint is tried while the first is silent");
    world.server.silent = false;
    world.run(4_000);
    assert_eq!(world.status(a), Status::Connected);
    world.settle();
}

#[test]
fn a_dead_server_is_tried_again_with_growing_waits() {
    let mut world = World::new(8);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    world.set_server(false);
    let before = world.nodes[a].seen.len();
    world.run(60_000);
    let tries = world.nodes[a].seen[before..].iter().filter(|effect| matches!(effect, Effect::Connect { .. })).count();
    assert!((5..=40).contains(&tries), "{tries}");
    world.append(a, "meanwhile");
    world.set_server(true);
    world.run(16_000);
    assert_eq!(world.status(a), Status::Connected);
    world.settle();
}

#[test]
fn a_draining_server_is_left_only_when_the_next_is_up() {
    let mut world = World::new(9);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    let ids: Vec<_> = world.server.connections.keys().copied().collect();
    for id in ids {
        world.server.send(id, Channel::CONNECTION, Drain { endpoints: Vec::new(), after_ms: 300 });
    }
    world.deliver();
    let before = world.nodes[a].seen.len();
    world.run(1_000);
    let seen = &world.nodes[a].seen[before..];
    let offline = seen.iter().any(|effect| matches!(effect, Effect::Link { link: None }));
    let moved = seen.iter().any(|effect| matches!(effect, Effect::Link { link: Some(_) }));
    assert!(moved && !offline);
    world.settle();
}

#[test]
fn refused_pushes_stay_and_can_be_tried_again_or_discarded() {
    for discard in [false, true] {
        let mut world = World::new(10);
        let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
        world.append(a, "good ");
        world.run(2_000);
        world.server.refuse = Some(CloseCode::TOO_LARGE);
        world.append(a, "bad ");
        world.run(1_000);
        assert_eq!(world.status(a), Status::ReadOnly);
        let now = Instant(world.now);
        let channel = world.nodes[a].channel;
        let error = world.nodes[a].client.edit(channel, 0, 0, "x", now).unwrap_err();
        assert_eq!((error.code(), error.retryable()), ("read-only", true));
        assert!(world.text(a).contains("bad "), "own text stays visible");
        world.server.refuse = None;
        world.append(b, "other ");
        world.run(2_000);
        assert!(world.text(a).contains("other "), "still receives");
        assert!(!world.saved(a).is_saved(AckLevel::Region));
        world.nodes[a].discards = discard;
        if discard {
            world.nodes[a].client.discard_refused(channel, now);
        } else {
            world.nodes[a].client.retry_refused(channel, now);
        }
        world.pump(a);
        world.settle();
        assert_eq!(world.text(b).contains("bad "), !discard);
    }
}

/// A device whose text the server has up to its quota, and that has pasted too much and, before it knew, deleted and typed.
fn over_quota(seed: u64) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
    world.append(a, "0123456789");
    world.run(2_000);
    world.server.text_bytes_max = 20;
    world.append(a, "far too much of it");
    world.run(1);
    world.type_at(a, 0, 2, "");
    world.append(a, "!");
    world.run(2_000);
    (world, a, b)
}

#[test]
fn a_full_document_goes_on_taking_deletes() {
    for seed in 0..20 {
        let (mut world, a, b) = over_quota(seed);
        let refusals = |world: &World| {
            world.nodes[a].seen.iter().filter(|effect| matches!(effect, Effect::Refused { .. })).count()
        };
        assert_eq!((world.status(a), refusals(&world)), (Status::ReadOnly, 1));
        assert_eq!(world.text(b), "23456789", "the delete behind what was refused has passed");
        let (channel, now) = (world.nodes[a].channel, Instant(world.now));
        let error = world.nodes[a].client.edit(channel, 0, 1, "x", now).unwrap_err();
        assert_eq!((error.code(), error.retryable()), ("read-only", true));
        assert!(world.text(a).ends_with("far too much of it!"), "own text stays visible");
        // Of its own text that was refused, too.
        world.type_at(a, 0, 2, "");
        let end = world.text(a).len();
        world.type_at(a, end - 7, 7, "");
        world.run(1_000);
        assert_eq!(world.text(b), "456789");
        assert!(!world.saved(a).is_saved(AckLevel::Region));
        assert!(!world.nodes[a].disk.outbox.is_empty(), "what was refused is kept");
        world.type_at(a, 0, 6, "");
        world.run(600_000);
        assert_eq!(world.text(b), "far too much", "there was room again, and it was tried again by itself");
        assert_eq!((world.status(a), refusals(&world)), (Status::Connected, 1));
        world.append(a, ".");
        world.settle();
    }
}

#[test]
fn what_a_quota_refused_outlives_the_process_and_passes_when_there_is_room() {
    let (mut world, a, b) = over_quota(30);
    world.restart(a, true);
    world.run(5_000);
    assert!(world.text(a).ends_with("far too much of it!"));
    assert_eq!(world.status(a), Status::ReadOnly);
    world.type_at(a, 0, 1, "");
    world.run(2_000);
    assert_eq!(world.text(b), "3456789");
    world.server.text_bytes_max = 1_000;
    world.cut(a);
    world.settle();
    assert_eq!(world.text(b), "3456789far too much of it!");
}

#[test]
fn a_paste_that_was_too_much_can_be_taken_back_or_given_up() {
    for discard in [false, true] {
        let (mut world, a, b) = over_quota(40);
        let channel = world.nodes[a].channel;
        let now = Instant(world.now);
        if discard {
            world.nodes[a].discards = true;
            world.nodes[a].client.discard_refused(channel, now);
            world.pump(a);
            world.run(2_000);
            assert_eq!(world.status(a), Status::Connected);
            assert_eq!(world.text(a), "23456789");
        } else {
            let patches = world.nodes[a].client.undo(channel, now).unwrap();
            for patch in patches {
                let editor = &mut world.nodes[a].editor;
                editor.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
            }
            world.pump(a);
            assert_eq!(world.text(a), "", "all of it was one step, and taking it back only deletes");
            assert!(world.nodes[a].client.redo(channel, now).is_err(), "doing it again would bring text");
        }
        let length = world.text(a).encode_utf16().count();
        world.type_at(a, 0, length, "");
        world.run(60_000);
        world.append(a, "new");
        world.settle();
        assert_eq!(world.text(b), "new", "discard: {discard}");
    }
}

#[test]
fn what_was_given_up_does_not_come_back_with_the_next_load() {
    let (mut world, a, b) = over_quota(50);
    world.run(3_000);
    let (channel, now) = (world.nodes[a].channel, Instant(world.now));
    world.nodes[a].discards = true;
    world.nodes[a].client.discard_refused(channel, now);
    world.pump(a);
    let mut waited = 0;
    while world.text(a) != "23456789" {
        world.run(1);
        waited += 1;
        assert!(waited < 2_000, "{}", world.text(a));
    }
    // As long as a store takes, and far less than a changed state may wait.
    world.run(20);
    world.set_server(false);
    world.restart(a, true);
    world.run(100);
    assert_eq!(world.text(a), "23456789");
    world.set_server(true);
    world.append(a, ".");
    world.settle();
    assert_eq!(world.text(b), "23456789.");
}

#[test]
fn a_beginning_waits_for_what_the_server_has() {
    let seeded = |world: &mut World, name: &str, text: &str| {
        world.initial_text = Some(text.to_owned());
        let index = world.add(name, Disk::default());
        assert_eq!(world.text(index), text, "at once, whatever the network");
        index
    };
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.server.up = false;
        let (a, b) = (seeded(&mut world, "ann", "Dear all,\n"), seeded(&mut world, "bob", "Dear all,\n"));
        world.append(a, "a ");
        world.append(b, "b ");
        world.run(100);
        world.restart(a, false);
        assert_eq!(world.text(a), "Dear all,\na ");
        world.settle();
        assert_eq!((world.text(b).matches("Dear").count(), world.text(b).len()), (1, 14));
        world.server.up = false;
        let c = seeded(&mut world, "cem", "Another beginning\n");
        world.append(c, "c ");
        world.nodes[c].discards = true;
        world.settle();
        assert!(!world.text(a).contains("Another") && world.text(a).contains("c "), "{}", world.text(a));
        assert_eq!(world.server.document.text(), world.text(c));
    }
}

#[test]
fn lost_rights_make_it_read_only() {
    let mut world = World::new(11);
    world.server.rights = Rights::Read;
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    assert_eq!(world.status(a), Status::ReadOnly);
    world.server.send_all(selvedge_protocol::message::RightsChanged { rights: Rights::Write });
    world.deliver();
    world.run(100);
    assert_eq!(world.status(a), Status::Connected);
    world.append(a, "now");
    world.settle();
}

#[test]
fn a_new_generation_hands_the_old_copy_out_and_starts_over() {
    let mut world = World::new(12);
    let a = world.add("ann", Disk::default());
    world.append(a, "old text");
    world.run(3_000);
    world.set_server(false);
    world.append(a, " unsent");
    world.run(1_000);
    world.nodes[a].discards = true;
    world.server.rebuild("new text");
    world.settle();
    assert_eq!(world.text(a), "new text");
    let reset = world.nodes[a].seen.iter().find_map(|effect| match effect {
        Effect::Reset { previous, unsent_ops, .. } => Some((previous.clone(), *unsent_ops)),
        _ => None,
    });
    let (previous, unsent) = reset.unwrap();
    assert_eq!(selvedge_engine::Document::load(&previous).unwrap().text(), "old text unsent");
    assert_eq!(unsent, 7);
    world.append(a, "!");
    world.settle();
}

#[test]
fn presence_is_coalesced_and_ends_with_the_connection() {
    let mut world = World::new(13);
    let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
    world.run(1_000);
    for n in 0..100u8 {
        let (channel, now) = (world.nodes[a].channel, Instant(world.now));
        world.nodes[a].client.set_presence(channel, Some(vec![n]), now).unwrap();
        world.pump(a);
        world.run(10);
    }
    world.run(500);
    let seen: Vec<PresenceChange> = world.nodes[b]
        .seen
        .iter()
        .filter_map(|effect| match effect {
            Effect::Presence { changed, .. } => Some(changed.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert!((8..=12).contains(&seen.len()), "{}", seen.len());
    assert_eq!(seen.last().unwrap().data, Some(vec![99]));
    assert_eq!(seen.last().unwrap().user, Some("ann".into()));
    world.cut(b);
    world.run(50);
    let gone = world.nodes[b]
        .seen
        .iter()
        .any(|effect| matches!(effect, Effect::Presence { changed, .. } if changed[0].data.is_none()));
    assert!(gone);
}

#[test]
fn a_leased_site_is_given_back_when_everything_is_acknowledged() {
    let mut world = World::new(14);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    world.append(a, "abc");
    let site = world.replica(a).site().unwrap();
    world.run(2_000);
    let (channel, now) = (world.nodes[a].channel, Instant(world.now));
    world.nodes[a].client.close(channel, now);
    world.pump(a);
    world.run(2_000);
    assert_eq!(world.server.released, vec![(site, 3)]);
    assert!(world.nodes[a].client.replica(channel).is_none());
    assert!(world.nodes[a].disk.outbox.is_empty());
    assert!(world.nodes[a].disk.state.is_some());
}

#[test]
fn a_full_device_says_so_and_goes_on() {
    let mut world = World::new(15);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    world.nodes[a].store_fails = vec![StoreError::Quota, StoreError::Failed("disk".into())];
    world.append(a, "x");
    world.run(20);
    assert!(world.nodes[a].seen.iter().any(|effect| matches!(effect, Effect::StoreFailed { .. })));
    world.run(10_000);
    world.settle();
}

#[test]
fn the_same_gap_told_for_ever_neither_spins_nor_floods() {
    let mut world = World::new(16);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    world.append(a, "x");
    let site = world.replica(a).site().unwrap();
    world.server.refuse = Some(CloseCode::RATE_LIMITED);
    world.append(a, "y");
    world.run(500);
    let before = world.nodes[a].seen.len();
    for _ in 0..100 {
        world.server.send_all(selvedge_protocol::message::Gap { site, have: 0 });
        world.deliver();
        world.run(50);
    }
    let sends = world.nodes[a].seen[before..].iter().filter(|effect| matches!(effect, Effect::Send { .. })).count();
    assert!(sends <= 40, "{sends}");
}

/// A client without a relay whose document nobody stores.
fn alone(seed: u64) -> (Client, Channel) {
    let config = ClientConfig {
        endpoints: Vec::new(),
        signed: false,
        transports: Vec::new(),
        token: None,
        seed,
        client: "test".into(),
        online: false,
    };
    let mut client = Client::new(config, Instant(0));
    let document = "t/notes".parse().unwrap();
    let channel = client.open(ReplicaConfig::new(document, "ann", seed), Instant(0)).unwrap();
    effects(&mut client);
    (client, channel)
}

fn effects(client: &mut Client) -> Vec<Effect> {
    std::iter::from_fn(|| client.poll_effect()).collect()
}

#[test]
fn a_flush_hands_out_each_delta_once_and_tells_the_rest_later() {
    let ((mut a, here), (mut b, there)) = (alone(1), alone(2));
    let now = Instant(5);
    assert_eq!(a.flush(here, now), None);
    for (at, word) in [(0, "one "), (4, "two "), (8, "three ")] {
        a.edit(here, at, 0, word, now).unwrap();
        let flushed = a.flush(here, now).unwrap();
        assert!(!flushed.more);
        b.apply_from_tab(there, flushed.delta, now).unwrap();
    }
    // More than one delta holds.
    a.edit(here, 14, 0, &"long ".repeat(20_000), now).unwrap();
    while let Some(flushed) = a.flush(here, now) {
        b.apply_from_tab(there, flushed.delta, now).unwrap();
    }
    assert_eq!(a.replica(here).unwrap().document().text(), b.replica(there).unwrap().document().text());
    let told = effects(&mut a);
    assert!(!told.iter().any(|effect| matches!(effect, Effect::LocalDelta { .. })), "once is enough");
    assert!(told.iter().any(|effect| matches!(effect, Effect::Saved { state, .. } if state.edited == 4)));
}

#[test]
fn what_nobody_will_ever_take_is_counted_and_not_kept() {
    let (mut a, here) = alone(1);
    let pending = |client: &Client, now| client.replica(here).unwrap().saved(now);
    a.edit(here, 0, 0, "one", Instant(5)).unwrap();
    assert_eq!(pending(&a, Instant(9)).device.ops, 3, "before it is sealed");
    let mut bytes = a.flush(here, Instant(9)).unwrap().delta.len() as u64;
    a.edit(here, 3, 0, " two", Instant(20)).unwrap();
    bytes += a.flush(here, Instant(20)).unwrap().delta.len() as u64;
    a.edit(here, 7, 0, "!", Instant(30)).unwrap();
    let state = pending(&a, Instant(35));
    assert_eq!((state.edited, state.oldest_pending_ms), (3, 30));
    for level in [state.device, state.region, state.replicated] {
        assert_eq!((level.ops, level.bytes, level.through), (8, bytes, 0));
    }
    a.seal(here, Instant(35));
    assert_eq!(pending(&a, Instant(35)).region.ops, 8);
}

#[test]
fn changes_from_elsewhere_are_told_only_where_somebody_watches() {
    let ((mut a, here), (mut b, there)) = (alone(1), alone(2));
    let now = Instant(5);
    let mut bring = |b: &mut Client, meta: bool| {
        match meta {
            true => a.set_meta(here, "title", Some(b"Minutes"), now).unwrap(),
            false => drop(a.edit(here, 0, 0, "word ", now).unwrap()),
        }
        let delta = a.flush(here, now).unwrap().delta;
        b.apply_from_tab(there, delta, now).unwrap();
        effects(b)
    };
    let tells_text = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Patch { .. }));
    let tells_meta = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Meta { .. }));
    assert!(tells_text(&bring(&mut b, false)));
    b.watch(there, false);
    assert!(!tells_text(&bring(&mut b, false)));
    b.watch(there, true);
    let told = bring(&mut b, false);
    assert!(tells_text(&told) && !tells_meta(&told));
    assert!(tells_meta(&bring(&mut b, true)));
    assert!(!tells_meta(&bring(&mut b, false)));
}

#[test]
fn a_delta_whose_predecessor_is_missing_is_told_apart_from_a_damaged_one() {
    let ((mut a, here), (mut b, there)) = (alone(1), alone(2));
    let now = Instant(5);
    a.edit(here, 0, 0, "one", now).unwrap();
    let first = a.flush(here, now).unwrap().delta.to_vec();
    a.edit(here, 3, 0, "two", now).unwrap();
    let second = a.flush(here, now).unwrap().delta.to_vec();
    assert_eq!(b.apply_from_tab(there, &second, now), Err(Error::Missing));
    assert!(matches!(b.apply_from_tab(there, &[1, 2, 3], now), Err(Error::Update(_))));
    b.apply_from_tab(there, &first, now).unwrap();
    b.apply_from_tab(there, &second, now).unwrap();
    assert_eq!(b.replica(there).unwrap().document().text(), "onetwo");
}
