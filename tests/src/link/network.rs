//! A real network between two places, in namespaces of the kernel: a router that delays every packet and can fall silent.
//!
//! ```text
//! left 10.77.1.2 ── 10.77.1.1 middle 10.77.2.1 ── 10.77.2.2 right
//! ```
//!
//! The middle hands every packet it forwards to a queue of this process, which lets it go when it is due. Needs root, and the
//! programs `ip`, `nft` and `iptables`. Nothing of it is seen outside the three namespaces, which end with it.

use std::collections::VecDeque;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The queue's number, in a namespace of its own.
const QUEUE: u16 = 0;
/// Packets that may wait; more are lost, as in any router.
const PACKETS_MAX: u32 = 100_000;
/// Of each packet so much is copied to this process: it is let go or not, and never looked at.
const COPIED: u16 = 64;
/// How exactly packets are let go.
const PAUSE: Duration = Duration::from_micros(500);
/// How long the queue may take to be there.
const QUEUE_WITHIN: Duration = Duration::from_secs(10);

/// One of the three namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One end.
    Left,
    /// The router.
    Middle,
    /// The other end.
    Right,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    tag: String,
    stop: Arc<AtomicBool>,
    queue: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Network {
    /// Why it cannot be made here; `None`: it can.
    #[must_use]
    pub fn lacking() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("needs root".to_owned());
        }
        let starts = |program: &str| {
            let mut asked = Command::new(program);
            asked.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            asked.status().is_ok()
        };
        let missing = ["ip", "nft", "iptables"].into_iter().find(|program| !starts(program));
        missing.map(|program| format!("needs the program {program}: `cargo xtask setup`"))
    }

    /// Makes a network that takes `delay` one way.
    ///
    /// # Errors
    /// When the kernel or a program refuses.
    pub fn make(delay: Duration) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("sv{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut network = Network { tag, stop: Arc::default(), queue: None };
        network.build()?;
        network.queue = Some(network.start_queue(delay)?);
        Ok(network)
    }

    /// An end's address.
    #[must_use]
    pub fn address(place: Place) -> IpAddr {
        IpAddr::V4(match place {
            Place::Left => Ipv4Addr::new(10, 77, 1, 2),
            Place::Middle => Ipv4Addr::new(10, 77, 1, 1),
            Place::Right => Ipv4Addr::new(10, 77, 2, 2),
        })
    }

    /// Moves this thread there, for good: sockets it makes and programs it starts are there from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self, place: Place) -> anyhow::Result<()> {
        let path = format!("/run/netns/{}", self.name(place));
        let namespace = File::open(&path).with_context(|| path.clone())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).with_context(|| path)
    }

    /// Loses every packet from now on, or no more.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn silence(&self, silent: bool) -> anyhow::Result<()> {
        const SILENT: &str =
            "table inet chaos {\n chain passing {\n  type filter hook forward priority 0; policy drop;\n }\n}\n";
        let rules = if silent { SILENT } else { "delete table inet chaos\n" };
        self.run(Place::Middle, &["sh", "-c", &format!("printf '%s' '{rules}' | nft -f -")])
    }

    fn name(&self, place: Place) -> String {
        let end = match place {
            Place::Left => "l",
            Place::Middle => "m",
            Place::Right => "r",
        };
        format!("{}{end}", self.tag)
    }

    fn build(&self) -> anyhow::Result<()> {
        let [left, middle, right] = [Place::Left, Place::Middle, Place::Right].map(|place| self.name(place));
        for name in [&left, &middle, &right] {
            run(&["ip", "netns", "add", name])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        for (end, own, far, network) in [(&left, "l0", "ml", "10.77.1"), (&right, "r0", "mr", "10.77.2")] {
            let (host, router) = (format!("{network}.2/24"), format!("{network}.1/24"));
            run(&["ip", "link", "add", own, "netns", end, "type", "veth", "peer", "name", far, "netns", &middle])?;
            run(&["ip", "-n", end, "addr", "add", &host, "dev", own])?;
            run(&["ip", "-n", &middle, "addr", "add", &router, "dev", far])?;
            run(&["ip", "-n", end, "link", "set", own, "up"])?;
            run(&["ip", "-n", &middle, "link", "set", far, "up"])?;
            run(&["ip", "-n", end, "route", "add", "default", "via", router.trim_end_matches("/24")])?;
        }
        self.run(Place::Middle, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        self.run(Place::Middle, &["iptables", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", &QUEUE.to_string()])
    }

    fn run(&self, place: Place, words: &[&str]) -> anyhow::Result<()> {
        let name = self.name(place);
        let all: Vec<&str> = ["ip", "netns", "exec", &name].into_iter().chain(words.iter().copied()).collect();
        run(&all)
    }

    /// Starts the thread that lets packets go, and waits until its queue is there: before that every packet is lost.
    fn start_queue(&self, delay: Duration) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let stop = Arc::clone(&self.stop);
        let path = format!("/run/netns/{}", self.name(Place::Middle));
        let thread = std::thread::spawn(move || {
            let namespace = File::open(path)?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            let mut queue = nfq::Queue::open().context("the queue of packets")?;
            queue.bind(QUEUE)?;
            queue.set_copy_range(QUEUE, COPIED)?;
            queue.set_queue_max_len(QUEUE, PACKETS_MAX)?;
            queue.set_nonblocking(true);
            // Whoever waits has given up, if nobody does.
            let _ = ready.send(());
            pass(&mut queue, delay, &stop)
        });
        if is_ready.recv_timeout(QUEUE_WITHIN).is_err() {
            self.stop.store(true, Ordering::Relaxed);
            return match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => Err(anyhow::anyhow!("the queue of packets was not there in time")),
            };
        }
        Ok(thread)
    }
}

/// Lets each packet go when it is due. All are kept equally long, so that the first to come is the first to go.
fn pass(queue: &mut nfq::Queue, delay: Duration, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut kept = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        while let Ok(packet) = queue.recv() {
            kept.push_back((Instant::now() + delay, packet));
        }
        while kept.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, mut packet)) = kept.pop_front() {
                packet.set_verdict(nfq::Verdict::Accept);
                queue.verdict(packet)?;
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(queue) = self.queue.take() {
            // Its fault, if it had one, was seen as lost packets.
            let _ = queue.join();
        }
        for place in [Place::Left, Place::Middle, Place::Right] {
            // One that was not made cannot be removed.
            let _ = run(&["ip", "netns", "del", &self.name(place)]);
        }
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("`{}` does not start", words[0]))?;
    ensure!(output.status.success(), "`{}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
