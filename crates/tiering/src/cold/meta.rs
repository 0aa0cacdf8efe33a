//! What a file says of itself beside Parquet: `thermae.*` in its key-value metadata.

use parquet::file::metadata::KeyValue;
use thermae_formats::{SchemaId, ViewId};

use super::ColdError;
use super::columns::Columns;
use super::format::ARCHIVE_VERSION;

/// The store that an archive is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its id.
    pub id: [u8; 16],
    /// Seed of its entity hash.
    pub hash_seed: u64,
    /// Its partitions.
    pub partitions: u16,
}

impl Store {
    /// The id as 32 hex digits.
    pub fn id_text(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.id))
    }
}

/// A file's own metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// Schema that its rows are laid out by.
    pub schema_id: SchemaId,
    /// Event date of its rows, in days since 1970-01-01.
    pub day: i32,
    /// Entity hash of every 4,096th row, from the first.
    pub(super) fences: Vec<u64>,
    /// Checksums of the data's chunks.
    pub(super) checksums: Vec<u64>,
}

impl FileMeta {
    pub(super) fn to_pairs(&self, store: &Store, view: ViewId) -> Vec<KeyValue> {
        [
            ("format", ARCHIVE_VERSION.to_string()),
            ("store", store.id_text()),
            ("hash_seed", format!("{:016x}", store.hash_seed)),
            ("view", view.to_string()),
            ("schema", self.schema_id.to_string()),
            ("day", self.day.to_string()),
            ("fences", to_hex(&self.fences)),
            ("checksums", to_hex(&self.checksums)),
        ]
        .map(|(key, value)| KeyValue::new(format!("thermae.{key}"), value))
        .to_vec()
    }

    /// Reads the pairs of `object`, which is to be of this store and to have these columns.
    pub(super) fn from_pairs(
        object: &str,
        pairs: &[KeyValue],
        store: &Store,
        columns: &Columns,
    ) -> Result<Self, ColdError> {
        let get = |key: &str| {
            let found = pairs.iter().find(|pair| pair.key.strip_prefix("thermae.") == Some(key));
            let missing = || ColdError::damaged(object, 0, format!("thermae.{key} is missing"));
            found.and_then(|pair| pair.value.as_deref()).ok_or_else(missing)
        };
        let version = get("format")?;
        if version != ARCHIVE_VERSION.to_string() {
            let version = version.chars().take(40).collect();
            return Err(ColdError::Version { object: object.to_owned(), version });
        }
        let expected = [
            ("store", store.id_text()),
            ("hash_seed", format!("{:016x}", store.hash_seed)),
            ("view", columns.view().to_string()),
            ("schema", columns.schema_id().to_string()),
        ];
        for (what, expected) in expected {
            let found = get(what)?;
            if found != expected {
                let (object, found) = (object.to_owned(), found.chars().take(40).collect());
                return Err(ColdError::Foreign { object, what, found, expected });
            }
        }
        let unreadable =
            |key: &str| ColdError::damaged(object, 0, format!("thermae.{key} does not read"));
        Ok(Self {
            schema_id: columns.schema_id(),
            day: get("day")?.parse().map_err(|_| unreadable("day"))?,
            fences: from_hex(get("fences")?).ok_or_else(|| unreadable("fences"))?,
            checksums: from_hex(get("checksums")?).ok_or_else(|| unreadable("checksums"))?,
        })
    }
}

fn to_hex(words: &[u64]) -> String {
    words.iter().map(|word| format!("{word:016x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u64>> {
    let digits = text.as_bytes();
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if !digits.len().is_multiple_of(16) || !digits.iter().all(is_hex) {
        return None;
    }
    let words = digits.chunks(16).map(|word| {
        let text = std::str::from_utf8(word).ok()?;
        u64::from_str_radix(text, 16).ok()
    });
    words.collect()
}
