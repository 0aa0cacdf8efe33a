//! Names in a place for backups.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::checkpoint_name;
use crate::table::table_name;
use crate::time::format_timestamp_us;

/// What a file of a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A sorted table.
    Table,
    /// The checkpoint of a shard.
    Checkpoint,
}

/// A file that backups share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// Its number in the store.
    pub file_id: u64,
    /// Its checksum as the manifest names it.
    pub checksum: u64,
    /// What it is.
    pub kind: FileKind,
}

/// The name of a backup. Their order is that in which they were taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupName {
    /// Counted in its place, from 1.
    pub number: u32,
    /// When it was taken: `YYYYMMDDTHHMMSSZ`.
    pub time: String,
}

/// A name that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no name of a backup: write it as `thermae backup --list` shows it")]
pub struct NotAName;

const ID_DIGITS: usize = 16;
const NUMBER_DIGITS: usize = 8;

impl FileName {
    /// Its name in a data directory.
    pub fn in_store(&self) -> String {
        match self.kind {
            FileKind::Table => table_name(self.file_id),
            FileKind::Checkpoint => checkpoint_name(self.file_id),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FileKind::Table => "tbl",
            FileKind::Checkpoint => "ckp",
        };
        write!(f, "{:016x}-{:016x}.{kind}", self.file_id, self.checksum)
    }
}

impl FromStr for FileName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (ids, kind) = text.split_once('.').ok_or(NotAName)?;
        let (file_id, checksum) = ids.split_once('-').ok_or(NotAName)?;
        let kind = match kind {
            "tbl" => FileKind::Table,
            "ckp" => FileKind::Checkpoint,
            _ => return Err(NotAName),
        };
        Ok(Self { file_id: id(file_id)?, checksum: id(checksum)?, kind })
    }
}

fn id(digits: &str) -> Result<u64, NotAName> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_ours = digits.len() == ID_DIGITS && digits.as_bytes().iter().all(is_digit);
    is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten().ok_or(NotAName)
}

impl BackupName {
    /// The name of number `number`, taken at `taken_us`, microseconds UTC.
    pub fn new(number: u32, taken_us: i64) -> Self {
        let text = format_timestamp_us(taken_us);
        let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
        let kept = |c: &char| c.is_ascii_digit() || *c == 'T';
        Self { number, time: format!("{}Z", seconds.chars().filter(kept).collect::<String>()) }
    }

    /// Its file.
    pub fn file(&self) -> String {
        format!("{self}.backup")
    }

    /// The backup that a file is, if it is one.
    pub fn of_file(file: &str) -> Option<Self> {
        file.strip_suffix(".backup")?.parse().ok()
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}-{}", self.number, self.time)
    }
}

impl FromStr for BackupName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (number, time) = text.split_once('-').ok_or(NotAName)?;
        let are_digits =
            number.len() == NUMBER_DIGITS && number.bytes().all(|b| b.is_ascii_digit());
        let is_time = |b: u8| b.is_ascii_digit() || matches!(b, b'T' | b'Z');
        if !are_digits || time.is_empty() || !time.bytes().all(is_time) {
            return Err(NotAName);
        }
        Ok(Self { number: number.parse().map_err(|_| NotAName)?, time: time.to_owned() })
    }
}
