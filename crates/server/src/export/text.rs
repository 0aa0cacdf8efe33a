//! CSV and NDJSON, for every command that writes them: values as text that reads back to the same value.
//!
//! CSV has a value as `thermae get` shows it, and cannot tell an empty string from null. NDJSON has it by the table of
//! `thermae_formats::value_json`: an int64 is a number with all of its digits, never a float, also beyond 2^53.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde_json::Map;
use thermae_client::ScannedRow;
use thermae_formats::{NO_TIME, Value};

use super::columns::{key_at, value_at};
use super::{Shape, Sink, TIMES};

/// Names in the first line or in each, a row a line.
pub(super) enum TextFile {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Ndjson { names: Vec<String>, out: BufWriter<File> },
}

impl TextFile {
    /// Begins a CSV file.
    pub fn csv(names: &[String], out: BufWriter<File>) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(names)?;
        Ok(Self::Csv(Box::new(writer)))
    }

    /// Begins an NDJSON file.
    pub const fn ndjson(names: Vec<String>, out: BufWriter<File>) -> Self {
        Self::Ndjson { names, out }
    }

    /// Adds a row, a value for each name.
    pub fn push(&mut self, values: &[Value]) -> io::Result<()> {
        match self {
            Self::Csv(writer) => {
                for value in values {
                    match value {
                        Value::Null => writer.write_field("")?,
                        value => writer.write_field(value.to_string())?,
                    }
                }
                writer.write_record(None::<&[u8]>)?;
                Ok(())
            }
            Self::Ndjson { names, out } => {
                let values = values.iter().map(Value::to_json);
                let object: Map<_, _> = names.iter().cloned().zip(values).collect();
                serde_json::to_writer(&mut *out, &object)?;
                out.write_all(b"\n")
            }
        }
    }

    /// Writes what is left.
    pub fn finish(self) -> io::Result<()> {
        let mut out = match self {
            Self::Csv(writer) => writer.into_inner().map_err(|error| error.into_error())?,
            Self::Ndjson { out, .. } => out,
        };
        out.flush()
    }
}

/// Scanned rows as text.
pub(super) struct TextSink {
    shape: Shape,
    file: TextFile,
    values: Vec<Value>,
}

impl TextSink {
    /// Begins a CSV file.
    pub fn csv(shape: Shape, out: BufWriter<File>) -> io::Result<Self> {
        let file = TextFile::csv(&names(&shape), out)?;
        Ok(Self { shape, file, values: Vec::new() })
    }

    /// Begins an NDJSON file.
    pub fn ndjson(shape: Shape, out: BufWriter<File>) -> Self {
        let file = TextFile::ndjson(names(&shape), out);
        Self { shape, file, values: Vec::new() }
    }
}

fn names(shape: &Shape) -> Vec<String> {
    let keys = shape.keys.iter().map(|key| key.name.as_str());
    let features = shape.features.iter().map(|feature| feature.name.as_str());
    keys.chain(features).chain(TIMES).map(str::to_owned).collect()
}

impl Sink for TextSink {
    fn push(&mut self, row: ScannedRow) -> io::Result<()> {
        let Self { shape, file, values } = self;
        values.clear();
        let keys = shape.keys.iter().enumerate();
        for (at, key) in keys {
            values.push(key_at(&row, at, key).map_err(io::Error::other)?);
        }
        let features = 0..shape.features.len();
        values.extend(features.map(|at| value_at(&row, at).cloned().unwrap_or(Value::Null)));
        let has_created = row.created_time != NO_TIME;
        values.extend([
            Value::Timestamp(row.event_time),
            if has_created { Value::Timestamp(row.created_time) } else { Value::Null },
            // Below 2^48.
            Value::Int64(row.sequence as i64),
            Value::Bool(row.values.is_none()),
        ]);
        file.push(values)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.finish()
    }
}
