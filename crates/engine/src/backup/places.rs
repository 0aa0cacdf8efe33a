//! Which places for backups there are below a root: a directory, or a prefix of a bucket.

use std::collections::BTreeSet;
use std::path::Path;

use thermae_env::Env;
use thermae_tiering::cold::{Objects, is_url, open_url};

use super::disk::failed;
use super::place::{Place, is_claim};
use crate::cold::OpenOptions;
use crate::error::Error;

/// Directories below each other that are looked through.
const DEPTH_MAX: usize = 16;

/// The places below `root`, a path or an address, each by its name there; `.` is the root itself. `options` and
/// `scratch` are as of [`Place::at`].
///
/// # Errors
/// A directory or the bucket cannot be listed, or the address is none.
pub fn places<E: Env>(
    env: &E,
    root: &str,
    options: &OpenOptions,
    scratch: &Path,
) -> Result<Vec<(String, Place<E>)>, Error> {
    let names = if is_url(root) {
        let refused = |error| Error::Invalid(format!("{root}: {error}"));
        in_bucket(&*open_url(root, options).map_err(refused)?, root)?
    } else {
        in_directory(env, Path::new(root))?
    };
    let place = |name: String| {
        let root = root.trim_end_matches('/');
        let at = if name == "." { root.to_owned() } else { format!("{root}/{name}") };
        Ok((name, Place::at(env.clone(), &at, options, scratch)?))
    };
    names.into_iter().map(place).collect()
}

fn in_directory<E: Env>(env: &E, root: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut dirs = vec![(".".to_owned(), 0)];
    while let Some((name, depth)) = dirs.pop() {
        let dir = if name == "." { root.to_owned() } else { root.join(&name) };
        let entries = match env.list(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|e| failed("listing", &dir, e))?,
        };
        if Place::<E>::is_one(entries.iter().map(|entry| &*entry.name)) {
            found.push(name);
        } else if depth < DEPTH_MAX {
            let below = entries.iter().filter(|entry| entry.is_dir);
            dirs.extend(below.map(|entry| match &*name {
                "." => (entry.name.clone(), depth + 1),
                name => (format!("{name}/{}", entry.name), depth + 1),
            }));
        }
    }
    found.sort();
    Ok(found)
}

/// Whoever writes to a place in a bucket claims it first, and never takes the last claim back.
fn in_bucket(objects: &dyn Objects, root: &str) -> Result<Vec<String>, Error> {
    let listed = objects.list("", "").map_err(|error| {
        failed("listing", Path::new(root), std::io::Error::other(error.to_string()))
    })?;
    let names: BTreeSet<String> =
        listed.iter().filter_map(|object| is_claim(&object.path)).map(str::to_owned).collect();
    Ok(names.into_iter().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use thermae_tiering::cold::MemoryObjects;

    use super::*;

    #[test]
    fn places_in_a_bucket_are_those_that_were_claimed() {
        let objects = MemoryObjects::default();
        for path in [
            "a/claims/00000000000000000007",
            "a/claims/00000000000000000008",
            "b/c/claims/00000000000000000001",
            "b/c/files/1.tbl",
            "d/claims/of-somebody-else",
            "tables/claims.parquet",
        ] {
            objects.put_new(path, Bytes::new()).unwrap();
        }
        assert_eq!(in_bucket(&objects, "s3://b").unwrap(), ["a", "b/c"]);
        objects.put_new("claims/00000000000000000001", Bytes::new()).unwrap();
        assert_eq!(in_bucket(&objects, "s3://b").unwrap(), [".", "a", "b/c"]);
    }
}
