//! What the device gives: random 4 KiB reads of a store's own tables, past the page cache, through our ring.

use super::reading::cpu;
use crate::workload::Dice;
use anyhow::Context;
use rustix::time::ClockId;
use std::time::{Duration, Instant};
use thermae_env::Wait;
use thermae_load::device::{Access, Device};
use thermae_load::session::Session;

/// Reads a second with `depth` in flight throughout, and microseconds of processor time for one: what no
/// look-up on disk can do without. It sleeps while nothing has ended, as a shard does.
///
/// # Errors
/// A read failed or was short.
pub fn rate(
    device: &mut Device,
    dice: &mut Dice,
    depth: usize,
    time: Duration,
) -> anyhow::Result<(f64, f64)> {
    device.turn_to(Access::Read { depth });
    let (mut reads, mut done, mut measured) = (0, Vec::new(), None);
    let (started, cpu_before_s) = (Instant::now(), cpu(ClockId::ProcessCPUTime));
    while measured.is_none() || device.room() < depth {
        while measured.is_none() && device.room() > 0 {
            device.submit(dice.next_u64(), 0);
        }
        device.turn(Wait::Forever, &mut done)?;
        let elapsed = started.elapsed();
        if measured.is_none() {
            reads += done.len() as u64;
            if elapsed >= time {
                let cpu_s = cpu(ClockId::ProcessCPUTime) - cpu_before_s;
                measured = Some((elapsed.as_secs_f64(), cpu_s));
            }
        }
        done.clear();
    }
    let (seconds, cpu_s) = measured.context("nothing was measured")?;
    Ok((reads as f64 / seconds, cpu_s * 1e6 / reads.max(1) as f64))
}
