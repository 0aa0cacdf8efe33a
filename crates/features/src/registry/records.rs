//! What the registry's database holds, byte for byte: docs/formats/registry.md.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::{Object, ObjectId};

/// The only version of the format.
pub(super) const FORMAT: u64 = 1;

/// Definitions that are being applied: the engine may have some of their views already.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Intent {
    /// The registry version that they make.
    pub version: u64,
    /// What is new or changes.
    pub objects: Vec<Object>,
    /// What the log will say.
    pub entry: LogEntry,
}

/// One change of the registry, as its log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// When, microseconds UTC.
    pub at_us: i64,
    /// Who, as they said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What changed, one line each.
    pub lines: Vec<String>,
}

/// `KIND/PROJECT/NAME@VERSION`.
pub(super) fn object_key(id: &ObjectId) -> String {
    format!("{}/{}/{}@{}", id.kind.word(), id.project, id.name, id.version)
}

/// A checksum of the key and the JSON, then the JSON: a record that lies in another's place shows.
pub(super) fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, value).map_err(|e| format!("{key}: {e}"))?;
    let sum = checksum(key, &bytes[8..]);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, String> {
    let (sum, json) = bytes.split_first_chunk::<8>().ok_or_else(|| format!("{key}: cut short"))?;
    if u64::from_le_bytes(*sum) != checksum(key, json) {
        return Err(format!("{key}: the checksum does not hold"));
    }
    serde_json::from_slice(json).map_err(|e| format!("{key}: {e}"))
}

fn checksum(key: &str, json: &[u8]) -> u64 {
    xxh3_64_with_seed(json, xxh3_64_with_seed(key.as_bytes(), FORMAT))
}
