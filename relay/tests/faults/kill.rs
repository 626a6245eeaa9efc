//! The relay's process is killed, or told to stop, at random moments while two clients type: no acknowledged edit is lost, none is
//! doubled.
//!
//! 20 kills; `SELVEDGE_KILLS=100` makes it as many as asked, `SELVEDGE_SEED` repeats a run's moments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::Peer;
use crate::harness::http::ask;
use crate::harness::process::{Process, free_port};
use selvedge_protocol::{AckLevel, Channel};

const DOCUMENT: &str = "killed";

/// A person who types marks, each a word of its own that nobody else writes into.
struct Typist {
    peer: Arc<Peer>,
    channel: Channel,
    name: char,
    typed: Arc<AtomicU64>,
}

impl Typist {
    async fn start(url: &str, name: char, seed: u64) -> Self {
        let peer = Arc::new(Peer::start(url, seed));
        let channel = peer.open(DOCUMENT, seed + 1000).await;
        Typist { peer, channel, name, typed: Arc::default() }
    }

    async fn type_on(&self, going: Arc<AtomicBool>, mut random: Random) {
        while going.load(Ordering::Relaxed) {
            let number = self.typed.load(Ordering::Relaxed) + 1;
            let mark = format!("<{}{number}>", self.name);
            let (channel, place) = (self.channel, random.below(4));
            self.peer
                .with(move |client, now| {
                    let text = client.replica(channel).unwrap().document().text();
                    let at = match place {
                        0 => 0,
                        1 => text.len() / 2 + text[text.len() / 2..].find('<').unwrap_or(text.len() - text.len() / 2),
                        _ => text.len(),
                    };
                    client.edit(channel, at, 0, &mark, now).unwrap();
                })
                .await;
            self.typed.store(number, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(15 + random.below(20))).await;
        }
    }

    /// How many of its marks are acknowledged by the region: all before the first that is not.
    async fn acknowledged(&self) -> u64 {
        let (channel, name) = (self.channel, self.name);
        // Both of one moment: a mark typed between two looks would count as typed and not as pending.
        let (mut number, mut left) = self
            .peer
            .with(move |client, now| {
                let replica = client.replica(channel).unwrap();
                let typed = replica.document().text().matches(&format!("<{name}")).count() as u64;
                (typed, replica.saved(now).pending(AckLevel::Region).ops)
            })
            .await;
        while left > 0 && number > 0 {
            left = left.saturating_sub(format!("<{name}{number}>").len() as u64);
            number -= 1;
        }
        number
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn marks(text: &str) -> BTreeMap<String, usize> {
    let mut marks = BTreeMap::new();
    for mark in text.split_inclusive('>') {
        assert!(mark.starts_with('<') && mark.ends_with('>'), "a mark was torn: {mark:?}");
        *marks.entry(mark.to_owned()).or_default() += 1;
    }
    marks
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// How the relay's process ends.
#[derive(Clone, Copy)]
enum End {
    /// SIGKILL.
    Killed,
    /// SIGTERM: it sends its clients away and ends in order.
    Stopped,
}

impl End {
    async fn bring(self, mut process: Process) {
        match self {
            Self::Killed => process.kill().await,
            Self::Stopped => {
                process.signal("TERM");
                assert_eq!(process.exit().await, 0);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_edit_is_lost_or_doubled() {
    endures(End::Killed, setting("SELVEDGE_KILLS").unwrap_or(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_the_relay_is_told_to_stop_while_they_type() {
    endures(End::Stopped, 5).await;
}

async fn endures(end: End, ends: u64) {
    let seed = setting("SELVEDGE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{ends} ends, SELVEDGE_SEED={seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let address = free_port();
    let url = format!("ws://{address}/v1/connect");
    let drain = ["--drain-ms", "300"];
    let mut process = Process::start(&data, address, &drain).await;
    let typists = [Typist::start(&url, 'a', 1).await, Typist::start(&url, 'b', 2).await];
    let typists = Arc::new(typists);
    let going = Arc::new(AtomicBool::new(true));
    let mut typing = tokio::task::JoinSet::new();
    for n in 0..typists.len() {
        let (typists, going, random) = (Arc::clone(&typists), Arc::clone(&going), Random(seed + 7 + n as u64));
        typing.spawn(async move { typists[n].type_on(going, random).await });
    }
    for round in 0..ends {
        tokio::time::sleep(Duration::from_millis(50 + random.below(900))).await;
        end.bring(process).await;
        // Every fourth time nobody comes back before the text was looked at: what was acknowledged is there without them.
        let looked_at = round % 4 == 0;
        let mut acknowledged = Vec::new();
        if looked_at {
            for typist in &*typists {
                acknowledged.push((typist.name, typist.acknowledged().await));
                typist.peer.with(|client, now| client.go_offline(now)).await;
            }
        }
        process = Process::start(&data, address, &drain).await;
        if looked_at {
            let answer = ask(address, "GET", &format!("/v1/docs/default/{DOCUMENT}/text"), &[], b"").await;
            if answer.status == 404 {
                assert!(acknowledged.iter().all(|(_, count)| *count == 0));
            } else {
                let found = marks(&answer.text());
                for (name, count) in acknowledged {
                    for number in 1..=count {
                        let mark = format!("<{name}{number}>");
                        assert_eq!(found.get(&mark), Some(&1), "end {round}: {mark} was acknowledged and is lost");
                    }
                }
            }
            for typist in &*typists {
                typist.peer.with(|client, now| client.go_online(now)).await;
            }
        }
    }
    going.store(false, Ordering::Relaxed);
    while let Some(typed) = typing.join_next().await {
        typed.unwrap();
    }
    for typist in &*typists {
        typist.peer.wait_saved(typist.channel).await;
    }
    let total: u64 = typists.iter().map(|typist| typist.typed.load(Ordering::Relaxed)).sum();
    let answer = ask(address, "GET", &format!("/v1/docs/default/{DOCUMENT}/text"), &[], b"").await;
    assert_eq!(answer.status, 200);
    let found = marks(&answer.text());
    assert_eq!(found.len() as u64, total, "marks are missing");
    assert!(found.values().all(|count| *count == 1), "marks are doubled");
    typists[0].peer.wait_text(typists[0].channel, &answer.text()).await;
    typists[1].peer.wait_text(typists[1].channel, &answer.text()).await;
    println!("{ends} ends, {total} marks, each there once");
}
