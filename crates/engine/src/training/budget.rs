//! How the memory of a training read is divided.

use thermae_tiering::spill::Limits;

/// Bytes that one helper thread needs at least: fewer would be blocks and runs too small to work with.
const LEAST_BYTES_PER_THREAD: usize = 64 << 10;
const PAGE_BYTES: usize = 4096;
/// A block larger than this is read no faster.
const BLOCK_BYTES: usize = 256 << 10;
/// Entries that are joined together are so few that the processor's caches hold what is looked at most.
const MOST_CHUNK_BYTES: usize = 6 << 20;
/// Ranges of the entity hash that a thread takes on average, so that all end at about the same time.
const RANGES_PER_THREAD: u64 = 4;

/// Bytes of the smallest budget with that many helper threads.
pub const fn least_budget_bytes(threads: usize) -> usize {
    let threads = if threads == 0 { 1 } else { threads };
    threads * LEAST_BYTES_PER_THREAD
}

/// What each part of a training read may take. Entries stay in memory while answers are made, and answers
/// while they are assembled; runs are read while either is; some entries are joined at a time: two eighths, three
/// eighths, two and one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub threads: usize,
    /// Ranges of the entity hash that are joined one by one.
    pub ranges: u64,
    /// The sort of one thread's entries; each thread reads the runs of all.
    pub entries: Limits,
    /// The sort of one thread's answers.
    pub answers: Limits,
    /// The answers of all threads, which are read once.
    pub all_answers: Limits,
    /// The entries that one thread joins at a time,
    pub chunk_bytes: usize,
    /// .. and what they find.
    pub findings_bytes: usize,
}

impl Shares {
    /// Divides `budget_bytes` for `threads` helper threads.
    pub fn divide(budget_bytes: usize, threads: usize) -> Self {
        let threads = threads.max(1);
        let budget_bytes = budget_bytes.max(least_budget_bytes(threads));
        let block_bytes =
            (budget_bytes / 1024 / PAGE_BYTES * PAGE_BYTES).clamp(PAGE_BYTES, BLOCK_BYTES);
        let blocks = budget_bytes / 4 / block_bytes;
        let eighth_bytes = budget_bytes / 8;
        let of = |eighths: usize, parts: usize, readers: usize| Limits {
            memory_bytes: eighths * eighth_bytes / parts,
            block_bytes,
            // One block of each is for the run that is being written.
            fan_in: (blocks / readers).saturating_sub(1).max(2),
        };
        Self {
            threads,
            // One range for one thread: a source is opened once.
            ranges: if threads == 1 { 1 } else { threads as u64 * RANGES_PER_THREAD },
            entries: of(2, threads, threads),
            answers: of(3, threads, threads),
            all_answers: of(3, 1, 1),
            chunk_bytes: (eighth_bytes / threads / 2).min(MOST_CHUNK_BYTES),
            findings_bytes: eighth_bytes / threads / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_within_the_budget_at_all_times() {
        for threads in 1..=16 {
            for shift in 0..40 {
                let budget = least_budget_bytes(threads).max(1 << shift);
                let shares = Shares::divide(budget, threads);
                let Shares { entries, answers, all_answers, .. } = shares;
                let joined = (shares.chunk_bytes + shares.findings_bytes) * threads;
                let reading =
                    |limits: Limits, readers| (limits.fan_in + 1) * limits.block_bytes * readers;
                let sorted = (entries.memory_bytes + answers.memory_bytes) * threads + joined;
                assert!(sorted + reading(entries, threads) <= budget, "{shares:?}");
                assert!(sorted + reading(answers, threads) <= budget, "{shares:?}");
                assert!(sorted + reading(all_answers, 1) <= budget, "{shares:?}");
            }
        }
        assert_eq!(Shares::divide(0, 0), Shares::divide(64 << 10, 1));
    }
}
