//! A small ext4 of our own, for faults of a whole file system. Where the machine cannot make one, the
//! tests that want it say so and are skipped.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use thermae_tests::powercut::{CutDisk, Drive, FileSystem, missing_for_mounts};

/// An ext4 of this size; none where that cannot be, which is said.
pub fn small_disk(test: &str, bytes: u64) -> Option<CutDisk> {
    let mut missing = missing_for_mounts();
    if missing.is_empty() {
        match CutDisk::of_size(FileSystem::Ext4, Drive::WriteThrough, bytes) {
            Ok(disk) => return Some(disk),
            Err(error) => missing.push(format!("a loop mount that works: {error}")),
        }
    }
    skipped(test, &missing.join("; "));
    None
}

/// Says so past the test harness, which keeps what passing tests print to itself.
pub fn skipped(test: &str, needs: &str) {
    let _ = writeln!(std::io::stderr(), "{test} ... SKIPPED: needs {needs}");
}

/// A file that takes all room of the disk but some.
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// Leaves `free_bytes` to others.
    pub fn leaving(disk: &Path, free_bytes: u64) -> Ballast {
        let path = disk.join("ballast");
        let file = File::create(&path).unwrap();
        let mode = rustix::fs::FallocateFlags::empty();
        let mut taken = 0;
        // In steps: what describes the ballast takes room, too.
        loop {
            let more = free(disk).saturating_sub(free_bytes) / 4096 * 4096;
            if more == 0 || rustix::fs::fallocate(&file, mode, taken, more).is_err() {
                break;
            }
            taken += more;
        }
        Ballast { path }
    }

    /// Gives the room back.
    pub fn drop_it(self) {
        std::fs::remove_file(self.path).unwrap();
    }
}

/// Bytes that the disk has left for everybody.
fn free(disk: &Path) -> u64 {
    let stat = rustix::fs::statvfs(disk).unwrap();
    stat.f_bfree * stat.f_frsize
}
