//! The client machine under faults: power cuts, copied profiles, restored backups, lost outboxes, refused sites.

use crate::harness::{Disk, World};
use selvedge_protocol::client::*;
use selvedge_protocol::{AckLevel, CloseCode, Instant, Random};

/// A device that has typed and synced three words, and one more that has not left it.
fn typed(seed: u64) -> (World, usize) {
    let mut world = World::new(seed);
    let a = world.add("ann", Disk::default());
    for word in ["one ", "two ", "three "] {
        world.append(a, word);
        world.run(700);
    }
    world.run(3_000);
    (world, a)
}

fn go_offline(world: &mut World, index: usize) {
    let now = Instant(world.now);
    world.nodes[index].client.go_offline(now);
    world.pump(index);
}

#[test]
fn a_power_cut_loses_the_last_outbox_writes_and_no_counter_is_used_twice() {
    for lost in 0..6 {
        let mut world = World::new(100 + lost);
        let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
        world.run(500);
        for n in 0..6 {
            world.append(a, &format!("w{n} "));
            world.run(60);
        }
        // The disk forgets its last writes, though the device had been told that they were durable.
        let history = &world.nodes[a].history;
        let disk = history[history.len().saturating_sub(1 + lost as usize)].clone();
        world.nodes[a].disk = disk;
        world.restart(a, false);
        world.append(a, "offline ");
        world.run(1_000);
        world.settle();
        for n in 0..6 {
            assert_eq!(world.text(b).matches(&format!("w{n} ")).count(), 1, "lost {lost}: {}", world.text(b));
        }
        assert_eq!(world.text(b).matches("offline ").count(), 1);
    }
}

#[test]
fn a_crash_between_sending_and_storing_brings_the_text_back_from_the_server() {
    let (mut world, a) = typed(110);
    world.nodes[a].store_ms = 5_000;
    world.append(a, "sent ");
    world.run(200);
    assert!(world.server.document.text().contains("sent "));
    assert!(world.nodes[a].disk.outbox.is_empty());
    world.restart(a, true);
    world.append(a, "after ");
    world.settle();
    assert_eq!(world.text(a).matches("sent ").count(), 1);
    assert_eq!(world.text(a).matches("after ").count(), 1);
}

#[test]
fn a_crash_after_each_store_transaction_loses_nothing_stored() {
    let mut world = World::new(111);
    let a = world.add("ann", Disk::default());
    for n in 0..8 {
        world.append(a, &format!("w{n} "));
        world.run(if n % 3 == 0 { 1_300 } else { 30 });
    }
    world.run(3_000);
    let (history, server) = (world.nodes[a].history.clone(), world.server.document.text());
    for (step, disk) in history.into_iter().enumerate() {
        world.nodes[a].disk = disk;
        world.restart(a, false);
        world.append(a, &format!("crash{step} "));
        world.run(500);
        world.restart(a, true);
        world.settle();
        assert_eq!(world.text(a).matches(&format!("crash{step} ")).count(), 1);
        for n in 0..8 {
            assert_eq!(world.text(a).matches(&format!("w{n} ")).count(), server.matches(&format!("w{n} ")).count());
        }
    }
}

#[test]
fn a_device_that_joins_after_a_partial_ack_loses_and_doubles_nothing() {
    let mut world = World::new(112);
    world.server.highest = AckLevel::Replicated;
    let a = world.add("ann", Disk::default());
    world.run(500);
    world.append(a, "first ");
    world.run(300);
    world.server.replicate();
    world.deliver();
    world.append(a, "second ");
    world.run(10);
    world.cut(a);
    world.append(a, "third ");
    let kept: Vec<_> = world.nodes[a].disk.outbox.values().map(|entry| entry.acked).collect();
    assert!(kept.iter().any(|acked| *acked < AckLevel::Region), "not all is acked: {kept:?}");
    assert!(world.server.document.text().starts_with("first "), "and some is");
    world.restart(a, false);
    world.append(a, "fourth ");
    world.run(1_000);
    world.settle();
    for word in ["first ", "second ", "third ", "fourth "] {
        // What was typed in the instant of the crash may not have reached the disk; nothing is doubled.
        assert!(world.text(a).matches(word).count() <= 1);
    }
    assert!(world.text(a).contains("first ") && world.text(a).contains("fourth "));
}

#[test]
fn a_copied_profile_and_its_original_both_go_on() {
    for with_outbox in [false, true] {
        let (mut world, a) = typed(113);
        go_offline(&mut world, a);
        if with_outbox {
            world.append(a, "unsent ");
            world.run(3_000);
        }
        let copy = world.nodes[a].disk.clone();
        assert_eq!(copy.outbox.is_empty(), !with_outbox);
        world.append(a, "original ");
        let b = world.add_with("ann", copy, false, false);
        world.append(b, "copy ");
        world.run(3_000);
        world.restart(a, false);
        world.append(a, "again ");
        world.run(2_000);
        world.settle();
        for word in ["one ", "original ", "copy ", "again "] {
            assert_eq!(world.text(a).matches(word).count(), 1, "{}", world.text(a));
        }
        assert_eq!(world.text(a).matches("unsent ").count(), usize::from(with_outbox));
    }
}

#[test]
fn a_restored_backup_of_a_device_goes_on() {
    for with_outbox in [false, true] {
        let (mut world, a) = typed(114);
        if with_outbox {
            go_offline(&mut world, a);
            world.append(a, "kept ");
            world.run(2_000);
        }
        let backup = world.nodes[a].disk.clone();
        world.nodes[a].client.go_online(Instant(world.now));
        world.pump(a);
        world.append(a, "later ");
        world.run(5_000);
        world.nodes[a].disk = backup;
        world.restart(a, false);
        world.append(a, "restored ");
        world.run(1_000);
        world.settle();
        for word in ["one ", "later ", "restored "] {
            assert_eq!(world.text(a).matches(word).count(), 1);
        }
        assert_eq!(world.text(a).matches("kept ").count(), usize::from(with_outbox));
    }
}

#[test]
fn a_lost_outbox_is_recovered_from_the_state() {
    let (mut world, a) = typed(115);
    go_offline(&mut world, a);
    world.append(a, "only here ");
    // Enough for the state row to be written with it.
    for n in 0..600 {
        world.append(a, &format!("{n} "));
        world.run(10);
    }
    world.run(3_000);
    world.nodes[a].disk.outbox.clear();
    world.restart(a, false);
    assert!(world.text(a).contains("only here "));
    world.settle();
    assert!(world.server.uploads > 0);
    assert!(world.server.document.text().contains("only here "));
}

#[test]
fn a_server_put_back_from_a_backup_gets_the_text_from_its_clients() {
    for highest in [AckLevel::Region, AckLevel::Replicated] {
        let mut world = World::new(116);
        world.server.highest = highest;
        let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
        world.run(500);
        for n in 0..10 {
            world.append(if n % 2 == 0 { a } else { b }, &format!("w{n} "));
            world.run(300);
        }
        world.server.replicate();
        world.deliver();
        world.run(3_000);
        world.set_server(false);
        let keep = world.server.log_len() / 2;
        world.server.restore_backup(keep);
        assert!(!world.server.document.text().contains("w9 "));
        world.append(a, "meanwhile ");
        world.run(1_000);
        world.settle();
        for n in 0..10 {
            assert_eq!(world.text(b).matches(&format!("w{n} ")).count(), 1);
        }
        assert!(world.text(b).contains("meanwhile "));
    }
}

#[test]
fn text_of_a_site_that_belongs_to_someone_else_is_written_again_under_a_new_one() {
    let mut world = World::new(117);
    let (a, b) = (world.add("ann", Disk::default()), world.add("bob", Disk::default()));
    world.append(b, "base ");
    world.run(1_000);
    go_offline(&mut world, a);
    world.append(a, "mine ");
    world.run(2_000);
    world.restart(a, false);
    world.append(a, "newer ");
    world.run(2_000);
    let sites: Vec<_> = world.nodes[a].disk.outbox.keys().map(|key| key.site).collect();
    world.server.bind(sites[0], "mallory");
    world.nodes[a].discards = true;
    world.settle();
    for word in ["base ", "mine ", "newer "] {
        assert_eq!(world.text(b).matches(word).count(), 1, "{}", world.text(b));
    }
    world.append(a, "and on ");
    world.settle();
}

#[test]
fn text_written_before_sign_in_is_adopted() {
    let mut world = World::new(118);
    let b = world.add("bob", Disk::default());
    world.append(b, "base ");
    world.run(1_000);
    let anonymous = world.add_with("anon:1", Disk::default(), false, false);
    world.append(anonymous, "drafted ");
    world.type_at(anonymous, 0, 0, "early ");
    world.run(3_000);
    let disk = world.nodes[anonymous].disk.clone();
    world.kill(anonymous);
    let a = world.add_with("ann", disk, true, true);
    assert!(world.text(a).contains("drafted "), "visible before any server answers");
    world.append(a, "signed in ");
    world.nodes[a].discards = true;
    world.settle();
    for word in ["base ", "drafted ", "early ", "signed in "] {
        assert_eq!(world.text(b).matches(word).count(), 1, "{}", world.text(b));
    }
    assert!(world.server.document.vector().iter().count() >= 2);
}

/// A copy is fetched because of the anonymous site, while the own one's text is acknowledged.
#[test]
fn text_that_is_acknowledged_while_a_copy_is_fetched_stays() {
    let mut world = World::new(120);
    let b = world.add("bob", Disk::default());
    world.append(b, "base ");
    world.run(1_000);
    let anonymous = world.add_with("anon:1", Disk::default(), false, false);
    world.append(anonymous, "drafted ");
    world.run(3_000);
    world.kill(anonymous);
    let offline = world.add_with("ann", world.nodes[anonymous].disk.clone(), false, true);
    world.append(offline, "signed in ");
    world.run(3_000);
    world.kill(offline);
    world.server.states_are_old = true;
    let a = world.add_with("ann", world.nodes[offline].disk.clone(), true, true);
    world.nodes[a].discards = true;
    for _ in 0..2_000 {
        world.run(1);
        assert!(world.text(a).contains("signed in "), "it is on the screen all the time: {}", world.text(a));
    }
    world.server.states_are_old = false;
    for (node, word) in [a, b].into_iter().flat_map(|node| ["base ", "drafted ", "signed in "].map(|word| (node, word)))
    {
        assert_eq!(world.text(node).matches(word).count(), 1, "{word}: {}", world.text(node));
    }
}

#[test]
fn two_tabs_of_one_profile_share_a_disk() {
    let (mut world, a) = typed(119);
    let b = world.add("ann", world.nodes[a].disk.clone());
    world.run(2_000);
    // Both write their state rows to one disk: the second is behind what the first stored.
    world.append(a, "left ");
    world.run(3_000);
    world.nodes[b].disk = world.nodes[a].disk.clone();
    go_offline(&mut world, b);
    let now = Instant(world.now);
    let bytes: Vec<_> = world.nodes[a]
        .seen
        .iter()
        .filter_map(|effect| match effect {
            Effect::LocalDelta { bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
        .collect();
    for bytes in bytes {
        let channel = world.nodes[b].channel;
        let _ = world.nodes[b].client.apply_from_tab(channel, &bytes, now);
        world.pump(b);
    }
    world.append(b, "right ");
    world.run(3_000);
    world.settle();
    assert_eq!(world.text(a).matches("left ").count(), 1);
}

#[test]
fn a_tab_that_stays_pushes_what_a_closed_one_stored() {
    for online in [false, true] {
        let (mut world, a) = typed(121);
        let b = world.add("ann", world.nodes[a].disk.clone());
        let reader = world.add("bob", Disk::default());
        world.run(2_000);
        go_offline(&mut world, b);
        if !online {
            go_offline(&mut world, a);
        }
        world.append(b, "written ");
        world.append(b, "and closed ");
        world.run(1_000);
        world.kill(b);
        let left: Vec<OutboxEntry> = world.nodes[b].disk.outbox.values().cloned().collect();
        assert!(!left.is_empty());
        // The tab that stays finds the entries in the store they share, and finding them twice changes nothing.
        let (channel, now) = (world.nodes[a].channel, Instant(world.now));
        for _ in 0..2 {
            world.nodes[a].client.adopt_outbox(channel, left.clone(), now).unwrap();
            world.pump(a);
        }
        assert!(world.text(a).contains("written and closed "), "{}", world.text(a));
        assert!(world.saved(a).region.ops > 0, "what is adopted is not saved yet");
        world.nodes[a].client.go_online(Instant(world.now));
        world.pump(a);
        world.run(5_000);
        assert_eq!(world.text(reader).matches("written and closed ").count(), 1, "{}", world.text(reader));
        assert_eq!(world.saved(a).region.ops, 0);
        for entry in &left {
            let key = OutboxKey { site: entry.site, first: entry.first };
            assert!(!world.nodes[a].disk.outbox.contains_key(&key));
        }
    }
}

/// Random typing and random faults; at the end everything fair happens and all must agree, with every word once.
fn history(seed: u64) {
    let mut world = World::new(seed);
    let mut random = Random::new(seed ^ 0x5eed);
    world.latency_ms = 1 + random.below(120);
    world.server.credit = if random.below(2) == 0 { 700 } else { 1 << 40 };
    if random.below(2) == 0 {
        world.server.highest = AckLevel::Replicated;
    }
    let nodes = 2 + random.below(2) as usize;
    for n in 0..nodes {
        world.add(["ann", "bob", "cid"][n], Disk::default());
    }
    let mut words = 0;
    for _ in 0..60 {
        let index = random.below(nodes as u64) as usize;
        match random.below(20) {
            0 => world.cut(index),
            1 => {
                let up = !world.server.up;
                world.set_server(up);
            }
            2 => go_offline(&mut world, index),
            3 => {
                world.nodes[index].client.go_online(Instant(world.now));
                world.pump(index);
            }
            4 => {
                // The process dies once its disk has what was typed.
                world.run(200);
                world.restart(index, random.below(2) == 0);
            }
            5 => world.server.silent = !world.server.silent,
            6 => world.nodes[index].store_fails.push(StoreError::Failed("disk".into())),
            7 => {
                world.server.replicate();
                world.deliver();
            }
            8 => world.nodes[index].store_ms = 1 + random.below(100),
            9 => {
                let length = world.nodes[index].editor.len();
                if length > 4 {
                    world.type_at(index, length - 1, 1, "");
                    world.append(index, " ");
                }
            }
            _ => {
                let at = if random.below(3) == 0 { 0 } else { world.nodes[index].editor.len() };
                world.type_at(index, at, 0, &format!("<{words}>"));
                words += 1;
            }
        }
        world.run(random.below(800));
    }
    world.run(100);
    world.settle();
    let text = world.text(0);
    for word in 0..words {
        let count = text.matches(&format!("<{word}>")).count();
        assert!(count <= 1, "seed {seed}: word {word} is doubled");
    }
}

#[test]
fn random_histories_end_in_agreement() {
    let most = std::env::var("SELVEDGE_HISTORIES").ok().and_then(|most| most.parse().ok()).unwrap_or(150);
    for seed in 0..most {
        history(seed);
    }
}

#[test]
fn a_token_is_asked_for_once() {
    let mut world = World::new(130);
    let a = world.add("ann", Disk::default());
    world.run(1_000);
    let close = |world: &mut World| {
        let ids: Vec<_> = world.server.connections.keys().copied().collect();
        for id in ids {
            world.server.connections.get_mut(&id).unwrap().close = Some((CloseCode::TOKEN, String::new()));
        }
        world.deliver();
        world.run(500);
    };
    close(&mut world);
    assert!(world.nodes[a].seen.iter().any(|effect| matches!(effect, Effect::TokenNeeded { channel: None })));
    let now = Instant(world.now);
    world.nodes[a].client.provide_token(None, Some("fresh".into()), now);
    world.pump(a);
    world.run(2_000);
    assert_eq!(world.status(a), Status::Connected);
    close(&mut world);
    let now = Instant(world.now);
    world.nodes[a].client.provide_token(None, Some("fresh".into()), now);
    world.pump(a);
    world.run(2_000);
    assert_eq!(world.status(a), Status::Closed, "the token that was refused again means stop");
}
