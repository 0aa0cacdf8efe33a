//! A memory controller's group for one process: version 1 or 2, whichever the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A group with a limit, removed at the end.
pub struct Cgroup {
    dir: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// Makes one for a test that may use `limit_bytes`, or says why it cannot be had.
    pub fn make(test: &str, limit_bytes: u64) -> Result<Self, String> {
        let root = Path::new("/sys/fs/cgroup");
        let v1 = root.join("memory");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let (parent, is_v2) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, false)
        } else if controllers.split_whitespace().any(|name| name == "memory") {
            (root.to_owned(), true)
        } else {
            return Err("there is no memory controller".to_owned());
        };
        let dir = parent.join(format!("thermae-memory-{test}-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("no group can be made: {error}"))?;
        let group = Self { dir, is_v2 };
        let file = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        let limited = fs::write(group.dir.join(file), limit_bytes.to_string());
        limited.map_err(|error| format!("no limit can be set: {error}"))?;
        // Where there is swap, memory must not leave by it.
        let _ = fs::write(group.dir.join("memory.swap.max"), "0");
        Ok(group)
    }

    /// A command that runs `program` in the group.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let enter = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
        command.args(["-c", enter, "sh"]).arg(&self.dir).arg(program);
        command
    }

    /// The most memory that was in use at a time, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let file = if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        self.read(file).trim().parse().unwrap()
    }

    /// How often the limit was hit, and memory reclaimed or refused for it.
    pub fn limit_hits(&self) -> u64 {
        if self.is_v2 {
            return self.stat("memory.events", "max");
        }
        self.read("memory.failcnt").trim().parse().unwrap()
    }

    /// How many processes were killed for the limit.
    pub fn killed(&self) -> u64 {
        self.stat(if self.is_v2 { "memory.events" } else { "memory.oom_control" }, "oom_kill")
    }

    /// Bytes of the page cache that are charged to the group now; memory that is shared is not counted.
    pub fn page_cache_bytes(&self) -> u64 {
        if self.is_v2 {
            return self.stat("memory.stat", "file") - self.stat("memory.stat", "shmem");
        }
        self.stat("memory.stat", "cache") - self.stat("memory.stat", "shmem")
    }

    fn stat(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir.join(file)).unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It goes once its process is gone.
        let _ = fs::remove_dir(&self.dir);
    }
}
