//! Which tables to rewrite next: a pure function of what tables there are.
//!
//! **`latest`** is a short stack of runs, newest first, each one table. A look-up that finds nothing
//! asks every run's filter, so there are at most [`CompactionPolicy::settled_runs`] when writes settle.
//! One too many, and neighbours are merged: those where the largest is least against the rest together,
//! because the largest is what gets written again for the others' sake. And all are merged when the
//! newer ones together are as large as the oldest, so that what they supersede never takes more than
//! the rows themselves. Only neighbours are ever merged: the result is as old as they, so that a newer
//! table's version of a key stays the newer one.
//!
//! While a large merge goes on, newer runs are still merged among themselves: writers never wait for
//! the largest merge of all.
//!
//! **`history`** has no order among tables: those of one window of event time (`windows.rs`) are merged
//! when there are enough of about one size.

use thermae_formats::table::{TableKind, TableRef};

use super::windows::Window;

/// When to rewrite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionPolicy {
    /// Most runs of `latest` that stay unmerged.
    pub settled_runs: usize,
    /// Most merges at a time, each over newer runs than the one before.
    pub nested_merges: usize,
    /// History tables of one window and about one size that are merged.
    pub history_fan_in: usize,
    /// The part of the oldest run past `keep_for`, by its times, from which it is rewritten.
    pub expired_share: f64,
    /// Bytes of the disk that compaction leaves free, for logs and flushes.
    pub reserve_bytes: u64,
}

impl Default for CompactionPolicy {
    /// Five runs: a miss reads 5 x 0.4% = 0.02 pages, a hit at most 1.016.
    fn default() -> Self {
        Self {
            settled_runs: 5,
            nested_merges: 3,
            history_fan_in: 4,
            expired_share: 0.5,
            reserve_bytes: 256 << 20,
        }
    }
}

impl CompactionPolicy {
    /// Most runs of `latest` as long as flushes wait for the merges of newer runs: each merge at work
    /// holds at most one run more than settle, and as many lie above the newest of them.
    pub fn most_runs(&self) -> usize {
        (self.settled_runs + 1) * (self.nested_merges + 1)
    }
}

/// What there is.
#[derive(Clone, Debug)]
pub struct TreeState<'a> {
    /// Runs of `latest`, newest first.
    pub latest: &'a [TableRef],
    /// Tables of `history`.
    pub history: &'a [TableRef],
    /// Tables that are inputs of merges at work, and how many merges those are.
    pub in_work: &'a [u64],
    /// Tables that are damaged: never rewritten, and no run is merged over one.
    pub damaged: &'a [u64],
    /// Tables that may hold something that was erased: rewritten before all others.
    pub suspects: &'a [u64],
    /// Merges at work.
    pub merges: usize,
    /// Every row of an earlier event time is past its view's `keep_for`; `None`: some view keeps for
    /// ever.
    pub expired_before: Option<i64>,
    /// Tables much of which the archive has and `warm_for` has passed for, and may leave.
    pub departing: &'a [u64],
    /// Bytes that may still be written to the disk.
    pub free_bytes: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All is well.
    Nothing,
    /// Take these tables out, unread: every row in them is past `keep_for`.
    Drop {
        /// Their numbers.
        file_ids: Vec<u64>,
    },
    /// Rewrite these tables.
    Merge(Compaction),
    /// There is work, but no room on the disk for its output.
    Paused(Pause),
}

/// A rewrite of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Which tree's.
    pub kind: TableKind,
    /// What to read, newest first; neighbours.
    pub inputs: Vec<TableRef>,
    /// No older run of `latest` exists.
    pub is_last_run: bool,
}

/// Why compaction waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "compaction is paused: rewriting {input_bytes} bytes needs as many free and a reserve of \
     {reserve_bytes}, the disk has {free_bytes}; free space on it and compaction goes on by itself"
)]
pub struct Pause {
    /// Bytes of the smallest rewrite that waits.
    pub input_bytes: u64,
    /// Bytes to leave free.
    pub reserve_bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
}

/// What to do next; call it again when that is done or something changed.
pub fn plan(state: &TreeState<'_>, policy: &CompactionPolicy) -> Plan {
    let file_ids = expired(state);
    if !file_ids.is_empty() {
        return Plan::Drop { file_ids };
    }
    if state.merges >= policy.nested_merges {
        return Plan::Nothing;
    }
    let wanted =
        [rewrite_suspect(state), merge_latest(state, policy), rewrite_oldest(state, policy)];
    let wanted: Vec<_> = wanted
        .into_iter()
        .flatten()
        .chain(merge_history(state, policy))
        .chain(rewrite_departing(state))
        .collect();
    let fits = |merge: &&Compaction| {
        state.free_bytes >= merge.input_bytes().saturating_add(policy.reserve_bytes)
    };
    if let Some(merge) = wanted.iter().find(fits) {
        return Plan::Merge(merge.clone());
    }
    let Some(input_bytes) = wanted.iter().map(Compaction::input_bytes).min() else {
        return Plan::Nothing;
    };
    let (reserve_bytes, free_bytes) = (policy.reserve_bytes, state.free_bytes);
    Plan::Paused(Pause { input_bytes, reserve_bytes, free_bytes })
}

/// How many bytes were written for one that was flushed, 1 or more; 1 before the first.
pub fn write_amplification(flushed_bytes: u64, compacted_bytes: u64) -> f64 {
    1.0 + compacted_bytes as f64 / flushed_bytes.max(1) as f64
}

/// Bytes of `latest` for one of its oldest run, which has each of its keys once: not less than the
/// bytes for one that a reader can still see.
pub fn space_amplification(latest: &[TableRef]) -> f64 {
    let all: u64 = latest.iter().map(|run| run.bytes).sum();
    latest.last().map_or(1.0, |oldest| all as f64 / oldest.bytes.max(1) as f64)
}

impl Compaction {
    /// Bytes to read, and the most that are written.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|table| table.bytes).sum()
    }
}

impl TreeState<'_> {
    fn is_free(&self, table: &TableRef) -> bool {
        !self.in_work.contains(&table.file_id)
    }

    /// Whether it may be read to be rewritten.
    fn is_sound(&self, table: &TableRef) -> bool {
        !self.damaged.contains(&table.file_id)
    }

    fn is_expired(&self, table: &TableRef) -> bool {
        self.expired_before.is_some_and(|before| table.max_event_time < before)
    }
}

/// Tables that may go unread: any of history, but of `latest` only the oldest run, because a newer one
/// covers what older ones hold.
fn expired(state: &TreeState<'_>) -> Vec<u64> {
    let goes = |table: &&TableRef| state.is_expired(table) && state.is_free(table);
    let oldest = state.latest.iter().rev().take_while(goes);
    oldest.chain(state.history.iter().filter(goes)).map(|table| table.file_id).collect()
}

/// Neighbours to merge, the newest first that need it. Damaged runs part the others into stacks, each
/// merged by itself; those under the newest only shrink, and share among them what one may keep.
fn merge_latest(state: &TreeState<'_>, policy: &CompactionPolicy) -> Option<Compaction> {
    let stacks: Vec<_> = state.latest.split(|run| !state.is_sound(run)).collect();
    let last = stacks.len() - 1;
    let below = stacks.iter().skip(1).filter(|stack| !stack.is_empty()).count();
    let shared_runs = (policy.settled_runs / below.max(1)).max(1);
    stacks.iter().enumerate().find_map(|(at, stack)| {
        let settled_runs = if at == 0 { policy.settled_runs } else { shared_runs };
        merge_stack(state, stack, settled_runs, at == last)
    })
}

/// Neighbours to merge among those runs of a stack that are newer than all in work.
fn merge_stack(
    state: &TreeState<'_>,
    stack: &[TableRef],
    settled_runs: usize,
    is_last: bool,
) -> Option<Compaction> {
    let runs: Vec<_> = stack.iter().take_while(|run| state.is_free(run)).copied().collect();
    let reaches_oldest = is_last && runs.len() == stack.len();
    let size = |run: &TableRef| run.bytes.max(1);
    if let (true, [newer @ .., oldest]) = (reaches_oldest, &runs[..])
        && !newer.is_empty()
        && newer.iter().map(size).sum::<u64>() >= size(oldest)
    {
        return Some(Compaction { kind: TableKind::Latest, inputs: runs, is_last_run: true });
    }
    if runs.len() <= settled_runs {
        return None;
    }
    let ranges = (0..runs.len()).flat_map(|from| (from + 2..=runs.len()).map(move |to| (from, to)));
    let cost = |(from, to): (usize, usize)| {
        let (sum, most) = runs[from..to]
            .iter()
            .map(size)
            .fold((0, 0), |(sum, most), bytes| (sum + bytes, most.max(bytes)));
        most as f64 / (sum - most) as f64
    };
    let (from, to) = ranges.min_by(|a, b| cost(*a).total_cmp(&cost(*b)))?;
    let is_last_run = reaches_oldest && to == runs.len();
    let inputs = runs[from..to].to_vec();
    Some(Compaction { kind: TableKind::Latest, inputs, is_last_run })
}

/// The oldest run alone, when by its times a large part of it is past `keep_for`. What is left is not,
/// so that this comes to an end.
fn rewrite_oldest(state: &TreeState<'_>, policy: &CompactionPolicy) -> Option<Compaction> {
    let before = state.expired_before?;
    let may_go = |run: &&TableRef| state.is_free(run) && state.is_sound(run);
    let oldest = state.latest.last().filter(may_go)?;
    let (min, max) = (oldest.min_event_time as f64, oldest.max_event_time as f64);
    let share = (before as f64 - min) / (max - min).max(1.0);
    (oldest.min_event_time < before && share >= policy.expired_share).then(|| Compaction {
        kind: TableKind::Latest,
        inputs: vec![*oldest],
        is_last_run: true,
    })
}

/// A table alone, to be without what was erased. Not merged with its neighbours: what is left of it is not
/// needed for that.
fn rewrite_suspect(state: &TreeState<'_>) -> Option<Compaction> {
    rewrite_one_of(state, state.suspects)
}

/// History tables of one window: of about one size in a base window, any in a wider one, which they
/// leave by being split.
fn merge_history(state: &TreeState<'_>, policy: &CompactionPolicy) -> Option<Compaction> {
    let class = |table: &TableRef| {
        let window = Window::of(table);
        (window, if window.is_base() { table.bytes.max(1).ilog2() / 2 } else { 0 })
    };
    let may_go = |table: &&TableRef| state.is_free(table) && state.is_sound(table);
    let mut tables: Vec<_> = state.history.iter().filter(may_go).copied().collect();
    tables.sort_by_key(class);
    let mut groups = tables.chunk_by(|a, b| class(a) == class(b));
    let group = groups.find(|group| group.len() >= policy.history_fan_in.max(2))?;
    let inputs = group.iter().take(4 * policy.history_fan_in).copied().collect();
    Some(Compaction { kind: TableKind::History, inputs, is_last_run: false })
}

/// A table that gives space back when it is rewritten alone. Its number is named once: what it becomes is
/// another table, which is named again only when much of that may go.
fn rewrite_departing(state: &TreeState<'_>) -> Option<Compaction> {
    rewrite_one_of(state, state.departing)
}

/// One of `file_ids`, alone.
fn rewrite_one_of(state: &TreeState<'_>, file_ids: &[u64]) -> Option<Compaction> {
    let goes = |table: &&TableRef| {
        file_ids.contains(&table.file_id) && state.is_free(table) && state.is_sound(table)
    };
    let of_latest = state.latest.iter().find(goes).map(|run| (TableKind::Latest, run));
    let of_history = || Some((TableKind::History, state.history.iter().find(goes)?));
    let (kind, table) = of_latest.or_else(of_history)?;
    let is_last_run = state.latest.last().is_some_and(|last| last.file_id == table.file_id);
    Some(Compaction { kind, inputs: vec![*table], is_last_run })
}

#[cfg(test)]
mod tests;
