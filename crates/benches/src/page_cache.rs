//! Keeps the files of an engine that has no direct I/O out of the system's page cache, from outside its process.

use rustix::fs::{Advice, fadvise};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two times that pages are dropped: of a few hundred blocks that are read meanwhile hardly one is asked
/// for again, and it costs a few hundredths of a core.
const EVERY: Duration = Duration::from_millis(20);

/// Drops the pages of the files in a folder again and again, until it is dropped itself.
pub struct Dropping {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dropping {
    /// Begins.
    pub fn start(folder: &Path) -> Self {
        let (is_over, folder) = (Arc::new(AtomicBool::new(false)), folder.to_path_buf());
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                drop_pages(&folder);
                std::thread::sleep(EVERY);
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and holds nothing.
            let _ = thread.join();
        }
    }
}

/// Reads every file in a folder, so that the page cache holds what it has room for.
///
/// # Errors
/// The folder cannot be read.
pub fn fill(folder: &Path) -> anyhow::Result<()> {
    for file in files(folder)? {
        // A file that goes meanwhile is not needed.
        let _ = std::fs::read(file);
    }
    Ok(())
}

/// Every file below `folder`.
///
/// # Errors
/// A folder cannot be read. A file that goes meanwhile is left out.
pub fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Once. A file that is gone has no pages; dirty ones stay.
fn drop_pages(folder: &Path) {
    let files: Vec<PathBuf> = files(folder).unwrap_or_default();
    for file in files.iter().filter_map(|file| std::fs::File::open(file).ok()) {
        // An advice: what it does not do shows in the bytes that the device was asked for.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}
