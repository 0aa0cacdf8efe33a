//! A file that has its name only when all of it is there.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::ExportError;

/// A file being written beside where it will be.
pub(super) struct PartFile {
    pub path: PathBuf,
    part: NamedTempFile,
}

impl PartFile {
    /// Begins it.
    pub fn create(path: &Path) -> Result<(Self, BufWriter<File>), ExportError> {
        let failed = |source| ExportError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let part = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        let out = BufWriter::new(part.reopen().map_err(failed)?);
        Ok((Self { path: path.to_owned(), part }, out))
    }

    /// Gives it its name; the bytes that it has.
    pub fn finish(self) -> Result<u64, ExportError> {
        let Self { path, part } = self;
        let failed = |source| ExportError::Io { path: path.clone(), source };
        part.as_file().sync_all().map_err(failed)?;
        let file = part.persist(&path).map_err(|error| failed(error.error))?;
        Ok(file.metadata().map_err(failed)?.len())
    }
}
