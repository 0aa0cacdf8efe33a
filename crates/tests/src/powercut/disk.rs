//! A file system of our own in an image file, whose power can be cut: what was not synced is gone
//! when it is mounted again. Gone with its value, whatever happened on the way.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Size of the image; sparse, only what is written takes room.
const IMAGE_BYTES: u64 = 6 << 30;
/// A killed process may hold its files for a moment longer than it is there.
const UNMOUNT_SECONDS_MAX: u64 = 10;

/// A journalling file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// With a journal, data ordered: as distributions mount it.
    Ext4,
    /// As distributions mount it.
    Xfs,
}

impl FileSystem {
    fn make(self, image: &Path) -> Result<(), String> {
        let (maker, options): (_, &[&str]) = match self {
            FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-F", "-O", "has_journal"]),
            FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f"]),
        };
        run(program(maker).args(options).arg(image)).map(|_| ())
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        })
    }
}

/// What the disk does with what it was given and not told to flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Keeps it: only what the file system held back is lost.
    WriteThrough,
    /// Loses it: the image lies on a second file system of ours, in whose cache the writes stay until
    /// a flush, and it is that one that is cut.
    WriteBack,
}

impl fmt::Display for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Drive::WriteThrough => "write-through",
            Drive::WriteBack => "write-back",
        })
    }
}

/// A mounted file system on a loop device; unmounted, detached and deleted when dropped.
pub struct CutDisk {
    // In the order in which they must go.
    file_system: Volume,
    drive: Option<Volume>,
    /// Holds images and mount points.
    dir: TempDir,
}

impl CutDisk {
    /// Makes and mounts an empty one in the directory for temporary files.
    ///
    /// # Errors
    /// The command that failed, and what it said.
    pub fn new(file_system: FileSystem, drive: Drive) -> Result<CutDisk, String> {
        Self::of_size(file_system, drive, IMAGE_BYTES)
    }

    /// The same, of a size.
    ///
    /// # Errors
    /// The command that failed, and what it said.
    pub fn of_size(file_system: FileSystem, drive: Drive, bytes: u64) -> Result<CutDisk, String> {
        let dir = tempfile::Builder::new().prefix("thermae-powercut-").tempdir();
        let dir = dir.map_err(|e| format!("no temporary directory: {e}"))?;
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        let (drive, file_system) = match drive {
            Drive::WriteThrough => (None, Volume::make(file_system, image, mount, bytes, true)?),
            Drive::WriteBack => {
                let drive_mount = dir.path().join("drive");
                let image_inside = drive_mount.join("image");
                let drive = Volume::make(FileSystem::Xfs, image, drive_mount, 2 * bytes, true)?;
                let file_system = Volume::make(file_system, image_inside, mount, bytes, false)?;
                (Some(drive), file_system)
            }
        };
        Ok(CutDisk { file_system, drive, dir })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.file_system.mount
    }

    /// A place beside the file system, which no cut touches.
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// Mounts it again, read-only or not.
    ///
    /// # Errors
    /// What `mount` said: somebody writes to it, for one.
    pub fn set_read_only(&self, is_read_only: bool) -> Result<(), String> {
        let how = if is_read_only { "remount,ro" } else { "remount,rw" };
        run(program("mount").args(["-o", how]).arg(self.path())).map(|_| ())
    }

    /// Begins to cut the power: nothing more reaches the disk from some moment before the child ends.
    ///
    /// # Errors
    /// `xfs_io` did not start.
    pub fn begin_cut(&self) -> Result<Cut, String> {
        let lowest = self.drive.as_ref().unwrap_or(&self.file_system);
        let quiet = &mut shutdown(&lowest.mount);
        let quiet = quiet.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = quiet.spawn().map_err(|e| format!("xfs_io: {e}"))?;
        let above = self.drive.is_some().then(|| self.path().to_owned());
        Ok(Cut { child, above })
    }

    /// Whether writes to the file system fail, as they must after a cut.
    pub fn is_cut(&self) -> bool {
        !takes_writes(self.path())
    }

    /// The power is back: mounts it again, by which its journal is replayed.
    ///
    /// # Errors
    /// The command that failed, and what it said.
    pub fn remount(&mut self) -> Result<(), String> {
        self.file_system.detach()?;
        if let Some(drive) = &mut self.drive {
            drive.detach()?;
            drive.attach()?;
        }
        self.file_system.attach()
    }
}

/// An image file with a file system, on a loop device, mounted.
struct Volume {
    kind: FileSystem,
    image: PathBuf,
    mount: PathBuf,
    /// Whether the device goes past the cache of the file system that the image lies on.
    is_direct: bool,
    /// While it is attached; ours alone.
    device: Option<String>,
    is_mounted: bool,
}

impl Volume {
    fn make(
        kind: FileSystem,
        image: PathBuf,
        mount: PathBuf,
        bytes: u64,
        is_direct: bool,
    ) -> Result<Volume, String> {
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(bytes));
        made.and_then(|()| std::fs::create_dir(&mount)).map_err(|e| e.to_string())?;
        kind.make(&image)?;
        // The image itself, and its place in its directory, survive every cut.
        let synced = std::fs::File::open(&image).and_then(|file| file.sync_all());
        let dir = image.parent().unwrap_or(Path::new("/"));
        synced.and_then(|()| std::fs::File::open(dir)?.sync_all()).map_err(|e| e.to_string())?;
        let mut volume = Volume { kind, image, mount, is_direct, device: None, is_mounted: false };
        volume.attach()?;
        Ok(volume)
    }

    fn attach(&mut self) -> Result<(), String> {
        let attach = |direct: &[&str]| {
            let mut losetup = program("losetup");
            run(losetup.args(["--find", "--show"]).args(direct).arg(&self.image))
        };
        // Not every file system that holds temporary files can do direct input and output.
        let output = match self.is_direct {
            true => attach(&["--direct-io=on"]).or_else(|_| attach(&[]))?,
            false => attach(&[])?,
        };
        let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let device = self.device.insert(device);
        let kind = self.kind.to_string();
        run(program("mount").args(["-t", &kind, device]).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    fn detach(&mut self) -> Result<(), String> {
        if self.is_mounted {
            self.unmount()?;
        }
        if let Some(device) = self.device.take() {
            run(program("losetup").args(["--detach", &device]))?;
        }
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(UNMOUNT_SECONDS_MAX);
        loop {
            match run(program("umount").arg(&self.mount)) {
                Ok(_) => break,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.detach().is_err() && self.is_mounted {
            // Somebody still looks at it: it goes when they do, and the device with it.
            let _ = run(program("umount").arg("--lazy").arg(&self.mount));
            self.is_mounted = false;
            let _ = self.detach();
        }
    }
}

/// A power cut under way.
pub struct Cut {
    child: Child,
    /// The file system above the drive that is cut.
    above: Option<PathBuf>,
}

impl Cut {
    /// Whether the power is gone by now.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn has_ended(&mut self) -> Result<bool, String> {
        self.child.try_wait().map(|status| status.is_some()).map_err(|e| e.to_string())
    }

    /// Waits until the power is gone. Returns a moment shortly after it went.
    ///
    /// # Errors
    /// What `xfs_io` said.
    pub fn end(self) -> Result<Instant, String> {
        let output = self.child.wait_with_output().map_err(|e| format!("xfs_io: {e}"))?;
        let gone_at = Instant::now();
        succeeded("xfs_io shutdown", &output)?;
        if let Some(mount) = &self.above {
            // Nothing of this file system reaches its drive any more; now it knows. It may have noticed
            // by itself, and then `xfs_io` cannot even look at it.
            let told = run(&mut shutdown(mount));
            if takes_writes(mount) {
                told?;
            }
        }
        Ok(gone_at)
    }
}

fn takes_writes(mount: &Path) -> bool {
    std::fs::write(mount.join("probe"), b"probe").is_ok()
}

/// Without `-f` nothing is flushed, not even the journal.
fn shutdown(mount: &Path) -> Command {
    let mut command = program("xfs_io");
    command.args(["-x", "-c", "shutdown"]).arg(mount);
    command
}

/// A command that finds what lies where only root looks.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command
}

fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{name}: {e}"))?;
    succeeded(&name, &output)?;
    Ok(output)
}

fn succeeded(name: &str, output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} ended with {}: {}", output.status, said.trim()))
}
