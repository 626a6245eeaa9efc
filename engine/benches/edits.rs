//! What an edit costs: named by question.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use selvedge_engine::{Delta, Document, SiteId};

const EDITS: usize = 10_000;

fn document(index: u32) -> Document {
    let mut document = Document::new();
    document.begin_writing(SiteId::leased(0, index), 1).expect("an empty document takes any site");
    document
}

/// `EDITS` single characters, each where `place` says, given the length and the edit's number.
fn typed(place: impl Fn(usize, usize) -> usize) -> Document {
    let mut document = document(1);
    for edit in 0..EDITS {
        let at = place(document.len_utf16(), edit);
        document.replace(at, 0, "x").expect("the position is within the text");
    }
    document
}

fn scattered(length: usize, edit: usize) -> usize {
    edit.wrapping_mul(0x9e37_79b9) % (length + 1)
}

fn deltas_of(place: impl Fn(usize, usize) -> usize) -> Vec<Delta> {
    let mut document = document(1);
    let mut deltas = Vec::new();
    for edit in 0..EDITS {
        let at = place(document.len_utf16(), edit);
        document.replace(at, 0, "x").expect("the position is within the text");
        deltas.extend(document.seal());
    }
    deltas
}

fn edits(criterion: &mut Criterion) {
    criterion.bench_function("local_insert_append", |bencher| bencher.iter(|| typed(|length, _| length)));
    criterion.bench_function("local_insert_prepend", |bencher| bencher.iter(|| typed(|_, _| 0)));
    criterion.bench_function("local_insert_scattered", |bencher| bencher.iter(|| typed(scattered)));
    for (name, deltas) in [("append", deltas_of(|length, _| length)), ("scattered", deltas_of(scattered))] {
        criterion.bench_function(&format!("integrate_{name}"), |bencher| {
            bencher.iter_batched(
                Document::new,
                |mut document| {
                    for delta in &deltas {
                        document.apply(delta).expect("deltas come in order");
                    }
                    document
                },
                BatchSize::SmallInput,
            );
        });
    }
    let snapshot = typed(scattered).snapshot();
    criterion.bench_function("load_scattered", |bencher| bencher.iter(|| Document::load(black_box(&snapshot))));
}

criterion_group!(benches, edits);
criterion_main!(benches);
