//! Where a figure was taken.

use anyhow::Context;

pub use thermae_load::machine::Machine;

/// Units of `/proc/PID/stat`, which Linux promises.
const TICKS_PER_S: f64 = 100.0;

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

/// Seconds on a processor: of a process (`PID`, `self`) and of the children that it has waited for, or of a thread
/// (`PID/task/TID`).
///
/// # Errors
/// There is no such process, or the system says something else of it than Linux does.
pub fn cpu_seconds(process: &str) -> anyhow::Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("a process without a name")?;
    let number = |at: usize| -> anyhow::Result<f64> {
        Ok(rest.split(' ').nth(at).context("too few figures of a process")?.parse()?)
    };
    let seconds = |ticks: f64| ticks / TICKS_PER_S;
    Ok((seconds(number(11)? + number(12)?), seconds(number(13)? + number(14)?)))
}
