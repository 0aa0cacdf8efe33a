//! One transaction of a table: made once, whatever becomes of its answers.

use std::collections::BTreeMap;

use thermae_formats::CatalogueEntry;
use xxhash_rust::xxh3::xxh3_128;

use super::action::{
    Action, Add, Format, MetaData, Protocol, Remove, Txn, encode, partition_values,
};
use super::schema::schema_string;
use super::snapshot::Snapshot;
use crate::cold::objects::{ObjectError, Objects, PutNew};
use crate::cold::{ARCHIVE_VERSION, ColdError, Columns, FileRef};

/// Times that a commit is tried while answers are lost or others commit.
const ATTEMPTS: usize = 8;

/// What a commit changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that come in; their objects are there and verified.
    pub adds: Vec<FileRef>,
    /// Paths of files that go out.
    pub removes: Vec<String>,
    /// For each partition that is archived further: the first sequence that was not archived, and the first
    /// that is not now. `adds` hold exactly the rows between.
    pub advances: BTreeMap<u16, (u64, u64)>,
    /// Whether rows go (`keep_for`, erase); files that only lie differently are no change of data.
    pub is_loss: bool,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is part of the table, by this attempt or one before.
    Done,
    /// The table went another way meanwhile: nothing was changed, plan anew. Files that were to come in are
    /// orphans now.
    Superseded,
}

/// A table's definition: what a commit states when it is new.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// Its columns.
    pub columns: &'a Columns,
    /// The catalogue's entry of the newest schema.
    pub entry: &'a CatalogueEntry,
}

/// How changes stand to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Apply,
    Applied,
    Superseded,
}

/// Commits `changes`, with the table's definition if that is new; `now_us` is microseconds UTC.
///
/// `snapshot` is brought up to date on the way, whatever comes of it.
///
/// # Errors
/// The object store fails, or the log is damaged. The commit may have been made: repeating it changes nothing.
pub fn commit(
    objects: &dyn Objects,
    snapshot: &mut Snapshot,
    definition: Definition<'_>,
    changes: &Changes,
    now_us: i64,
) -> Result<Committed, ColdError> {
    let now_ms = now_us.div_euclid(1_000);
    let mut last = None;
    for _ in 0..ATTEMPTS {
        snapshot.update(objects)?;
        match stand(snapshot, changes) {
            Standing::Apply => {}
            Standing::Applied => return Ok(Committed::Done),
            Standing::Superseded => return Ok(Committed::Superseded),
        }
        let actions = actions(snapshot, definition, changes, now_ms)?;
        let bytes = encode(snapshot.next_version, operation(changes), &actions, now_ms)
            .map_err(|error| ColdError::Encode(error.to_string()))?;
        let path = snapshot.commit_path();
        match objects.put_new(&path, bytes.into()) {
            Ok(PutNew::Created) => {
                snapshot.apply_all(&path, &actions)?;
                snapshot.next_version += 1;
                return Ok(Committed::Done);
            }
            // Another commit, or this one by an attempt whose answer was lost: reading it tells.
            Ok(PutNew::Exists) => {}
            Err(error) if error.is_transient() => last = Some(error),
            Err(error) => return Err(ColdError::objects("commit", &path, error)),
        }
    }
    let error = last.unwrap_or_else(|| ObjectError::NoAnswer("others commit all the time".into()));
    Err(ColdError::objects("commit", &snapshot.commit_path(), error))
}

/// Whether changes can be made, were made, or can no longer be.
fn stand(snapshot: &Snapshot, changes: &Changes) -> Standing {
    let from = |(partition, (from, _)): (&u16, &(u64, u64))| snapshot.archived(*partition) == *from;
    let is_there = |path: &String| snapshot.files.contains_key(path);
    // A file that came in may have gone out again since.
    let was_added =
        |file: &FileRef| is_there(&file.path) || snapshot.removed.contains_key(&file.path);
    let has_effect = !changes.advances.is_empty() || !changes.removes.is_empty();
    let applied =
        changes.advances.iter().all(|(partition, (_, to))| snapshot.archived(*partition) >= *to)
            && changes.removes.iter().all(|path| snapshot.removed.contains_key(path))
            && changes.adds.iter().all(was_added);
    if has_effect && applied {
        Standing::Applied
    } else if changes.advances.iter().all(from) && changes.removes.iter().all(is_there) {
        Standing::Apply
    } else {
        Standing::Superseded
    }
}

fn operation(changes: &Changes) -> &'static str {
    match (changes.is_loss, changes.removes.is_empty()) {
        (true, _) => "DELETE",
        (false, true) => "WRITE",
        (false, false) => "OPTIMIZE",
    }
}

fn actions(
    snapshot: &Snapshot,
    definition: Definition<'_>,
    changes: &Changes,
    now_ms: i64,
) -> Result<Vec<Action>, ColdError> {
    let encode = |error: serde_json::Error| ColdError::Encode(error.to_string());
    let mut actions = Vec::new();
    if snapshot.next_version == 0 {
        actions.push(Action::Protocol(Protocol { min_reader_version: 1, min_writer_version: 2 }));
    }
    // A process that does not know the newest schema yet writes files of a former one, and no definition.
    if snapshot.schema_id < Some(definition.columns.schema_id()) {
        actions.push(Action::MetaData(metadata(snapshot, definition, now_ms)?));
    }
    let is_data_change = changes.is_loss || changes.removes.is_empty();
    for (partition, (_, to)) in &changes.advances {
        let app_id = snapshot.app_id(*partition);
        actions.push(Action::Txn(Txn { app_id, version: *to, last_updated: now_ms }));
    }
    for path in &changes.removes {
        let Some(file) = snapshot.files.get(path) else { continue };
        actions.push(Action::Remove(Remove {
            path: path.clone(),
            deletion_timestamp: now_ms,
            data_change: is_data_change,
            extended_file_metadata: true,
            partition_values: partition_values(file.day),
            size: file.bytes,
        }));
    }
    for file in &changes.adds {
        actions.push(Action::Add(Add::new(file, now_ms, is_data_change).map_err(encode)?));
    }
    Ok(actions)
}

fn metadata(
    snapshot: &Snapshot,
    definition: Definition<'_>,
    now_ms: i64,
) -> Result<MetaData, ColdError> {
    let Definition { columns, entry } = definition;
    let entry_json = entry.to_json()?;
    let configuration = [
        ("format", ARCHIVE_VERSION.to_string()),
        ("store", snapshot.store().id_text()),
        ("view", columns.view().to_string()),
        ("schema", columns.schema_id().to_string()),
        ("definition", String::from_utf8_lossy(&entry_json).into_owned()),
    ];
    // The same table has the same id, whoever creates it.
    let id = xxh3_128(format!("{}/{}", snapshot.store().id_text(), snapshot.table()).as_bytes());
    Ok(MetaData {
        id: thermae_formats::text::format_uuid(&id.to_be_bytes()),
        name: entry.view.name.clone(),
        format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: schema_string(columns),
        partition_columns: vec![crate::cold::columns::DAY_COLUMN.to_owned()],
        configuration: configuration
            .map(|(key, value)| (format!("thermae.{key}"), value))
            .into_iter()
            .collect(),
        created_time: now_ms,
    })
}
