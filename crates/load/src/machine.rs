//! What the system says of this machine and this process.

use serde::{Deserialize, Serialize};

/// What a process has used by now; zeros where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Time on processors, microseconds.
    pub cpu_us: u64,
    /// Memory that is resident, shared maps included, bytes.
    pub resident_bytes: u64,
    /// Read from devices, bytes.
    pub read_bytes: u64,
    /// Written to devices, bytes.
    pub written_bytes: u64,
}

impl Process {
    /// Of this process.
    pub fn here() -> Self {
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_us = clock.tv_sec as u64 * 1_000_000 + clock.tv_nsec as u64 / 1000;
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (status, io) = (text("/proc/self/status"), text("/proc/self/io"));
        let number = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0_u64)
        };
        Self {
            cpu_us,
            resident_bytes: number(&status, "VmRSS:") << 10,
            read_bytes: number(&io, "read_bytes:"),
            written_bytes: number(&io, "write_bytes:"),
        }
    }
}

/// The machine, as it says itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Load averages before the run: what else ran.
    pub load_before: String,
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
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let process = Process::here();
        assert!(process.resident_bytes > 1 << 20 && process.cpu_us > 0);
    }
}
