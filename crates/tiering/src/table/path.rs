//! Names of table files.

use std::path::{Path, PathBuf};

use thermae_formats::table::table_name;

/// The file of table `file_id`.
pub fn table_path(warm_dir: &Path, file_id: u64) -> PathBuf {
    warm_dir.join(table_name(file_id))
}

/// The same while it is being written.
pub fn temporary_path(warm_dir: &Path, file_id: u64) -> PathBuf {
    warm_dir.join(format!("{}.tmp", table_name(file_id)))
}
