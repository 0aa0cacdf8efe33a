//! Whether an object store holds the archive of this store, this one and no other.

use std::path::Path;

use thermae_env::Env;
use thermae_tiering::cold::{ColdError, ObjectError, Objects, Store};

use crate::anchor::Anchor;
use crate::cold::Door;
use crate::error::Error;

/// Names the archive, at its root.
const MARKER: &str = "thermae.archive";

/// Why the archive does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The object store or what is in it.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The data directory, or a shard.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A table of the warm tier.
    #[error(transparent)]
    Warm(#[from] thermae_tiering::WarmError),
    /// What is set aside is needed.
    #[error("{0}")]
    Damaged(String),
    /// It is not the archive that it should be.
    #[error("the archive is paused, and nothing leaves the warm tier: {0}")]
    Paused(String),
}

fn paused<T>(what: impl Into<String>) -> Result<T, ArchiveError> {
    Err(ArchiveError::Paused(what.into()))
}

fn objects(what: &'static str, error: ObjectError) -> ArchiveError {
    ColdError::Objects { what, object: MARKER.to_owned(), source: error }.into()
}

/// Finds the archive that `anchor` names, or begins one where neither the directory nor the object store knows of
/// any. What the directory knows afterwards is durable.
///
/// # Errors
/// It is not there, of another store, another one of this store, or of this store and unknown to the directory.
pub fn attach<E: Env>(
    env: &E,
    dir: &Path,
    door: &Door,
    anchor: Option<Anchor>,
) -> Result<Anchor, ArchiveError> {
    match (anchor, marker(&*door.objects)?) {
        (Some(anchor), Some((store, id))) if is_ours(&store, &door.store) && id == anchor.id => {
            Ok(anchor)
        }
        (_, Some((store, _))) if !is_ours(&store, &door.store) => paused(format!(
            "its root is that of store {store}, this is store {}; give the root of this store's archive",
            door.store.id_text()
        )),
        (Some(_), Some(_)) => paused(
            "its root holds another archive of this store than the one that this directory wrote to; give the \
             root of that one",
        ),
        (Some(_), None) => paused(format!(
            "its root has no {MARKER}, and this directory has an archive already; give the root that it is in"
        )),
        (None, Some((_, id))) => {
            if has_tables(door)? {
                return paused(
                    "its root holds rows of this store that this directory does not know of, as after a restore \
                     from an older backup; give an empty root, or restore the directory that wrote them",
                );
            }
            // A crash came between the two.
            begin(env, dir, id)
        }
        (None, None) => {
            if has_tables(door)? {
                return paused(format!(
                    "its root holds tables and no {MARKER}; give an empty root"
                ));
            }
            let id = (u128::from(env.random_u64()) << 64) | u128::from(env.random_u64());
            put_marker(&*door.objects, &door.store, id)?;
            // Whoever came first is the one.
            match marker(&*door.objects)? {
                Some((store, id)) if is_ours(&store, &door.store) => begin(env, dir, id),
                _ => paused("its root is being written by another store; give another"),
            }
        }
    }
}

fn begin<E: Env>(env: &E, dir: &Path, id: u128) -> Result<Anchor, ArchiveError> {
    let anchor = Anchor { id, ..Anchor::default() };
    anchor.write(env, dir)?;
    Ok(anchor)
}

fn is_ours(store: &str, ours: &Store) -> bool {
    store == ours.id_text()
}

fn has_tables(door: &Door) -> Result<bool, ArchiveError> {
    let listed = door.objects.list("tables/", "").map_err(|error| objects("list", error))?;
    Ok(!listed.is_empty())
}

/// Writes the root's marker if it has none.
///
/// # Errors
/// The object store fails.
pub fn put_marker(root: &dyn Objects, store: &Store, id: u128) -> Result<(), ArchiveError> {
    let text = format!("thermae archive 1\nstore {}\nid {id:032x}\n", store.id_text());
    root.put_new(MARKER, text.into()).map(|_| ()).map_err(|error| objects("write", error))
}

/// Store and id that the root's marker names, if there is one.
///
/// # Errors
/// The object store fails.
pub fn marker(root: &dyn Objects) -> Result<Option<(String, u128)>, ArchiveError> {
    let bytes = match root.get(MARKER) {
        Ok(bytes) => bytes,
        Err(ObjectError::NotFound) => return Ok(None),
        Err(error) => return Err(objects("read", error)),
    };
    let parsed = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let mut lines = text.lines();
        (lines.next()? == "thermae archive 1").then_some(())?;
        let store = lines.next()?.strip_prefix("store ")?.to_owned();
        let id = u128::from_str_radix(lines.next()?.strip_prefix("id ")?, 16).ok()?;
        (text.ends_with('\n') && lines.next().is_none()).then_some((store, id))
    });
    // An answer that was cut short reads no better: the next attempt tells.
    parsed.map(Some).ok_or_else(|| {
        objects("read", ObjectError::NoAnswer("it is not what was written".to_owned()))
    })
}
