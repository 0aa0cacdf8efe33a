//! What the archive is to do next: pure decisions over what is there. Whoever carries them out holds no policy.

use std::collections::BTreeMap;

use thermae_formats::ViewId;

use super::FileRef;
use super::write::DAY_US;

/// How the archive is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivePolicy {
    /// How long a flushed row may wait to be archived, in microseconds.
    pub lag_us: i64,
    /// Bytes of rows in memory that a batch has at most, unless one partition alone has more.
    pub batch_bytes: u64,
    /// A file below this is small.
    pub small_file_bytes: u64,
    /// A merge of small files makes at most this much of them.
    pub file_bytes: u64,
    /// Small files of one day from which on they are merged.
    pub merge_files: usize,
    /// How long an object that no commit names, or names no more, stays, in microseconds: longer than any read or
    /// upload takes.
    pub grace_us: i64,
    /// How the table log is kept.
    pub log: LogPolicy,
}

/// How the table log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    /// Commits after which a checkpoint is written.
    pub checkpoint_commits: u64,
    /// How long commits stay that a checkpoint stands for, in microseconds: longer than any reader that began
    /// before takes.
    pub keep_us: i64,
    /// How long a checkpoint says of a file that it left the table, in microseconds: longer than its object stays.
    pub removed_us: i64,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { checkpoint_commits: 64, keep_us: 7 * DAY_US, removed_us: 30 * DAY_US }
    }
}

impl Default for ArchivePolicy {
    fn default() -> Self {
        Self {
            lag_us: 60_000_000,
            batch_bytes: 64 << 20,
            small_file_bytes: 16 << 20,
            file_bytes: 64 << 20,
            merge_files: 8,
            grace_us: DAY_US,
            log: LogPolicy::default(),
        }
    }
}

/// How far a partition's rows of one view have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// First sequence that is not archived: the table's own word ([`super::Snapshot::archived`]).
    pub archived: u64,
    /// First sequence that is not in a warm table yet.
    pub flushed: u64,
    /// Bytes of its rows between the two, about.
    pub waiting_bytes: u64,
    /// When the oldest of them was flushed, in microseconds UTC.
    pub waiting_since_us: i64,
}

/// Rows to archive together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Their view.
    pub view: ViewId,
    /// For each partition the first sequence, and the first that is not of the batch.
    pub advances: BTreeMap<u16, (u64, u64)>,
}

/// The batch to archive next, if one is due: of the view whose rows have waited longest, when that is longer than
/// the policy's lag, or when a batch is full. Partitions come in their order, which is that of the hashes, up to
/// the batch's size: a table is read through once.
pub fn next_batch(
    state: &BTreeMap<(ViewId, u16), Progress>,
    policy: &ArchivePolicy,
    now_us: i64,
) -> Option<BatchPlan> {
    let waiting = |progress: &&Progress| progress.archived < progress.flushed;
    let mut views: BTreeMap<ViewId, (i64, u64)> = BTreeMap::new();
    for ((view, _), progress) in state.iter().filter(|(_, progress)| waiting(progress)) {
        let (since_us, bytes) = views.entry(*view).or_insert((i64::MAX, 0));
        *since_us = (*since_us).min(progress.waiting_since_us);
        *bytes = bytes.saturating_add(progress.waiting_bytes);
    }
    let due = |since_us: i64, bytes: u64| {
        since_us <= now_us.saturating_sub(policy.lag_us) || bytes >= policy.batch_bytes
    };
    let (_, view) = views
        .iter()
        .filter(|(_, (since_us, bytes))| due(*since_us, *bytes))
        .map(|(view, (since_us, _))| (*since_us, *view))
        .min()?;
    let mut plan = BatchPlan { view, advances: BTreeMap::new() };
    let mut bytes = 0_u64;
    for ((_, partition), progress) in
        state.range((view, 0)..=(view, u16::MAX)).filter(|(_, progress)| waiting(progress))
    {
        bytes = bytes.saturating_add(progress.waiting_bytes);
        if bytes > policy.batch_bytes && !plan.advances.is_empty() {
            break;
        }
        plan.advances.insert(*partition, (progress.archived, progress.flushed));
    }
    Some(plan)
}

/// How long rows have waited at most, in microseconds: what is reported as the archive's lag.
pub fn lag_us(state: &BTreeMap<(ViewId, u16), Progress>, now_us: i64) -> i64 {
    let waiting = state.values().filter(|progress| progress.archived < progress.flushed);
    let since = waiting.map(|progress| progress.waiting_since_us).min();
    since.map_or(0, |since_us| now_us.saturating_sub(since_us).max(0))
}

/// Files to write anew as one, all of one day: the day with the most small files, if they are enough. Files that
/// grew to full size are left alone, so that a row is rewritten a few times, not each time that others come.
pub fn next_merge<'a>(
    files: impl Iterator<Item = &'a FileRef>,
    policy: &ArchivePolicy,
) -> Option<Vec<String>> {
    let mut days: BTreeMap<i32, Vec<&FileRef>> = BTreeMap::new();
    for file in files.filter(|file| file.bytes < policy.small_file_bytes) {
        days.entry(file.day).or_default().push(file);
    }
    let mut small = days.into_values().max_by_key(Vec::len)?;
    if small.len() < policy.merge_files.max(2) {
        return None;
    }
    small.sort_by_key(|file| (file.bytes, file.path.clone()));
    let mut bytes = 0_u64;
    let fits = |file: &&&FileRef| {
        bytes = bytes.saturating_add(file.bytes);
        bytes <= policy.file_bytes
    };
    let paths: Vec<String> = small.iter().take_while(fits).map(|file| file.path.clone()).collect();
    (paths.len() > 1).then_some(paths)
}

/// Files all of whose rows are past `keep_for` at the slowest partition's newest event time: event time against
/// event time, as in the warm tier, so that a replay removes the same. `None` is a partition without rows.
pub fn expired<'a>(
    files: impl Iterator<Item = &'a FileRef>,
    keep_for_us: i64,
    slowest_watermark: Option<i64>,
) -> Vec<String> {
    let past =
        |file: &&FileRef| crate::merge::is_past(file.event_times.1, keep_for_us, slowest_watermark);
    files.filter(past).map(|file| file.path.clone()).collect()
}

/// Whether an object that no commit names may go: written at `modified_us`, and taken out of the table at
/// `removed_us` if it ever was in it. Not before the grace has passed since either: a reader may read it still,
/// and an attempt that has uploaded it may be about to commit.
pub fn may_sweep(
    modified_us: i64,
    removed_us: Option<i64>,
    policy: &ArchivePolicy,
    now_us: i64,
) -> bool {
    let since_us = removed_us.unwrap_or(modified_us).max(modified_us);
    since_us < now_us.saturating_sub(policy.grace_us)
}

#[cfg(test)]
mod tests;
