//! Where a figure was taken.

use anyhow::Context;

pub use thermae_load::machine::Machine;

/// The most memory that this process has had resident at a time, its maps of shared memory included.
///
/// # Errors
/// The system does not say.
pub fn peak_resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.context("no VmHWM in /proc/self/status")? << 10)
}
