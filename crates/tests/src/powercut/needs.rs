//! What power cuts need of the machine, said by name where it is missing.

use std::path::{Path, PathBuf};

use super::disk::{CutDisk, Drive, FileSystem};

/// Programs, and the Debian package of each.
const PROGRAMS: &[(&str, &str)] = &[
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("xfs_io", "xfsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// Where programs for root lie, whatever PATH says.
const ROOT_PATHS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What is missing for power cuts of these disks, each with what to do; empty if they work here, which
/// one trial cut of each has shown.
pub fn missing(disks: &[(FileSystem, Drive)]) -> Vec<String> {
    let mut missing = missing_programs(PROGRAMS);
    if missing.is_empty() {
        for &(file_system, drive) in disks {
            if let Err(error) = try_cut(file_system, drive) {
                missing.push(format!("{file_system}, {drive}, cannot be cut here: {error}"));
            }
        }
    }
    missing
}

/// What is missing for an ext4 of our own that is only mounted, each with what to do.
pub fn missing_for_mounts() -> Vec<String> {
    let is_for_xfs = |program: &str| program.contains("xfs");
    let programs: Vec<_> =
        PROGRAMS.iter().copied().filter(|(program, _)| !is_for_xfs(program)).collect();
    missing_programs(&programs)
}

fn missing_programs(programs: &[(&str, &str)]) -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("loop mounts need root (run as root)".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        missing.push("no loop devices: /dev/loop-control is not there (modprobe loop)".to_owned());
    }
    for (program, package) in programs {
        if !is_installed(program) {
            missing.push(format!("{program} is not installed (apt-get install {package})"));
        }
    }
    missing
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let root_paths = ROOT_PATHS.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(root_paths).any(|dir| dir.join(program).is_file())
}

/// A file that was not synced is gone or empty after a cut, one that was synced is whole.
fn try_cut(file_system: FileSystem, drive: Drive) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut disk = CutDisk::new(file_system, drive)?;
    let (synced, lost) = (disk.path().join("synced"), disk.path().join("lost"));
    std::fs::write(&synced, b"synced").map_err(text)?;
    let file = std::fs::File::open(&synced).and_then(|file| file.sync_all());
    file.and_then(|()| std::fs::File::open(disk.path())?.sync_all()).map_err(text)?;
    std::fs::write(&lost, b"lost").map_err(text)?;
    disk.begin_cut()?.end()?;
    if !disk.is_cut() {
        return Err("it can be written to after the cut".to_owned());
    }
    disk.remount()?;
    if std::fs::read(&synced).map_err(text)? != b"synced" {
        return Err("a synced file was damaged by the cut".to_owned());
    }
    match std::fs::read(&lost) {
        Ok(bytes) if bytes == b"lost" => Err("what was not synced survived the cut".to_owned()),
        _ => Ok(()),
    }
}
