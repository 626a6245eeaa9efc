//! What text written against the allocation costs: `cargo run -p selvedge-engine --example nested`.
//!
//! Each insert goes beside the one before it, on a side drawn at random, by sites in turn; beside it the same number of
//! inserts at random places. Microseconds an insert, made, sealed and applied by all other sites; of processor time where Linux
//! tells it.

use std::time::Instant;

use selvedge_engine::{Document, Op, SiteId};

const INSERTS: usize = 100_000;

/// SplitMix64.
fn roll(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value >> 33) as usize
}

struct Session {
    micros: f64,
    rebases: usize,
    pieces: usize,
    depth: usize,
}

/// Inserts one by one where `place` says, given the length, the last place and a random number.
fn session(sites: u32, place: impl Fn(usize, usize, usize) -> usize) -> Session {
    let mut documents: Vec<Document> = (1..=sites)
        .map(|index| {
            let mut document = Document::new();
            document.begin_writing(SiteId::leased(0, index), 1).expect("an empty document takes any site");
            document
        })
        .collect();
    let (mut state, mut caret, mut rebases, mut pieces) = (7, 0, 0, 0);
    let start = (Instant::now(), processor_seconds());
    for _ in 0..INSERTS {
        let writer = roll(&mut state) % documents.len();
        caret = place(documents[writer].len_utf16(), caret, roll(&mut state));
        documents[writer].replace(caret, 0, "x").expect("an insert is never refused");
        for delta in documents[writer].seal() {
            for op in &delta.ops {
                if let Op::Rebase(rebase) = op {
                    rebases += 1;
                    pieces += rebase.pieces.len();
                }
            }
            for (_, other) in documents.iter_mut().enumerate().filter(|(index, _)| *index != writer) {
                other.apply(&delta).expect("deltas come in order");
            }
        }
    }
    let used = processor_seconds().zip(start.1).map(|(now, then)| now - then);
    let micros = used.unwrap_or_else(|| start.0.elapsed().as_secs_f64()) * 1e6 / INSERTS as f64;
    Session { micros, rebases, pieces, depth: documents[0].stats().depth_max }
}

/// What the main thread, which is the only one, has run so far.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<u64>().ok().map(|nanos| nanos as f64 / 1e9)
}

fn main() {
    println!("sites  random us  nested us  ratio  rebases  pieces  depth");
    for sites in [1, 2, 5] {
        let random = session(sites, |length, _, dice| dice % (length + 1));
        let nested = session(sites, |length, last, dice| (last + dice % 2).min(length));
        println!(
            "{sites:>5}  {:>9.2}  {:>9.2}  {:>5.2}  {:>7}  {:>6}  {:>5}",
            random.micros,
            nested.micros,
            nested.micros / random.micros,
            nested.rebases,
            nested.pieces,
            nested.depth
        );
    }
}
