//! What the kernel says about this process: processor time, memory, bytes from the device; and sizes of files.

use anyhow::Context;
use rustix::time::ClockId;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use thermae_benches::machine;
use thermae_benches::page_cache::files;
use thermae_benches::warm::reading::cpu;

/// Bytes of a unit of `st_blocks`.
const STAT_BLOCK_BYTES: u64 = 512;

/// Processor time and device reads up to now.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Of all threads, in the program and in the kernel, seconds.
    pub cpu_s: f64,
    /// Bytes that the device was asked for; what the page cache answered is not among them.
    pub device_bytes: u64,
}

impl Usage {
    /// Asks the kernel.
    ///
    /// # Errors
    /// It does not count what a process reads.
    pub fn now() -> anyhow::Result<Self> {
        let device_bytes = number("/proc/self/io", "read_bytes:")?;
        Ok(Self { cpu_s: cpu(ClockId::ProcessCPUTime), device_bytes })
    }
}

/// Most memory that was resident since the last call, bytes.
///
/// # Errors
/// The kernel does not say.
pub fn peak_resident_bytes() -> anyhow::Result<u64> {
    let peak_bytes = machine::peak_resident_bytes()?;
    // "5" sets the peak back to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").context("cannot set the peak of memory back")?;
    Ok(peak_bytes)
}

/// The first number behind `name` in a file of the kernel.
fn number(file: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("no {name} in {file}"))
}

/// Bytes that the files below `folder` take on the disk: of a log set aside in advance, what is written.
///
/// # Errors
/// As [`files`].
pub fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let blocks =
        files(folder)?.iter().filter_map(|file| Some(file.metadata().ok()?.blocks())).sum::<u64>();
    Ok(blocks * STAT_BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_peak_is_of_what_was_touched_since() {
        peak_resident_bytes().unwrap();
        let before = peak_resident_bytes().unwrap();
        let touched = vec![1u8; 64 << 20];
        assert!(touched.iter().map(|byte| u64::from(*byte)).sum::<u64>() > 0);
        assert!(peak_resident_bytes().unwrap() >= before + (32 << 20));
    }
}
