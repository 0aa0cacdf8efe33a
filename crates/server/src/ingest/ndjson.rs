//! The NDJSON reader: one JSON object a line.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, ErrorKind};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cell::{Batch, Cell, Column, Reader};
use super::error::IngestError;

/// Longest line; a longer one is skipped and rejected.
pub const MAX_LINE_BYTES: usize = 16 << 20;
/// Rows looked at to learn the columns.
const SAMPLE_ROWS: usize = 1000;
/// .. or fewer, when they hold this many bytes.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_ROWS: usize = 4096;

/// One line: its fields as written, or what is wrong with it.
type Line = Result<Fields, String>;

/// The members of an object in order, values as written.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if fields.iter().any(|(there, _)| *there == name) {
                        return Err(M::Error::custom(format!(
                            "the member {name:?} is there twice"
                        )));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Reads NDJSON from anything buffered.
pub struct NdjsonReader<R> {
    path: PathBuf,
    columns: Vec<Column>,
    inner: R,
    /// Lines read to learn the columns, not yet handed out.
    sample: VecDeque<Line>,
    batch: NdjsonBatch,
}

impl<R: BufRead> NdjsonReader<R> {
    /// Reads the first rows to learn the columns. `path` is named in errors.
    ///
    /// # Errors
    /// A system error; broken lines are rows to reject, not errors.
    pub fn new(path: &Path, inner: R) -> Result<Self, IngestError> {
        let mut reader = Self {
            path: path.to_owned(),
            columns: Vec::new(),
            inner,
            sample: VecDeque::new(),
            batch: NdjsonBatch::default(),
        };
        let mut bytes = 0;
        while reader.sample.len() < SAMPLE_ROWS && bytes < BATCH_BYTES {
            let Some((line, length)) = reader.next_line()? else { break };
            bytes += length;
            for (name, _) in line.iter().flat_map(|fields| &fields.0) {
                if !reader.columns.iter().any(|c| c.name == *name) {
                    let type_name = "json".to_owned();
                    reader.columns.push(Column {
                        name: name.clone(),
                        type_name,
                        readable: true,
                        data_type: None,
                    });
                }
            }
            reader.sample.push_back(line);
        }
        Ok(reader)
    }

    /// The next line that is not blank, with its length.
    fn next_line(&mut self) -> Result<Option<(Line, usize)>, IngestError> {
        loop {
            let mut bytes = Vec::new();
            let length = read_line(&mut self.inner, &mut bytes)
                .map_err(|source| IngestError::Io { path: self.path.clone(), source })?;
            if length == 0 {
                return Ok(None);
            }
            if length > MAX_LINE_BYTES {
                let reason = format!("the line is longer than {} MiB", MAX_LINE_BYTES >> 20);
                return Ok(Some((Err(reason), 0)));
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line = match std::str::from_utf8(&bytes) {
                Ok(text) => serde_json::from_str::<Fields>(text.trim_start_matches('\u{feff}'))
                    .map_err(|e| format!("no JSON object: {e}")),
                Err(e) => Err(format!("not UTF-8 at byte {}", e.valid_up_to())),
            };
            return Ok(Some((line, length)));
        }
    }
}

/// Reads to the end of the line, keeping at most [`MAX_LINE_BYTES`]; returns the length read.
fn read_line(inner: &mut impl BufRead, kept: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut length = 0_usize;
    loop {
        let available = match inner.fill_buf() {
            Ok(available) => available,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let (used, done) = match available.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), available.is_empty()),
        };
        let room = MAX_LINE_BYTES.saturating_sub(kept.len()).min(used);
        kept.extend_from_slice(&available[..room]);
        inner.consume(used);
        length = length.saturating_add(used);
        if done {
            return Ok(length);
        }
    }
}

impl<R: BufRead> Reader for NdjsonReader<R> {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn next_batch(&mut self) -> Result<Option<Box<dyn Batch + '_>>, IngestError> {
        let mut batch = NdjsonBatch::default();
        let mut bytes = 0;
        while batch.rows.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let line = match self.sample.pop_front() {
                Some(line) => line,
                None => match self.next_line()? {
                    Some((line, length)) => {
                        bytes += length;
                        line
                    }
                    None => break,
                },
            };
            batch.rows.push(line.map(|fields| by_column(&self.columns, fields)));
        }
        self.batch = batch;
        let any = !self.batch.rows.is_empty();
        Ok(any.then(|| Box::new(&self.batch) as Box<dyn Batch + '_>))
    }

    fn rows_total(&self) -> Option<u64> {
        None
    }
}

/// Sorts an object's members into the file's columns; a member that the first rows did not have
/// cannot be mapped and is left out.
fn by_column(columns: &[Column], fields: Fields) -> Vec<Option<Box<RawValue>>> {
    let mut out: Vec<Option<Box<RawValue>>> = Vec::new();
    out.resize_with(columns.len(), || None);
    for (name, value) in fields.0 {
        if let Some(at) = columns.iter().position(|c| c.name == name) {
            out[at] = Some(value);
        }
    }
    out
}

#[derive(Default)]
struct NdjsonBatch {
    rows: Vec<Result<Vec<Option<Box<RawValue>>>, String>>,
}

impl Batch for &NdjsonBatch {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        let value = self.rows.get(row).and_then(|r| r.as_ref().ok()?.get(column)?.as_deref());
        match value {
            Some(raw) if raw.get() != "null" => Cell::Json(raw),
            _ => Cell::Null,
        }
    }

    fn broken(&self, row: usize) -> Option<&str> {
        self.rows.get(row).and_then(|r| r.as_ref().err()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn read(text: &[u8]) -> (Vec<String>, Vec<String>) {
        let mut reader = NdjsonReader::new(Path::new("t.ndjson"), text).unwrap();
        let columns: Vec<String> = reader.columns().iter().map(|c| c.name.clone()).collect();
        let mut out = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            for row in 0..batch.rows() {
                let cells = (0..columns.len()).map(|c| match batch.cell(c, row) {
                    Cell::Json(raw) => raw.get().to_owned(),
                    other => other.kind().to_owned(),
                });
                out.push(match batch.broken(row) {
                    Some(reason) => reason.to_owned(),
                    None => cells.collect::<Vec<_>>().join("|"),
                });
            }
        }
        (columns, out)
    }

    #[test]
    fn members_are_columns_and_values_stay_as_written() {
        let (columns, rows) =
            read(b"{\"a\":1.10,\"b\":{\"x\": [1, 2]}}\n\n{\"b\":null,\"c\":\"\\u0000\"}");
        assert_eq!(columns, ["a", "b", "c"]);
        assert_eq!(rows, ["1.10|{\"x\": [1, 2]}|null", "null|null|\"\\u0000\""]);
    }

    #[test]
    fn broken_lines_are_told_and_the_rest_is_read() {
        let mut text = b"{\"a\":1}\n[1]\n{\"a\":1,\"a\":2}\n{\"a\":\n\xff\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', MAX_LINE_BYTES + 9));
        text.extend(b"\n{\"a\":2}\n");
        let (_, rows) = read(&text);
        let words = ["1", "no JSON object", "twice", "EOF", "not UTF-8", "longer than 16 MiB", "2"];
        assert_eq!(rows.len(), words.len());
        for (row, word) in rows.iter().zip(words) {
            assert!(row.contains(word), "{row} / {word}");
        }
    }
}
