//! The protocols of the table under a model checker: `cargo xtask loom`.
//!
//! A model runs production code on a few words. The writer is the model's own thread, and readers store
//! nothing that it reads, so it does the same whatever they do: what matters is not when a reader runs,
//! but which of the stores each of its loads sees. So the writer is never interrupted, readers that were
//! started before it run after it, and each of their loads is given in turn every store that the C++
//! memory model lets it see. The checker remembers the last seven stores to a word; no model makes more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod buckets;
mod lookups;
mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thermae_formats::hot_layout::{row_checksum, word0, word3};

use crate::sync::AtomicU64;

/// The seed of every model's table.
const SEED: u64 = 99;

/// Runs `model` once for each choice of what every load sees, and says how often that was.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(0);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} executions", runs.load(Ordering::Relaxed));
}

/// Words of zeros.
fn zeros(words: usize) -> Arc<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// Row `number` for `position`: number in every word of the header, `body` behind it.
fn sealed(number: u64, body: &[u64], position: usize) -> Vec<u64> {
    let mut row = vec![word0(number, 0, 0), number, number, word3(0, 1, body.len() as u16)];
    row.extend_from_slice(body);
    row[3] = word3(row_checksum(&mut row, position as u64, SEED), 1, body.len() as u16);
    row
}
