//! What text written against the allocation costs: `cargo run -p selvedge-engine --example nested [INSERTS]`.
//!
//! Each insert goes beside the one before it, on a side drawn at random, by sites in turn; beside it the same number of
//! inserts at random places. Microseconds an insert, made, sealed and applied by all other sites; of processor time where Linux
//! tells it. Bytes of its delta, rebases included, on average; inserts for each rebase, and runs moved for each insert.

use std::time::Instant;

use selvedge_engine::{Delta, Document, Op, SiteId};

/// SplitMix64.
fn roll(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value >> 33) as usize
}

struct Session {
    inserts: usize,
    sites: u32,
}

/// What its deltas are, beside the time they take.
#[derive(Default)]
struct Deltas {
    bytes: usize,
    rebases: usize,
    pieces: usize,
    depth: usize,
}

impl Session {
    /// Inserts one by one where `place` says, given the length, the last place and a random number. Returns the first document.
    fn write(&self, place: impl Fn(usize, usize, usize) -> usize, mut sealed: impl FnMut(&Delta)) -> Document {
        let mut documents: Vec<Document> = (1..=self.sites)
            .map(|index| {
                let mut document = Document::new();
                document.begin_writing(SiteId::leased(0, index), 1).expect("an empty document takes any site");
                document
            })
            .collect();
        let (mut state, mut caret) = (7, 0);
        for _ in 0..self.inserts {
            let writer = roll(&mut state) % documents.len();
            caret = place(documents[writer].len_utf16(), caret, roll(&mut state));
            documents[writer].replace(caret, 0, "x").expect("an insert is never refused");
            for delta in documents[writer].seal() {
                sealed(&delta);
                for (_, other) in documents.iter_mut().enumerate().filter(|(index, _)| *index != writer) {
                    other.apply(&delta).expect("deltas come in order");
                }
            }
        }
        documents.remove(0)
    }

    fn micros(&self, place: impl Fn(usize, usize, usize) -> usize) -> f64 {
        let start = (Instant::now(), processor_seconds());
        self.write(place, |_| {});
        let used = processor_seconds().zip(start.1).map(|(now, then)| now - then);
        used.unwrap_or_else(|| start.0.elapsed().as_secs_f64()) * 1e6 / self.inserts as f64
    }

    fn deltas(&self, place: impl Fn(usize, usize, usize) -> usize) -> Deltas {
        let mut deltas = Deltas::default();
        let document = self.write(place, |delta| {
            deltas.bytes += delta.encode().len();
            for op in &delta.ops {
                if let Op::Rebase(rebase) = op {
                    deltas.rebases += 1;
                    deltas.pieces += rebase.pieces.len();
                }
            }
        });
        deltas.depth = document.stats().depth_max;
        deltas
    }
}

/// What the main thread, which is the only one, has run so far.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<u64>().ok().map(|nanos| nanos as f64 / 1e9)
}

fn main() {
    let inserts = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let anywhere = |length: usize, _: usize, dice: usize| dice % (length + 1);
    let beside = |length: usize, last: usize, dice: usize| (last + dice % 2).min(length);
    println!("sites  random us  nested us  ratio  random bytes  nested bytes  inserts/rebase  moves/insert  depth");
    for sites in [1, 2, 5] {
        let session = Session { inserts, sites };
        let (random, nested) = (session.micros(anywhere), session.micros(beside));
        let (free, deltas) = (session.deltas(anywhere), session.deltas(beside));
        let each = |count: usize| count as f64 / inserts as f64;
        println!(
            "{sites:>5}  {random:>9.2}  {nested:>9.2}  {:>5.2}  {:>12.1}  {:>12.1}  {:>14.1}  {:>12.2}  {:>5}",
            nested / random,
            each(free.bytes),
            each(deltas.bytes),
            inserts as f64 / deltas.rebases.max(1) as f64,
            each(deltas.pieces),
            deltas.depth
        );
    }
}
