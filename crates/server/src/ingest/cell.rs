//! What a reader hands over: batches of rows whose cells still have the file's types.

use std::fmt;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use serde_json::value::RawValue;

use super::error::IngestError;

/// A column as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the file's own words: `Timestamp(µs, UTC)`, `text`, `json`.
    pub type_name: String,
    /// Whether values of this type can be read at all.
    pub readable: bool,
    /// Its Arrow type, where the format is one of Arrow's columns.
    pub data_type: Option<DataType>,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.type_name)
    }
}

/// One value before its type is judged. Each format yields the variants that it can tell apart.
#[derive(Clone, Debug)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A binary32.
    Float32(f32),
    /// A binary64.
    Float64(f64),
    /// Text that the file says is text (Parquet).
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampUs(i64),
    /// Values of one type.
    List(Vec<Cell<'a>>),
    /// Text that may mean anything (CSV).
    Untyped(&'a str),
    /// A JSON value, as written (NDJSON).
    Json(&'a RawValue),
    /// A value that no type here can hold; the text says why.
    Unreadable(String),
}

impl Cell<'_> {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::UInt(_) => "integer",
            Self::Float32(_) => "float32",
            Self::Float64(_) => "float64",
            Self::Text(_) | Self::Untyped(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::TimestampUs(_) => "timestamp",
            Self::List(_) => "list",
            Self::Json(_) => "JSON value",
            Self::Unreadable(_) => "unreadable value",
        }
    }
}

/// Rows read together; small enough to hold in memory.
pub trait Batch {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// The cell of column `column` (an index into the reader's columns) in row `row` of the batch.
    fn cell(&self, column: usize, row: usize) -> Cell<'_>;
    /// A column as the file has it, where its format is one of Arrow's columns.
    fn array(&self, _column: usize) -> Option<ArrayRef> {
        None
    }
    /// What is wrong with the row as a whole (a broken line), if anything.
    fn broken(&self, row: usize) -> Option<&str>;
}

/// A file being read. Batches come in file order; the rows of all batches are numbered from 1.
pub trait Reader {
    /// The file's columns. For NDJSON: those seen in its first rows.
    fn columns(&self) -> &[Column];
    /// The next rows, or `None` at the end.
    ///
    /// # Errors
    /// When the rest of the file cannot be read at all: damaged, or a system error.
    fn next_batch(&mut self) -> Result<Option<Box<dyn Batch + '_>>, IngestError>;
    /// Rows in the whole file, where the format knows it beforehand.
    fn rows_total(&self) -> Option<u64>;
}
