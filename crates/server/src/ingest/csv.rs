//! The CSV reader: header line, comma (or another delimiter), quotes as in RFC 4180.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, ReaderBuilder};

use super::cell::{Batch, Cell, Column, Reader};
use super::error::IngestError;

/// Longest record. An unclosed quote would otherwise swallow the rest of the file into memory.
pub const MAX_RECORD_BYTES: u64 = 16 << 20;
/// A batch ends at this many rows ..
const BATCH_ROWS: usize = 4096;
/// .. or when its records hold this many bytes.
const BATCH_BYTES: usize = 8 << 20;

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Between fields; one byte.
    pub delimiter: u8,
    /// Texts that stand for null. An empty list makes an empty field the empty string.
    pub nulls: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', nulls: vec![String::new()] }
    }
}

/// Fails once more than the budget was read without a record ending.
struct Limited<R> {
    inner: R,
    budget_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let budget = self.budget_bytes.load(Ordering::Relaxed);
        if budget == 0 {
            return Err(std::io::Error::other(format!(
                "a record is longer than {} MiB: a quote is probably not closed",
                MAX_RECORD_BYTES >> 20
            )));
        }
        let read = self.inner.read(buf)?;
        self.budget_bytes.store(budget.saturating_sub(read as u64), Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads CSV from anything that reads.
pub struct CsvReader<R> {
    path: PathBuf,
    columns: Vec<Column>,
    nulls: Vec<Vec<u8>>,
    reader: csv::Reader<Limited<R>>,
    budget_bytes: Arc<AtomicU64>,
    batch: CsvBatch,
}

impl<R: Read> CsvReader<R> {
    /// Reads the header line. `path` is named in errors.
    ///
    /// # Errors
    /// [`IngestError::Malformed`] if there is no header, or if it names a column twice or not at all.
    pub fn new(path: &Path, inner: R, options: &CsvOptions) -> Result<Self, IngestError> {
        let malformed = |reason: String| malformed(path, reason);
        let budget_bytes = Arc::new(AtomicU64::new(MAX_RECORD_BYTES));
        let limited = Limited { inner, budget_bytes: Arc::clone(&budget_bytes) };
        let mut reader =
            ReaderBuilder::new().flexible(true).delimiter(options.delimiter).from_reader(limited);
        let header = reader.byte_headers().map_err(|e| malformed(e.to_string()))?.clone();
        let mut columns: Vec<Column> = Vec::with_capacity(header.len());
        for (index, name) in header.iter().enumerate() {
            let name = std::str::from_utf8(name).map_err(|_| {
                malformed(format!("the header's column {} is not UTF-8", index + 1))
            })?;
            let name = name.trim_start_matches('\u{feff}').trim();
            if name.is_empty() {
                return Err(malformed(format!("the header's column {} has no name", index + 1)));
            }
            if columns.iter().any(|c| c.name == name) {
                return Err(malformed(format!("the header names the column {name:?} twice")));
            }
            let type_name = "text".to_owned();
            columns.push(Column {
                name: name.to_owned(),
                type_name,
                readable: true,
                data_type: None,
            });
        }
        if columns.is_empty() {
            return Err(malformed("there is no header line".to_owned()));
        }
        let nulls: Vec<Vec<u8>> = options.nulls.iter().map(|n| n.clone().into_bytes()).collect();
        let batch = CsvBatch { nulls: nulls.clone(), ..CsvBatch::default() };
        Ok(Self { path: path.to_owned(), columns, nulls, reader, budget_bytes, batch })
    }
}

fn malformed(path: &Path, reason: String) -> IngestError {
    IngestError::Malformed { path: path.to_owned(), format: "CSV", reason }
}

impl<R: Read> Reader for CsvReader<R> {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn next_batch(&mut self) -> Result<Option<Box<dyn Batch + '_>>, IngestError> {
        let mut batch = CsvBatch { nulls: self.nulls.clone(), ..CsvBatch::default() };
        let mut bytes = 0;
        while batch.records.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            self.budget_bytes.store(MAX_RECORD_BYTES, Ordering::Relaxed);
            let mut record = ByteRecord::new();
            match self.reader.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    let line = self.reader.position().line();
                    return Err(malformed(&self.path, format!("after line {line}: {e}")));
                }
            }
            bytes += record.as_slice().len();
            batch.broken.push((record.len() != self.columns.len()).then(|| {
                format!("the line has {} fields, the header {}", record.len(), self.columns.len())
            }));
            batch.records.push(record);
        }
        self.batch = batch;
        let any = !self.batch.records.is_empty();
        Ok(any.then(|| Box::new(&self.batch) as Box<dyn Batch + '_>))
    }

    fn rows_total(&self) -> Option<u64> {
        None
    }
}

#[derive(Default)]
struct CsvBatch {
    records: Vec<ByteRecord>,
    broken: Vec<Option<String>>,
    nulls: Vec<Vec<u8>>,
}

impl Batch for &CsvBatch {
    fn rows(&self) -> usize {
        self.records.len()
    }

    fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        let Some(field) = self.records.get(row).and_then(|r| r.get(column)) else {
            return Cell::Null;
        };
        if self.nulls.iter().any(|null| null == field) {
            return Cell::Null;
        }
        match std::str::from_utf8(field) {
            Ok(text) => Cell::Untyped(text),
            Err(e) => {
                Cell::Unreadable(format!("text that is not UTF-8 at byte {}", e.valid_up_to()))
            }
        }
    }

    fn broken(&self, row: usize) -> Option<&str> {
        self.broken.get(row).and_then(Option::as_deref)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn open(
        text: &[u8],
        options: &CsvOptions,
    ) -> Result<CsvReader<std::io::Cursor<Vec<u8>>>, String> {
        CsvReader::new(Path::new("t.csv"), std::io::Cursor::new(text.to_vec()), options)
            .map_err(|e| e.to_string())
    }

    fn cells(text: &[u8], options: &CsvOptions) -> Vec<String> {
        let mut reader = open(text, options).unwrap();
        let columns = reader.columns().len();
        let batch = reader.next_batch().unwrap().unwrap();
        let mut out = Vec::new();
        for row in 0..batch.rows() {
            let texts: Vec<String> =
                (0..columns).map(|c| format!("{:?}", batch.cell(c, row))).collect();
            out.push(format!("{} {:?}", texts.join(" "), batch.broken(row)));
        }
        out
    }

    #[test]
    fn null_and_empty_are_kept_apart_as_told() {
        let text = b"a,b\n1,\nNA,\"x,\"\"y\"\n";
        assert_eq!(
            cells(text, &CsvOptions::default()),
            ["Untyped(\"1\") Null None", "Untyped(\"NA\") Untyped(\"x,\\\"y\") None"]
        );
        let na = CsvOptions { nulls: vec!["NA".to_owned()], ..CsvOptions::default() };
        assert_eq!(
            cells(text, &na),
            ["Untyped(\"1\") Untyped(\"\") None", "Null Untyped(\"x,\\\"y\") None"]
        );
    }

    #[test]
    fn a_ragged_line_is_broken_and_the_next_one_is_read() {
        let got = cells(b"a,b\n1\n2,3\n", &CsvOptions::default());
        assert!(got[0].contains("1 fields, the header 2"), "{got:?}");
        assert!(got[1].ends_with("None"), "{got:?}");
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_field_only() {
        let got = cells(b"a,b\n\xff\xfe,ok\n", &CsvOptions::default());
        assert!(got[0].contains("not UTF-8 at byte 0") && got[0].contains("ok"), "{got:?}");
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_name() {
        let reader = open(b"\xef\xbb\xbfa,b\n1,2\n", &CsvOptions::default()).unwrap();
        assert_eq!(reader.columns()[0].name, "a");
    }

    #[test]
    fn a_header_that_names_twice_or_not_at_all_is_refused() {
        for (text, word) in
            [(&b"a,a\n1,2\n"[..], "twice"), (b"a,\n1,2\n", "no name"), (b"\n\n", "no header")]
        {
            let error = open(text, &CsvOptions::default()).err().unwrap();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn an_unclosed_quote_ends_in_an_error_not_in_memory() {
        let text = b"a,b\n1,\"open ".iter().copied();
        let endless = text.chain(std::iter::repeat_n(b'x', 40 << 20)).collect::<Vec<u8>>();
        let mut reader = open(&endless, &CsvOptions::default()).unwrap();
        let error = reader.next_batch().err().unwrap().to_string();
        assert!(error.contains("longer than 16 MiB"), "{error}");
    }
}
