//! Names of table files.

use std::path::{Path, PathBuf};

/// The file of table `file_id`.
pub fn table_path(warm_dir: &Path, file_id: u64) -> PathBuf {
    warm_dir.join(format!("{file_id:016x}.tbl"))
}

/// The same while it is being written.
pub fn temporary_path(warm_dir: &Path, file_id: u64) -> PathBuf {
    warm_dir.join(format!("{file_id:016x}.tbl.tmp"))
}
