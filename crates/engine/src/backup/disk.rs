//! Files past the page cache, small files whole, and what is said where the system refuses or bytes are wrong.

use std::io;
use std::path::Path;

use thermae_env::{Env, File, Mode, OpenHow};

use crate::error::Error;

/// Opens a file past the page cache where its file system can do that.
pub(super) fn open_direct<E: Env>(env: &E, path: &Path, how: OpenHow) -> io::Result<E::File> {
    match env.open(path, how.direct()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            // The system may have made the file before it refused.
            if how.mode == Mode::Create && env.exists(path)? {
                env.remove(path)?;
            }
            env.open(path, how)
        }
        opened => opened,
    }
}

/// Writes a small file, durable but for its name.
pub(super) fn write_whole<E: Env>(env: &E, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let file = env.open(path, OpenHow::CREATE)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|e| failed("writing", path, e))
}

/// What the system refused.
pub(super) fn failed(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format!("{doing} {}", path.display()), source)
}

/// Bytes that are not what was written.
pub(super) fn corrupt(path: &Path, offset: u64, what: impl ToString) -> Error {
    Error::Corrupt { file: path.display().to_string(), offset, what: what.to_string() }
}
