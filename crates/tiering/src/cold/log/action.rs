//! Actions of a commit as JSON lines, and the checksum that binds them together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thermae_formats::SchemaId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cold::FileRef;
use crate::cold::write::day_text;

/// One line of a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    CommitInfo(CommitInfo),
    Protocol(Protocol),
    MetaData(MetaData),
    Add(Add),
    Remove(Remove),
    Txn(Txn),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    #[serde(default)]
    pub timestamp: i64,
    #[serde(default)]
    pub operation: String,
    #[serde(default)]
    pub engine_info: String,
    /// Checksum of the lines after this one; other writers have none.
    #[serde(rename = "thermae.checksum", default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub min_reader_version: u32,
    pub min_writer_version: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub id: String,
    pub name: String,
    pub format: Format,
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    pub configuration: BTreeMap<String, String>,
    pub created_time: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub provider: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub path: String,
    pub partition_values: BTreeMap<String, String>,
    pub size: u64,
    pub modification_time: i64,
    pub data_change: bool,
    pub stats: String,
    pub tags: Tags,
}

/// What our reader must know beforehand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tags {
    #[serde(rename = "thermae.file")]
    pub file: String,
}

/// The tag `thermae.file`: a [`FileRef`] without what the action says anyway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTag {
    day: i32,
    schema: SchemaId,
    rows: u64,
    tail_bytes: u64,
    tail_checksum: String,
    hashes: (u64, u64),
    event_times: (i64, i64),
    sequences: (u64, u64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub path: String,
    pub deletion_timestamp: i64,
    pub data_change: bool,
    pub extended_file_metadata: bool,
    pub partition_values: BTreeMap<String, String>,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub app_id: String,
    pub version: u64,
    pub last_updated: i64,
}

/// Partition values of a file of that day.
pub(super) fn partition_values(day: i32) -> BTreeMap<String, String> {
    BTreeMap::from([(crate::cold::columns::DAY_COLUMN.to_owned(), day_text(day))])
}

impl Add {
    /// A file that is added; `now_ms` is milliseconds UTC.
    pub fn new(
        file: &FileRef,
        now_ms: i64,
        is_data_change: bool,
    ) -> Result<Self, serde_json::Error> {
        let tag = FileTag {
            day: file.day,
            schema: file.schema_id,
            rows: file.rows,
            tail_bytes: file.tail_bytes,
            tail_checksum: format!("{:016x}", file.tail_checksum),
            hashes: file.hashes,
            event_times: file.event_times,
            sequences: file.sequences,
        };
        Ok(Self {
            path: file.path.clone(),
            partition_values: partition_values(file.day),
            size: file.bytes,
            modification_time: now_ms,
            data_change: is_data_change,
            stats: super::schema::statistics(file),
            tags: Tags { file: serde_json::to_string(&tag)? },
        })
    }

    /// The file that is added; the error says what does not read.
    pub fn to_file(&self) -> Result<FileRef, String> {
        let tag: FileTag = serde_json::from_str(&self.tags.file)
            .map_err(|error| format!("thermae.file does not read: {error}"))?;
        let tail_checksum = u64::from_str_radix(&tag.tail_checksum, 16)
            .map_err(|_| "thermae.file has no checksum".to_owned())?;
        if tag.rows == 0 || tag.tail_bytes > self.size {
            return Err("thermae.file is impossible".to_owned());
        }
        Ok(FileRef {
            path: self.path.clone(),
            bytes: self.size,
            day: tag.day,
            schema_id: tag.schema,
            rows: tag.rows,
            tail_bytes: tag.tail_bytes,
            tail_checksum,
            hashes: tag.hashes,
            event_times: tag.event_times,
            sequences: tag.sequences,
        })
    }
}

/// The bytes of a commit of that version; `now_ms` is milliseconds UTC.
pub(super) fn encode(
    version: u64,
    operation: &str,
    actions: &[Action],
    now_ms: i64,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for action in actions {
        lines.push(b'\n');
        serde_json::to_writer(&mut lines, action)?;
    }
    let info = CommitInfo {
        timestamp: now_ms,
        operation: operation.to_owned(),
        engine_info: "thermae".to_owned(),
        checksum: Some(format!("{:016x}", xxh3_64_with_seed(&lines, version))),
    };
    let mut bytes = serde_json::to_vec(&Action::CommitInfo(info))?;
    bytes.extend_from_slice(&lines);
    Ok(bytes)
}

/// The actions of a commit after its first line; the error says what does not read.
///
/// A commit of another writer may tell about itself, and nothing more: nothing would verify its files.
pub(super) fn decode(version: u64, bytes: &[u8]) -> Result<Vec<Action>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let first = text.lines().next().unwrap_or_default();
    let lines = &bytes[first.len().min(bytes.len())..];
    let parse = |line: &str| {
        serde_json::from_str::<Action>(line)
            .map_err(|error| format!("a line does not read: {error}"))
    };
    let Action::CommitInfo(info) = parse(first)? else {
        return Err("its first line is no commitInfo: another writer made it".to_owned());
    };
    let expected = format!("{:016x}", xxh3_64_with_seed(lines, version));
    match info.checksum {
        Some(found) if found == expected => text.lines().skip(1).map(parse).collect(),
        Some(_) => Err("its checksum does not match".to_owned()),
        None if text.lines().count() == 1 => Ok(Vec::new()),
        None => Err("another writer changed the table".to_owned()),
    }
}
