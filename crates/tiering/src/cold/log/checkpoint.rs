//! What a table is at one version, in one object, so that nobody reads the commits before; and which of those may
//! go then.
//!
//! It is written twice. Other readers know Delta's checkpoint, a Parquet file without checksums, which is not read
//! here. This store reads the same actions as the lines of a commit, which say whether they are what was written.

use bytes::Bytes;

use super::action::{Action, Add, Protocol, Remove, Txn, decode, encode};
use super::checkpoint_file::to_parquet;
use super::snapshot::{Snapshot, checkpoint_path, commit_version};
use crate::cold::objects::{ObjectError, Objects, PutNew};
use crate::cold::plan::LogPolicy;
use crate::cold::{ColdError, Store};

/// Writes a checkpoint of the table as it is in `snapshot`, if one is due, and removes what of the log is older than
/// the policy keeps; whether it did. `now_us` is microseconds UTC.
///
/// # Errors
/// The object store fails. The table is as it was; what is half done the next call does again.
pub fn checkpoint(
    objects: &dyn Objects,
    snapshot: &mut Snapshot,
    policy: &LogPolicy,
    now_us: i64,
) -> Result<bool, ColdError> {
    let since = snapshot
        .checkpoint
        .map_or(snapshot.next_version, |version| snapshot.next_version.saturating_sub(version + 1));
    if since < policy.checkpoint_commits.max(1) {
        return Ok(false);
    }
    let Some(version) = snapshot.next_version.checked_sub(1) else { return Ok(false) };
    let removed_since_us = now_us.saturating_sub(policy.removed_us);
    let actions = actions(snapshot, removed_since_us, now_us)?;
    let ours = lines(version, "CHECKPOINT", &actions, now_us)?;
    let log = format!("{}/_delta_log", snapshot.table());
    put(objects, &format!("{log}/{version:020}.checkpoint.parquet"), to_parquet(&actions)?.into())?;
    let pointer = format!("{{\"version\":{version},\"size\":{}}}", actions.len());
    let last = format!("{log}/_last_checkpoint");
    let replaced = objects.replace(&last, pointer.into());
    replaced.map_err(|error| ColdError::objects("replace", &last, error))?;
    // Last, because this one alone lets the log before it go.
    let path = checkpoint_path(snapshot.table(), version);
    put(objects, &path, ours.into())?;
    snapshot.checkpoint = Some(version);
    clean(objects, snapshot, policy, now_us)?;
    Ok(true)
}

fn lines(
    version: u64,
    operation: &str,
    actions: &[Action],
    now_us: i64,
) -> Result<Vec<u8>, ColdError> {
    let encoded = encode(version, operation, actions, now_us.div_euclid(1_000));
    encoded.map_err(|error| ColdError::Encode(error.to_string()))
}

impl Snapshot {
    /// What the table is made of, as a checkpoint says it: bytes that verify themselves.
    ///
    /// # Errors
    /// They cannot be encoded.
    pub fn to_state(&self, now_us: i64) -> Result<Vec<u8>, ColdError> {
        let actions = actions(self, i64::MAX, now_us)?;
        lines(self.next_version.saturating_sub(1), "CHECKPOINT", &actions, now_us)
    }

    /// The table at the path `table` as [`Self::to_state`] said it when it had so many commits.
    ///
    /// # Errors
    /// The bytes are not what was written, or of another store.
    pub fn of_state(
        table: &str,
        store: Store,
        commits: u64,
        state: &[u8],
    ) -> Result<Self, ColdError> {
        let path = format!("the state of {table}");
        let actions = decode(commits.saturating_sub(1), state);
        let actions = actions.map_err(|what| ColdError::damaged(&path, 0, what))?;
        let mut snapshot = Self::empty(table, store);
        snapshot.apply_all(&path, &actions)?;
        snapshot.next_version = commits;
        Ok(snapshot)
    }
}

/// Makes a table of its own out of `snapshot`, whose files are there already, in one commit; once it is made,
/// making it again changes nothing. `now_us` is to be the same each time.
///
/// # Errors
/// The object store fails, or there is another table.
pub fn begin_with(
    objects: &dyn Objects,
    snapshot: &Snapshot,
    now_us: i64,
) -> Result<(), ColdError> {
    let path = Snapshot::empty(snapshot.table(), *snapshot.store()).commit_path();
    let bytes = Bytes::from(lines(0, "RESTORE", &actions(snapshot, i64::MAX, now_us)?, now_us)?);
    let put = objects.put_new(&path, bytes.clone());
    put.map_err(|error| ColdError::objects("commit", &path, error))?;
    let read = objects.get(&path).map_err(|error| ColdError::objects("read", &path, error))?;
    if read == bytes {
        return Ok(());
    }
    let what = "another table is there already, or an answer came cut short".to_owned();
    Err(ColdError::objects("commit", &path, ObjectError::NoAnswer(what)))
}

/// Puts an object there and reads it back. One that is there already another writer made, of the same version.
fn put(objects: &dyn Objects, path: &str, bytes: Bytes) -> Result<(), ColdError> {
    let put = objects.put_new(path, bytes.clone());
    let put = put.map_err(|error| ColdError::objects("write", path, error))?;
    let read = objects.get(path).map_err(|error| ColdError::objects("read", path, error))?;
    let is_sound = match commit_version(path) {
        Some(version) => decode(version, &read).is_ok(),
        None => read == bytes || (put == PutNew::Exists && read.ends_with(b"PAR1")),
    };
    if is_sound {
        return Ok(());
    }
    let what = "it does not read back as it was written".to_owned();
    Err(ColdError::objects("verify", path, ObjectError::NoAnswer(what)))
}

/// The actions that make the table what it is.
fn actions(
    snapshot: &Snapshot,
    removed_since_us: i64,
    now_us: i64,
) -> Result<Vec<Action>, ColdError> {
    let (now_ms, since_ms) = (now_us.div_euclid(1_000), removed_since_us.div_euclid(1_000));
    let mut actions =
        vec![Action::Protocol(Protocol { min_reader_version: 1, min_writer_version: 2 })];
    actions.extend(snapshot.metadata.clone().map(Action::MetaData));
    for (partition, to) in &snapshot.archived {
        let app_id = snapshot.app_id(*partition);
        actions.push(Action::Txn(Txn { app_id, version: *to, last_updated: now_ms }));
    }
    for (path, at_ms) in snapshot.removed.iter().filter(|(_, at_ms)| **at_ms >= since_ms) {
        actions.push(Action::Remove(Remove {
            path: path.clone(),
            deletion_timestamp: *at_ms,
            data_change: false,
            extended_file_metadata: false,
            partition_values: Default::default(),
            size: 0,
        }));
    }
    for (path, file) in &snapshot.files {
        let at_ms = snapshot.added.get(path).copied().unwrap_or(now_ms);
        let add = Add::new(file, at_ms, false);
        actions.push(Action::Add(add.map_err(|error| ColdError::Encode(error.to_string()))?));
    }
    Ok(actions)
}

/// Removes commits and checkpoints before the newest checkpoint that is older than the policy keeps them, the oldest
/// first: whoever reads meanwhile finds the newest version whole.
fn clean(
    objects: &dyn Objects,
    snapshot: &Snapshot,
    policy: &LogPolicy,
    now_us: i64,
) -> Result<(), ColdError> {
    let list = |prefix: String| {
        let listed = objects.list(&prefix, "");
        listed.map_err(|error| ColdError::objects("list", &prefix, error))
    };
    let before_us = now_us.saturating_sub(policy.keep_us);
    let checkpoints = list(format!("{}/_thermae/", snapshot.table()))?;
    let old = checkpoints.iter().filter(|object| object.modified_us <= before_us);
    let Some(oldest) = old.filter_map(|object| commit_version(&object.path)).max() else {
        return Ok(());
    };
    let mut gone: Vec<(u64, String)> = Vec::new();
    for object in checkpoints.into_iter().chain(list(format!("{}/_delta_log/", snapshot.table()))?)
    {
        let name = object.path.rsplit('/').next().unwrap_or_default();
        let stem = name.strip_suffix(".checkpoint.parquet").or(name.strip_suffix(".json"));
        let version = stem.filter(|stem| stem.len() == 20).and_then(|stem| stem.parse().ok());
        if let Some(version) = version.filter(|version| *version < oldest) {
            gone.push((version, object.path));
        }
    }
    gone.sort();
    for (_, path) in gone {
        let deleted = objects.delete(&path);
        deleted.map_err(|error| ColdError::objects("remove", &path, error))?;
    }
    Ok(())
}
