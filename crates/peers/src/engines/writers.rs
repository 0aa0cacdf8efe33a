//! Durable batches from several threads, for peers whose writes block: as many in flight as ours has.

use crate::rows::{Rows, key};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use thermae_benches::warm::load::BATCH_ROWS;

/// Rows to write, batch by batch.
pub struct Batches<'a> {
    rows: &'a Rows,
    count: u64,
    next: AtomicU64,
}

impl Batches<'_> {
    /// Calls `put` with key and value of each row of the next batch; `false` when there is none left.
    ///
    /// # Errors
    /// Never in practice: the rows are fixed and valid.
    pub fn next(&self, mut put: impl FnMut(&[u8], &[u8])) -> anyhow::Result<bool> {
        let first = self.next.fetch_add(BATCH_ROWS, Ordering::Relaxed);
        let mut bytes = Vec::new();
        for id in first..(first + BATCH_ROWS).min(self.count) {
            put(&key(id), self.rows.of_peer(id, &mut bytes)?);
        }
        Ok(first < self.count)
    }
}

/// Runs `work` on `threads` threads until rows `0..count` are written; the seconds that it took.
///
/// # Errors
/// What a thread returned, or that it died.
pub fn write<W>(rows: &Rows, count: u64, threads: usize, work: W) -> anyhow::Result<f64>
where
    W: Fn(&Batches<'_>) -> anyhow::Result<()> + Sync,
{
    let batches = Batches { rows, count, next: AtomicU64::new(0) };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&batches))).collect();
        writers.into_iter().try_for_each(|writer| {
            writer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a writer died")))
        })
    })?;
    Ok(started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_row_is_written_once() {
        let (rows, seen) = (Rows::new().unwrap(), Mutex::new(Vec::new()));
        write(&rows, 2500, 4, |batches| {
            while batches.next(|key, _| seen.lock().unwrap().push(key.to_vec()))? {}
            Ok(())
        })
        .unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        let mut expected: Vec<Vec<u8>> = (0..2500).map(|id| key(id).to_vec()).collect();
        expected.sort();
        assert_eq!(seen, expected);
    }
}
