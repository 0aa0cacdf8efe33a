//! Pass 1: the rows of the spine as entries, sorted by entity and time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::scope;

use arrow_array::RecordBatch;
use thermae_env::{Env, give_way};
use thermae_formats::encode_key;
use thermae_formats::hash::entity_hash;
use thermae_tiering::spill::{Sorted, Sorter, SpillDir};

use super::budget::Shares;
use super::helpers::{spawn, wait};
use super::key::key_value;
use super::plan::{KeySet, Plan};
use super::records::Entry;
use super::time::read_times;
use super::{Progress, Spine, TrainingError};

/// Batches that wait for a helper, beside the one that it is at.
const BATCHES_AHEAD: usize = 1;
/// What making the entries of a row takes, nanoseconds, about.
const ROW_NS: u32 = 200;
/// Rows between two looks at whether it was cancelled.
const ROWS_BETWEEN_CHECKS: usize = 1024;

/// The entries of a spine.
pub(super) struct Collected<E: Env> {
    pub entries: Sorted<E>,
    pub rows: u64,
}

/// A batch of the spine, and how many rows come before it.
type Numbered = (RecordBatch, u64);
/// Why reading ended, at which row.
type Ended = (u64, TrainingError);
/// What a helper has made.
type Part<E> = Result<Sorted<E>, Ended>;

/// Reads the spine once. One thread reads, the helpers take its batches in turn: what they make of them is theirs to
/// sort.
pub(super) fn collect<E: Env>(
    plan: &Plan,
    spine: &dyn Spine,
    hash_seed: u64,
    spill: &SpillDir<E>,
    shares: &Shares,
    progress: &Progress,
) -> Result<Collected<E>, TrainingError> {
    progress.know(spine.rows().unwrap_or(0));
    let (read, parts): (Result<u64, Ended>, Vec<Part<E>>) = scope(|scope| {
        let (mut senders, mut helpers) = (Vec::new(), Vec::new());
        for _ in 0..shares.threads {
            let (sender, receiver) = sync_channel(BATCHES_AHEAD);
            let collector = Collector { plan, hash_seed, progress };
            let sorter = Sorter::new(spill, shares.entries);
            let work = move || collector.work(&receiver, sorter);
            match spawn(scope, "thermae-spine", work) {
                Ok(helper) => helpers.push(helper),
                Err(error) => return (Err((0, error)), Vec::new()),
            }
            senders.push(sender);
        }
        let read = hand_out(plan, spine, progress, &senders);
        drop(senders);
        (read, helpers.into_iter().map(wait).collect())
    });
    // Each helper went on until it failed itself: the error of the first row is the same however many there are.
    let (mut errors, mut sorted) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Ok(part) => sorted.push(part),
            Err(ended) => errors.push(ended),
        }
    }
    let rows = read.map_err(|ended| errors.push(ended)).unwrap_or(0);
    if let Some((_, error)) = errors.into_iter().min_by_key(|(row, _)| *row) {
        return Err(error);
    }
    Ok(Collected { entries: Sorted::union(sorted, spill, shares.entries)?, rows })
}

/// Reads the spine for the helpers until one of them takes no more; how many rows there were.
fn hand_out(
    plan: &Plan,
    spine: &dyn Spine,
    progress: &Progress,
    senders: &[SyncSender<Numbered>],
) -> Result<u64, Ended> {
    let mut rows = 0;
    let batches = spine.read().map_err(|cause| (0, TrainingError::Spine(cause)))?;
    for (batch, sender) in batches.zip(senders.iter().cycle()) {
        let batch = batch.map_err(TrainingError::Spine);
        let checked = batch.and_then(|batch| {
            progress.check()?;
            check_columns(plan, &batch).map(|()| batch)
        });
        let batch = checked.map_err(|error| (rows, error))?;
        let first = rows;
        rows += batch.num_rows() as u64;
        if sender.send((batch, first)).is_err() {
            break;
        }
    }
    Ok(rows)
}

/// What makes entries of rows.
struct Collector<'a> {
    plan: &'a Plan,
    hash_seed: u64,
    progress: &'a Progress,
}

impl Collector<'_> {
    /// Takes batches until there are no more.
    fn work<E: Env>(&self, batches: &Receiver<Numbered>, mut sorter: Sorter<E>) -> Part<E> {
        let (mut last, mut times_us) = (0, Vec::new());
        for (batch, first) in batches {
            let entries = self.push(&batch, first, &mut times_us, &mut sorter);
            let entries = entries.map_err(|error| (first, error))?;
            self.progress.add_read(times_us.len() as u64, entries);
            last = first;
        }
        sorter.finish().map_err(|error| (last, error.into()))
    }

    /// Puts the entries of a batch into a sort; how many there are.
    fn push<E: Env>(
        &self,
        batch: &RecordBatch,
        first: u64,
        times_us: &mut Vec<i64>,
        sorter: &mut Sorter<E>,
    ) -> Result<u64, TrainingError> {
        let Self { plan, hash_seed, progress } = *self;
        read_times(&plan.time_column, batch.column(plan.time_at), first + 1, times_us)?;
        let (mut key, mut record, mut entries) = (Vec::new(), Vec::new(), 0);
        for (at, &time_us) in times_us.iter().enumerate() {
            if at % ROWS_BETWEEN_CHECKS == 0 {
                progress.check()?;
            }
            give_way(ROW_NS);
            let row = first + at as u64;
            for (key_set, set) in (0..).zip(&plan.key_sets) {
                if !read_key(set, batch, at, row, &mut key)? {
                    continue;
                }
                let entity_hash = entity_hash(&key, hash_seed);
                Entry { entity_hash, key_set, key: &key, time_us, row }.encode(&mut record);
                sorter.push(&record)?;
                entries += 1;
            }
        }
        Ok(entries)
    }
}

/// Checks that a batch has the columns that the spine promised.
pub(super) fn check_columns(plan: &Plan, batch: &RecordBatch) -> Result<(), TrainingError> {
    if *batch.schema_ref().fields() == plan.spine {
        return Ok(());
    }
    Err(TrainingError::SpineChanged("a batch has other columns than the spine".to_owned()))
}

/// Replaces `key` by the encoded key of a row; `false` if any of its columns is null.
fn read_key(
    set: &KeySet,
    batch: &RecordBatch,
    at: usize,
    row: u64,
    key: &mut Vec<u8>,
) -> Result<bool, TrainingError> {
    let wrong = |source| TrainingError::Key { row: row + 1, source };
    key.clear();
    for (join_key, &column) in set.join_keys.iter().zip(&set.columns) {
        let array = batch.column(column);
        let value = key_value(array, at, join_key.key_type, &join_key.name).map_err(wrong)?;
        let Some(value) = value else { return Ok(false) };
        encode_key(std::slice::from_ref(join_key), std::slice::from_ref(&value), key)
            .map_err(wrong)?;
    }
    Ok(true)
}
