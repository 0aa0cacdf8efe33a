//! What becomes of rejected rows: counted by reason, and kept in a file if one was named.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::IngestError;
use super::rows::Rejection;

/// Distinct reasons that are counted apart; further ones are counted together, so that hostile
/// input cannot grow the table.
const MAX_REASONS: usize = 64;
const OTHER: &str = "other reasons";

/// One reason, how often, and an example.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// What is wrong.
    pub reason: String,
    /// Rows rejected for it.
    pub rows: u64,
    /// The first such row: its number and exactly what was wrong.
    pub example: String,
}

/// The rejected rows of one load.
pub struct Rejects {
    file: Option<(PathBuf, BufWriter<File>)>,
    counts: BTreeMap<String, (u64, String)>,
    rows: u64,
}

impl Rejects {
    /// Creates the file, if one is named, replacing what is there.
    ///
    /// # Errors
    /// [`IngestError::Rejects`].
    pub fn new(path: Option<&Path>) -> Result<Self, IngestError> {
        let file = match path {
            None => None,
            Some(path) => {
                let created = File::create(path)
                    .map_err(|source| IngestError::Rejects { path: path.to_owned(), source })?;
                Some((path.to_owned(), BufWriter::new(created)))
            }
        };
        Ok(Self { file, counts: BTreeMap::new(), rows: 0 })
    }

    /// Counts a row and keeps it.
    ///
    /// # Errors
    /// [`IngestError::Rejects`] if the file cannot be written.
    pub fn add(&mut self, rejection: &Rejection) -> Result<(), IngestError> {
        self.rows += 1;
        let room = self.counts.len() < MAX_REASONS || self.counts.contains_key(&rejection.reason);
        let reason = if room { rejection.reason.as_str() } else { OTHER };
        let count = self
            .counts
            .entry(reason.to_owned())
            .or_insert_with(|| (0, format!("row {}: {}", rejection.number, rejection.detail)));
        count.0 += 1;
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let line = json!({
            "row": rejection.number,
            "reason": rejection.reason,
            "detail": rejection.detail,
            "values": rejection.row,
        });
        writeln!(file, "{line}")
            .map_err(|source| IngestError::Rejects { path: path.clone(), source })
    }

    /// Rejected rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Flushes the file and tells the reasons, most frequent first.
    ///
    /// # Errors
    /// [`IngestError::Rejects`].
    pub fn finish(mut self) -> Result<Vec<Reason>, IngestError> {
        if let Some((path, file)) = &mut self.file {
            file.flush().map_err(|source| IngestError::Rejects { path: path.clone(), source })?;
        }
        let mut reasons: Vec<Reason> = self
            .counts
            .into_iter()
            .map(|(reason, (rows, example))| Reason { reason, rows, example })
            .collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.rows));
        Ok(reasons)
    }
}
