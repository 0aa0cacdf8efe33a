//! Arguments of `thermae backup` and `thermae restore`.

use std::path::PathBuf;

use clap::Args;
use thermae_engine::backup::BackupName;

use crate::serve::size::Size;

/// `thermae backup`
#[derive(Args, Debug)]
#[command(after_help = "\
A backup holds everything that was acknowledged before the command, while the server serves on. Tables that the place
has from earlier backups are not copied again. A backup that was interrupted is none; the next one goes on from it.

Without --data the server takes it, in the place PLACE below the one that it was started with (--backup-dir).
With --data, --list and --verify, PLACE is a directory here, or the address of an object store (s3://BUCKET/PREFIX, gs://,
az://): keys are environment variables (AWS_ACCESS_KEY_ID, ...).

Examples:
  thermae backup daily --keep 7
  thermae backup /mnt/backups/shop --data /var/lib/thermae
  thermae backup /mnt/backups/shop --list
  thermae backup /mnt/backups/shop --remove 00000003-20260102T030405Z
  thermae backup s3://backups/shop --verify")]
pub struct BackupArgs {
    /// Where to
    #[arg(value_name = "PLACE")]
    pub place: PathBuf,
    /// Of this data directory, which no server has open
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list", "verify"])]
    pub data: Option<PathBuf>,
    /// Show the backups that are there
    #[arg(long, conflicts_with = "verify")]
    pub list: bool,
    /// Read every byte of every backup that is there; exit code 4 if there is damage
    #[arg(long)]
    pub verify: bool,
    /// With --verify: this backup alone, as --list shows its name
    #[arg(long, value_name = "BACKUP", requires = "verify")]
    pub name: Option<BackupName>,
    /// Remove this backup, as --list shows its name, and the tables that only it names; may be given again
    #[arg(long, value_name = "BACKUP", conflicts_with_all = ["list", "verify", "data", "keep", "rate"])]
    pub remove: Vec<BackupName>,
    /// Keep the newest N backups, and remove the others and the tables that only they name
    #[arg(long, value_name = "N", conflicts_with_all = ["list", "verify"],
          value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Bytes a second at most, 0 for no limit [default: 128MiB of a server, no limit of a directory]
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["list", "verify"])]
    pub rate: Option<Size>,
}

/// `thermae restore`
#[derive(Args, Debug)]
#[command(after_help = "\
Every piece is compared with its checksum before it is written. Where one does not hold, the file and the place in it
are named, and nothing is restored. A restore that was interrupted leaves a directory that does not open: run it again.

What was acknowledged after the backup is not in it. Loads may be repeated: rows that it has are not doubled.

A backup of a store whose rows have left for its archive names the archive's objects and does not hold them. Give the
archive too, and, where it has gone on since, an empty root for a copy: then serve the directory with that.

Examples:
  thermae restore /mnt/backups/shop --data /var/lib/thermae-restored
  thermae restore s3://backups/shop --data restored --archive s3://archive/shop --with-archive s3://archive/shop-2")]
pub struct RestoreArgs {
    /// The directory of the backups, or their address
    #[arg(value_name = "PLACE")]
    pub place: PathBuf,
    /// The data directory to make; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// This backup, as `thermae backup PLACE --list` shows its name [default: the newest]
    #[arg(long, value_name = "BACKUP")]
    pub name: Option<BackupName>,
    /// The archive that the store wrote to, if rows had left for it: a directory or an address
    #[arg(long, value_name = "ROOT")]
    pub archive: Option<PathBuf>,
    /// An empty root to which what the backup names of the archive is copied; without it the directory goes on with
    /// the archive itself, if that has not gone on since
    #[arg(long, value_name = "ROOT", requires = "archive")]
    pub with_archive: Option<PathBuf>,
}
