//! A table's columns and a file's statistics in Delta's words.

use serde_json::{Value as Json, json};
use thermae_formats::time::format_timestamp_us;
use thermae_formats::{Scalar, ValueType};

use crate::cold::FileRef;
use crate::cold::columns::{Columns, DAY_COLUMN};

/// The table's schema as Delta's `schemaString`.
pub(super) fn schema_string(columns: &Columns) -> String {
    let field = |name: &str, kind: Json, is_nullable: bool| json!({"name": name, "type": kind, "nullable": is_nullable, "metadata": {}});
    let mut fields: Vec<Json> = columns
        .columns()
        .iter()
        .map(|column| field(&column.name, delta_type(&column.value_type), column.is_nullable))
        .collect();
    fields.push(field(DAY_COLUMN, json!("date"), true));
    json!({"type": "struct", "fields": fields}).to_string()
}

fn delta_type(value_type: &ValueType) -> Json {
    let array = |scalar| json!({"type": "array", "elementType": scalar_type(scalar), "containsNull": false});
    match value_type {
        ValueType::Scalar(scalar) => json!(scalar_type(*scalar)),
        ValueType::List(scalar) => array(*scalar),
        ValueType::Vector { .. } => array(Scalar::Float32),
        ValueType::Opaque { .. } => json!("binary"),
    }
}

const fn scalar_type(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "boolean",
        Scalar::Int32 => "integer",
        Scalar::Int64 => "long",
        Scalar::Float32 => "float",
        Scalar::Float64 => "double",
        Scalar::String | Scalar::Json => "string",
        Scalar::Bytes | Scalar::Uuid => "binary",
        Scalar::Timestamp => "timestamp",
    }
}

/// A file's statistics as Delta's `stats`. Event times are rounded outwards to milliseconds, which is what
/// readers keep; those that no calendar names are left out.
pub(super) fn statistics(file: &FileRef) -> String {
    let (first, last) = file.event_times;
    let (first, last) = (
        first.div_euclid(1_000).saturating_mul(1_000),
        last.div_euclid(1_000)
            .saturating_add(i64::from(last.rem_euclid(1_000) != 0))
            .saturating_mul(1_000),
    );
    let (mut least, mut greatest) =
        (json!({"sequence": file.sequences.0}), json!({"sequence": file.sequences.1}));
    if let (Some(first), Some(last)) = (milliseconds_text(first), milliseconds_text(last)) {
        least["event_timestamp"] = json!(first);
        greatest["event_timestamp"] = json!(last);
    }
    let nulls = json!({"sequence": 0, "event_timestamp": 0});
    json!({"numRecords": file.rows, "minValues": least, "maxValues": greatest, "nullCount": nulls})
        .to_string()
}

/// `2013-01-01T05:00:00.000Z`, of a time of whole milliseconds.
fn milliseconds_text(time_us: i64) -> Option<String> {
    let text = format_timestamp_us(time_us);
    let whole = text.strip_suffix('Z')?;
    match whole.split_once('.') {
        None => Some(format!("{whole}.000Z")),
        Some((seconds, micros)) => Some(format!("{seconds}.{}Z", micros.get(..3)?)),
    }
}
