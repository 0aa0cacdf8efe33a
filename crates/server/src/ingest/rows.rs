//! From a batch of cells to rows that can be written, each good or rejected with a reason.

use serde_json::{Map, Value as Json};
use thermae_formats::{FeatureView, KeyValue, NO_TIME, RowLayout, SchemaError, Value, encode_key};

use super::cell::{Batch, Cell, Column};
use super::coerce;
use super::mapping::{FeatureFrom, Mapping, TimeFrom};

/// Longest text of a value in the rejects file.
const MAX_SHOWN_BYTES: usize = 4096;

/// One row, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its number in the file, from 1; also its producer sequence.
    pub number: u64,
    /// Join key values, in declared order.
    pub keys: Vec<KeyValue>,
    /// Feature values, in declared order.
    pub values: Vec<Value>,
    /// Microseconds, UTC.
    pub event_time: i64,
    /// Microseconds, UTC, or [`NO_TIME`].
    pub created_time: i64,
    /// The join key values, encoded.
    pub key_bytes: Vec<u8>,
    /// The feature values, encoded.
    pub value_bytes: Vec<u8>,
    /// Whether no value is null.
    pub dense: bool,
}

impl Row {
    /// Length of the encoded key and values, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.key_bytes.len() + self.value_bytes.len()
    }
}

/// One row that cannot be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Its number in the file, from 1.
    pub number: u64,
    /// What is wrong, without the row's own values: rows of one reason are counted together.
    pub reason: String,
    /// What is wrong, exactly.
    pub detail: String,
    /// The row as read.
    pub row: Map<String, Json>,
}

/// Makes rows of batches.
pub struct RowReader<'a> {
    view: &'a FeatureView,
    columns: Vec<Column>,
    mapping: Mapping,
    layout: RowLayout,
    next_number: u64,
}

impl<'a> RowReader<'a> {
    /// Rows of the view, from the file's columns by the mapping.
    ///
    /// # Errors
    /// [`SchemaError`] if the view's rows have no layout.
    pub fn new(
        view: &'a FeatureView,
        columns: &[Column],
        mapping: Mapping,
    ) -> Result<Self, SchemaError> {
        let layout = RowLayout::new(&view.features)?;
        Ok(Self { view, columns: columns.to_vec(), mapping, layout, next_number: 1 })
    }

    /// Makes a row or a rejection of each row of the batch.
    pub fn read(&mut self, batch: &dyn Batch, mut sink: impl FnMut(Result<Row, Box<Rejection>>)) {
        for at in 0..batch.rows() {
            let number = self.next_number;
            self.next_number += 1;
            let broken =
                batch.broken(at).map(|text| ("the line is broken".to_owned(), text.to_owned()));
            let row = match broken {
                Some(broken) => Err(broken),
                None => self.row(batch, at, number),
            };
            sink(row.map_err(|(reason, detail)| {
                Box::new(Rejection { number, reason, detail, row: self.shown(batch, at) })
            }));
        }
    }

    /// The error is (reason to count by, detail).
    fn row(&self, batch: &dyn Batch, at: usize, number: u64) -> Result<Row, (String, String)> {
        let mut keys = Vec::with_capacity(self.mapping.keys.len());
        for (key, column) in self.view.join_keys.iter().zip(&self.mapping.keys) {
            let cell = batch.cell(*column, at);
            keys.push(coerce::key(&cell, &key.name, key.key_type).map_err(|detail| {
                let what = if is_null(&cell) { "is null" } else { "is unfit" };
                (format!("join key {} {what}", key.name), detail)
            })?);
        }
        let mut key_bytes = Vec::new();
        encode_key(&self.view.join_keys, &keys, &mut key_bytes)
            .map_err(|e| ("the entity key is unfit".to_owned(), e.to_string()))?;
        let values = self.values(batch, at)?;
        let mut value_bytes = Vec::new();
        let dense = self
            .layout
            .encode(&values, &mut value_bytes)
            .map_err(|e| ("the row is too large".to_owned(), e.to_string()))?;
        let (event_time, created_time) = self.times(batch, at)?;
        Ok(Row { number, keys, values, event_time, created_time, key_bytes, value_bytes, dense })
    }

    fn values(&self, batch: &dyn Batch, at: usize) -> Result<Vec<Value>, (String, String)> {
        let mut values = Vec::with_capacity(self.mapping.features.len());
        for (feature, from) in self.view.features.iter().zip(&self.mapping.features) {
            let value = match from {
                FeatureFrom::Default(default) => default.clone(),
                FeatureFrom::Column(column) => {
                    coerce::value(&batch.cell(*column, at), &feature.value_type, self.mapping.allow)
                        .map_err(|detail| {
                            let reason = format!("feature {} is unfit", feature.name);
                            (reason, format!("feature {}: {detail}", feature.name))
                        })?
                }
            };
            values.push(value);
        }
        Ok(values)
    }

    fn times(&self, batch: &dyn Batch, at: usize) -> Result<(i64, i64), (String, String)> {
        let event_time = match self.mapping.event_time {
            TimeFrom::Fixed(time_us) => time_us,
            TimeFrom::Column(column) => {
                self.time(batch, at, column, "event time")?.ok_or_else(|| {
                    ("the event time is null".to_owned(), "the event time is null".to_owned())
                })?
            }
        };
        let created_time = match self.mapping.created_time {
            None => NO_TIME,
            Some(column) => self.time(batch, at, column, "created time")?.unwrap_or(NO_TIME),
        };
        Ok((event_time, created_time))
    }

    fn time(
        &self,
        batch: &dyn Batch,
        at: usize,
        column: usize,
        what: &str,
    ) -> Result<Option<i64>, (String, String)> {
        let unfit = |detail: String| (format!("the {what} is unfit"), format!("{what}: {detail}"));
        let cell = batch.cell(column, at);
        if is_null(&cell) {
            return Ok(None);
        }
        match coerce::time_us(&cell, self.mapping.allow).map_err(unfit)? {
            NO_TIME => Err(unfit("the smallest time stands for an absent one".to_owned())),
            time_us => Ok(Some(time_us)),
        }
    }

    /// The row as read, for the rejects file; mapped columns only.
    fn shown(&self, batch: &dyn Batch, at: usize) -> Map<String, Json> {
        let mut row = Map::new();
        if batch.broken(at).is_none() {
            for column in self.mapping.columns() {
                row.insert(self.columns[column].name.clone(), cell_json(&batch.cell(column, at)));
            }
        }
        row
    }
}

fn is_null(cell: &Cell<'_>) -> bool {
    matches!(cell, Cell::Null)
}

fn cut(text: &str) -> Json {
    if text.len() <= MAX_SHOWN_BYTES {
        return Json::from(text);
    }
    let mut end = MAX_SHOWN_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Json::from(format!("{}... ({} bytes)", &text[..end], text.len()))
}

fn cell_json(cell: &Cell<'_>) -> Json {
    let float = |v: f64| {
        serde_json::Number::from_f64(v).map_or_else(|| Json::from(v.to_string()), Json::Number)
    };
    match cell {
        Cell::Null => Json::Null,
        Cell::Bool(v) => Json::Bool(*v),
        Cell::Int(v) => Json::from(*v),
        Cell::UInt(v) => Json::from(*v),
        Cell::Float32(v) => float(f64::from(*v)),
        Cell::Float64(v) => float(*v),
        Cell::Text(text) | Cell::Untyped(text) => cut(text),
        Cell::Bytes(bytes) => {
            cut(&thermae_formats::text::format_hex(&bytes[..bytes.len().min(MAX_SHOWN_BYTES)]))
        }
        Cell::TimestampUs(us) => Json::from(thermae_formats::time::format_timestamp_us(*us)),
        Cell::List(cells) => Json::Array(cells.iter().take(256).map(cell_json).collect()),
        Cell::Json(raw) if raw.get().len() <= MAX_SHOWN_BYTES => {
            serde_json::from_str(raw.get()).unwrap_or_else(|_| cut(raw.get()))
        }
        Cell::Json(raw) => cut(raw.get()),
        Cell::Unreadable(reason) => Json::from(format!("unreadable: {reason}")),
    }
}
