//! CSV and NDJSON: values as text that reads back to the same value. CSV cannot tell an empty string from
//! null.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde_json::{Map, Value as Json};
use thermae_client::ScannedRow;
use thermae_formats::time::format_timestamp_us;
use thermae_formats::{KeyValue, NO_TIME, Value};

use super::{Shape, Sink, TIMES, columns::value_at};

/// A line a row, names in the first.
pub(super) struct CsvSink {
    features: usize,
    writer: csv::Writer<BufWriter<File>>,
}

impl CsvSink {
    /// Writes the names.
    pub fn new(shape: &Shape, out: BufWriter<File>) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        let keys = shape.keys.iter().map(|key| key.name.as_str());
        let features = shape.features.iter().map(|feature| feature.name.as_str());
        writer.write_record(keys.chain(features).chain(TIMES))?;
        Ok(Self { features: shape.features.len(), writer })
    }
}

impl Sink for CsvSink {
    fn push(&mut self, row: ScannedRow) -> io::Result<()> {
        let keys = row.key.iter().map(KeyValue::to_string);
        let features = (0..self.features).map(|at| match value_at(&row, at) {
            None | Some(Value::Null) => String::new(),
            Some(value) => value.to_string(),
        });
        let times = [
            format_timestamp_us(row.event_time),
            created(&row).unwrap_or_default(),
            row.sequence.to_string(),
            row.values.is_none().to_string(),
        ];
        self.writer.write_record(keys.chain(features).chain(times))?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let mut out = self.writer.into_inner().map_err(|error| error.into_error())?;
        super::flush(&mut out)
    }
}

fn created(row: &ScannedRow) -> Option<String> {
    (row.created_time != NO_TIME).then(|| format_timestamp_us(row.created_time))
}

/// A JSON object a line.
pub(super) struct NdjsonSink {
    shape: Shape,
    out: BufWriter<File>,
}

impl NdjsonSink {
    /// Begins the file.
    pub fn new(shape: Shape, out: BufWriter<File>) -> Self {
        Self { shape, out }
    }
}

impl Sink for NdjsonSink {
    fn push(&mut self, row: ScannedRow) -> io::Result<()> {
        let mut object = Map::new();
        for (key, value) in self.shape.keys.iter().zip(&row.key) {
            let value = match value {
                KeyValue::Int(value) => Json::from(*value),
                other => Json::from(other.to_string()),
            };
            object.insert(key.name.clone(), value);
        }
        for (at, feature) in self.shape.features.iter().enumerate() {
            let value = value_at(&row, at).map_or(Json::Null, Value::to_json);
            object.insert(feature.name.clone(), value);
        }
        let [event_time, created_time, sequence, is_deleted] = TIMES.map(str::to_owned);
        object.insert(event_time, format_timestamp_us(row.event_time).into());
        object.insert(created_time, created(&row).map_or(Json::Null, Json::from));
        object.insert(sequence, row.sequence.into());
        object.insert(is_deleted, row.values.is_none().into());
        serde_json::to_writer(&mut self.out, &object)?;
        self.out.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        super::flush(&mut self.out)
    }
}
