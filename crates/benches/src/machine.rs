//! Where a figure was taken.

use anyhow::Context;
use serde::Serialize;

/// The machine, as it says itself.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// Cores that the benchmark may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Load averages before the run: what else ran.
    pub load_before: String,
}

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

impl Machine {
    /// Asks the machine.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let line = |text: &str, name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = line(&read("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let load = read("/proc/loadavg");
        Self {
            cpu: line(&read("/proc/cpuinfo"), "model name"),
            cores: crate::pin::cores(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: kilobytes * 1024,
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}
