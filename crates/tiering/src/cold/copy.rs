//! Files of a table taken to another archive: nothing is written that is not what its name says.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::objects::{ObjectError, Objects};
use super::{ColdError, FileRef, Snapshot};

/// Times that an object is read which is not what its name says, before it counts as damaged.
const ATTEMPTS: usize = 8;

/// Reads a file of a table, whole.
///
/// # Errors
/// The object store fails, or the object is missing or not what its name says.
pub fn check_object(
    objects: &dyn Objects,
    table: &Snapshot,
    file: &FileRef,
) -> Result<Bytes, ColdError> {
    let object = table.object(&file.path);
    let mut attempt = 1;
    loop {
        let what = match objects.get(&object) {
            Ok(bytes) if bytes.len() as u64 != file.bytes => {
                format!("it has {} bytes of {}", bytes.len(), file.bytes)
            }
            Ok(bytes) if name_of(&bytes) == file.path.rsplit('/').next().unwrap_or_default() => {
                return Ok(bytes);
            }
            Ok(_) => "it is not what its name says".to_owned(),
            Err(ObjectError::NotFound) => {
                let what = "it is missing: the archive has removed it since";
                return Err(ColdError::damaged(&object, 0, what));
            }
            Err(error) if error.is_transient() && attempt < ATTEMPTS => error.to_string(),
            Err(error) => return Err(ColdError::objects("read", &object, error)),
        };
        if attempt == ATTEMPTS {
            return Err(ColdError::damaged(&object, 0, what));
        }
        attempt += 1;
    }
}

/// Takes a file of a table to the same place in another archive; one that is there is left.
///
/// # Errors
/// As [`check_object`], of either.
pub fn copy_object(
    from: &dyn Objects,
    to: &dyn Objects,
    table: &Snapshot,
    file: &FileRef,
) -> Result<(), ColdError> {
    let bytes = check_object(from, table, file)?;
    let object = table.object(&file.path);
    let put = to.put_new(&object, bytes);
    put.map_err(|error| ColdError::objects("write", &object, error))?;
    check_object(to, table, file).map(|_| ())
}

/// The name of a file of these bytes.
fn name_of(bytes: &[u8]) -> String {
    format!("{:016x}-{:x}.parquet", xxh3_64(bytes), bytes.len())
}
