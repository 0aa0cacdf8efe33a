//! What the device gives: random 4 KiB reads of the same files, past the page cache, through our ring.

use super::reading::cpu;
use crate::workload::Dice;
use anyhow::{Context, ensure};
use rustix::time::ClockId;
use std::path::Path;
use std::time::{Duration, Instant};
use thermae_env::{
    AlignedBuf, BLOCK_BYTES, Env, Event, File, OpenHow, RealEnv, RealFile, Ring, UringRing, Wait,
};

/// The tables of a store, to be read at random.
pub struct Device {
    files: Vec<RealFile>,
    /// Number of blocks up to and with each file.
    ends: Vec<u64>,
    ring: UringRing,
    dice: Dice,
}

impl Device {
    /// Opens the tables in `folder`.
    ///
    /// # Errors
    /// There are none, or they cannot be opened.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let (env, mut files, mut ends) = (RealEnv, Vec::new(), Vec::new());
        for entry in env.list(folder)?.iter().filter(|entry| entry.name.ends_with(".tbl")) {
            let file = env.open(&folder.join(&entry.name), OpenHow::READ.direct())?;
            let blocks = file.len_bytes()? / BLOCK_BYTES as u64;
            ends.push(ends.last().copied().unwrap_or(0) + blocks);
            files.push(file);
        }
        ensure!(ends.last().is_some_and(|blocks| *blocks > 0), "no tables in {}", folder.display());
        Ok(Self { files, ends, ring: env.ring()?, dice: Dice::new(42) })
    }

    fn submit(&mut self, buf: AlignedBuf) -> anyhow::Result<()> {
        let blocks = self.ends.last().copied().context("no tables")?;
        let block = self.dice.next_u64() % blocks;
        let at = self.ends.partition_point(|end| *end <= block);
        let first = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let offset_bytes = (block - first) * BLOCK_BYTES as u64;
        self.ring.read(0, &self.files[at], offset_bytes, buf);
        Ok(())
    }

    /// Reads a second with `depth` in flight throughout, and microseconds of processor time for one: what no
    /// look-up on disk can do without.
    ///
    /// # Errors
    /// A read failed or was short.
    pub fn rate(&mut self, depth: usize, time: Duration) -> anyhow::Result<(f64, f64)> {
        for _ in 0..depth {
            self.submit(AlignedBuf::zeroed(BLOCK_BYTES))?;
        }
        let (mut reads, mut in_flight, mut events) = (0u64, depth, Vec::new());
        let (started, cpu_before_s) = (Instant::now(), cpu(ClockId::ProcessCPUTime));
        let mut measured = None;
        while in_flight > 0 {
            self.ring.turn(Wait::Forever, &mut events)?;
            for event in events.drain(..) {
                let Event::Read { buf, result, .. } = event else { continue };
                ensure!(result? == BLOCK_BYTES, "a short read inside a table");
                if measured.is_none() {
                    reads += 1;
                    self.submit(buf)?;
                } else {
                    in_flight -= 1;
                }
            }
            let elapsed = started.elapsed();
            if measured.is_none() && elapsed >= time {
                let cpu_s = cpu(ClockId::ProcessCPUTime) - cpu_before_s;
                measured = Some((elapsed.as_secs_f64(), cpu_s));
            }
        }
        let (seconds, cpu_s) = measured.context("nothing was measured")?;
        Ok((reads as f64 / seconds, cpu_s * 1e6 / reads.max(1) as f64))
    }
}
