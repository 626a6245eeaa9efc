//! Two clients, one relay, one text.

use crate::harness::{Peer, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn two_type_and_see_the_same() {
    let relay = Relay::start().await;
    let (ada, ben) = (Peer::start(&relay.socket(), 1), Peer::start(&relay.socket(), 2));
    let (a, b) = (ada.open("notes", 11).await, ben.open("notes", 22).await);
    ada.edit(a, 0, 0, "hello").await;
    ben.wait_text(b, "hello").await;
    ben.edit(b, 5, 0, " world").await;
    ada.wait_text(a, "hello world").await;
    ada.edit(a, 0, 1, "J").await;
    ben.wait_text(b, "Jello world").await;
    ada.wait_saved(a).await;
    ben.wait_saved(b).await;
    assert!(relay.running.drain().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_gets_everything_and_a_restart_keeps_it() {
    let relay = Relay::start().await;
    let ada = Peer::start(&relay.socket(), 1);
    let a = ada.open("later", 11).await;
    let mut expected = String::new();
    for n in 0..200 {
        let word = format!("word{n} ");
        ada.edit(a, expected.len(), 0, &word).await;
        expected.push_str(&word);
    }
    ada.wait_saved(a).await;
    let ben = Peer::start(&relay.socket(), 2);
    let b = ben.open("later", 22).await;
    ben.wait_text(b, &expected).await;
    drop((ada, ben));
    let relay = relay.restart_with(|_| {}).await;
    let eve = Peer::start(&relay.socket(), 3);
    let e = eve.open("later", 33).await;
    eve.wait_text(e, &expected).await;
    eve.edit(e, 0, 0, "new ").await;
    eve.wait_saved(e).await;
    let fay = Peer::start(&relay.socket(), 4);
    let f = fay.open("later", 44).await;
    fay.wait_text(f, &format!("new {expected}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_paste_and_many_writers_converge() {
    let relay = Relay::start().await;
    let mut peers = Vec::new();
    for n in 0..8 {
        let peer = Peer::start(&relay.socket(), n);
        let channel = peer.open("crowd", 100 + n).await;
        peers.push((peer, channel));
    }
    let (first, channel) = &peers[0];
    first.edit(*channel, 0, 0, &"x".repeat(300_000)).await;
    for round in 0..20 {
        for (peer, channel) in &peers {
            peer.edit(*channel, 0, 0, &format!("{round};")).await;
        }
    }
    for (peer, channel) in &peers {
        peer.wait_saved(*channel).await;
    }
    let total = 300_000 + 8 * (10 * 2 + 10 * 3);
    for (peer, channel) in &peers {
        let channel = *channel;
        peer.wait(move |client| client.replica(channel).unwrap().document().len_utf16() == total).await;
    }
    let text = peers[0].0.text(peers[0].1).await;
    for (peer, channel) in &peers {
        assert_eq!(peer.text(*channel).await, text);
    }
}
