//! How a file's columns are encoded, decided by its first rows.

use std::collections::HashSet;

use arrow_array::RecordBatch;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesBuilder,
};
use parquet::schema::types::ColumnPath;
use thermae_formats::{Scalar, ValueType};

use super::ColdError;
use super::cells::Cells;
use super::columns::{Column, Columns, SYSTEM};
use super::format::FENCE_ROWS;

/// Rows that the choice is made by, and that a batch holds.
pub(super) const SAMPLE_ROWS: usize = 8_192;
const ROW_GROUP_ROWS: usize = 131_072;
const ROW_GROUP_BYTES: usize = 32 << 20;
const PAGE_BYTES: usize = 1 << 20;
const ZSTD_LEVEL: i32 = 3;
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Properties for a file that begins with these rows.
pub(super) fn properties(
    columns: &Columns,
    sample: &RecordBatch,
) -> Result<WriterProperties, ColdError> {
    // A sample that is not full is all of the file.
    let most_rows =
        if sample.num_rows() < SAMPLE_ROWS { sample.num_rows() } else { ROW_GROUP_ROWS };
    let mut builder = WriterProperties::builder()
        .set_created_by("thermae".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(FENCE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        // Beside the indexes, where a reader keeps them all after one read.
        .set_bloom_filter_position(BloomFilterPosition::End);
    for (index, column) in columns.columns().iter().enumerate() {
        let is_key = (SYSTEM.len()..columns.features_at()).contains(&index);
        let has_dictionary =
            wants_dictionary(column, is_key) && repeats(column, sample.column(index))?;
        builder = encode(builder, column, has_dictionary);
        if is_key {
            let path = ColumnPath::from(column.name.as_str());
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, most_rows as u64);
        }
    }
    Ok(builder.build())
}

fn encode(
    builder: WriterPropertiesBuilder,
    column: &Column,
    has_dictionary: bool,
) -> WriterPropertiesBuilder {
    let (path, scalar) = match &column.value_type {
        ValueType::Scalar(scalar) => (vec![column.name.clone()], *scalar),
        ValueType::Opaque { .. } => (vec![column.name.clone()], Scalar::Bytes),
        ValueType::List(scalar) => (element_path(column), *scalar),
        ValueType::Vector { .. } => (element_path(column), Scalar::Float32),
    };
    let path = ColumnPath::new(path);
    let encoding = match scalar {
        Scalar::Bool | Scalar::Uuid => Encoding::PLAIN,
        Scalar::Int32 | Scalar::Int64 | Scalar::Timestamp => Encoding::DELTA_BINARY_PACKED,
        Scalar::Float32 | Scalar::Float64 => Encoding::BYTE_STREAM_SPLIT,
        Scalar::String | Scalar::Json | Scalar::Bytes => Encoding::DELTA_LENGTH_BYTE_ARRAY,
    };
    let builder = builder.set_column_encoding(path.clone(), encoding);
    let builder = match column.value_type {
        // Of a list's elements a page's extremes tell nothing about a row.
        ValueType::List(_) | ValueType::Vector { .. } => {
            builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
        }
        _ => builder,
    };
    builder.set_column_dictionary_enabled(path, has_dictionary)
}

fn element_path(column: &Column) -> Vec<String> {
    vec![column.name.clone(), "list".to_owned(), "element".to_owned()]
}

/// Integers of keys and sequences are spread evenly: packed deltas hold them in fewer bits than entries.
fn wants_dictionary(column: &Column, is_key: bool) -> bool {
    match column.value_type {
        ValueType::Scalar(Scalar::Bool) | ValueType::List(_) | ValueType::Vector { .. } => false,
        ValueType::Scalar(Scalar::Int32 | Scalar::Int64) => !is_key && column.name != "sequence",
        _ => true,
    }
}

/// Whether few of the sample's values are new.
fn repeats(column: &Column, sample: &arrow_array::ArrayRef) -> Result<bool, ColdError> {
    let cells =
        Cells::new(&column.value_type, sample).map_err(|what| ColdError::Encode(what.into()))?;
    let (mut distinct, mut values, mut bytes) = (HashSet::new(), 0, Vec::new());
    for row in (0..sample.len()).filter(|row| !cells.is_null(*row)) {
        bytes.clear();
        cells.append(row, &mut bytes);
        distinct.insert(xxhash_rust::xxh3::xxh3_64(&bytes));
        values += 1;
    }
    Ok(distinct.len() * values_an_entry(&column.value_type) <= values)
}

/// How many values an entry of a dictionary must stand for to pay: two of 8 bytes, of others four.
fn values_an_entry(value_type: &ValueType) -> usize {
    match value_type {
        ValueType::Scalar(Scalar::Int64 | Scalar::Float64 | Scalar::Timestamp) => 2,
        _ => 4,
    }
}
