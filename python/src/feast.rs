//! Columns of an answer as Feast's messages, encoded at once: a Python object a value would cost more than the read.
//!
//! ```text
//! GetOnlineFeaturesResponse { repeated FeatureVector results = 2 }
//! FeatureVector { repeated Value values = 1, repeated FieldStatus statuses = 2, repeated Timestamp event_timestamps = 3 }
//! Value { oneof val: the field whose number is a column's kind }
//! ```

use thermae_client::{CellStatus, RowStatus};
use thermae_formats::row_value::list_elements;
use thermae_formats::text::format_uuid;
use thermae_formats::wire::ViewReply;
use thermae_formats::{Scalar, ValueType};

use crate::errors::{Fault, Result};

/// What stands for a value that is stored as Feast's own message.
const OPAQUE: u32 = 0;
/// Microseconds of a second.
const SECOND_US: i64 = 1_000_000;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// Appends a column as a FeatureVector of a response. `kind` is the number of its field in Value.
///
/// # Errors
/// A value that does not decode.
pub fn result(
    view: &ViewReply<'_>,
    place: usize,
    value_type: &ValueType,
    kind: u32,
    out: &mut Vec<u8>,
) -> Result<()> {
    let broken = || Fault::store("a value of the answer does not decode");
    let column = view.column(place).ok_or_else(broken)?;
    let mut vector = Vec::with_capacity(column.rows() * 24);
    let mut value = Vec::new();
    for row in 0..column.rows() {
        value.clear();
        if let Some(field) = column.value(row) {
            encode(value_type, kind, field, &mut value).ok_or_else(broken)?;
        }
        message(1, &value, &mut vector);
    }
    let statuses: Vec<u8> = (0..column.rows()).map(|row| status(view.cell(row, place))).collect();
    message(2, &statuses, &mut vector);
    for row in 0..column.rows() {
        value.clear();
        timestamp(view, row, &mut value);
        message(3, &value, &mut vector);
    }
    message(2, &vector, out);
    Ok(())
}

/// Feast's FieldStatus; each is one byte.
fn status(status: CellStatus) -> u8 {
    match status {
        CellStatus::Present => 1,
        CellStatus::NullValue => 2,
        CellStatus::NotFound => 3,
        CellStatus::OutsideMaxAge => 4,
        // Feast knows no status for a value that cannot be read.
        CellStatus::Error | CellStatus::Unavailable => 0,
    }
}

/// When the row was true; nothing where there is none.
fn timestamp(view: &ViewReply<'_>, row: usize, out: &mut Vec<u8>) {
    let is_there = matches!(view.status(row), RowStatus::Present | RowStatus::OutsideMaxAge);
    let Some(time_us) = view.event_time(row).filter(|_| is_there) else { return };
    let seconds = time_us.div_euclid(SECOND_US);
    let nanos = time_us.rem_euclid(SECOND_US) * 1_000;
    if seconds != 0 {
        tag(1, VARINT, out);
        varint(seconds as u64, out);
    }
    if nanos != 0 {
        tag(2, VARINT, out);
        varint(nanos as u64, out);
    }
}

/// The fields of one Value.
fn encode(value_type: &ValueType, kind: u32, field: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match value_type {
        ValueType::Scalar(scalar) => {
            let mut bytes = Vec::new();
            let wire = scalar_bytes(*scalar, field, &mut bytes)?;
            tag(kind, wire, out);
            if wire == LENGTH {
                varint(bytes.len() as u64, out);
            }
            out.extend_from_slice(&bytes);
        }
        ValueType::Opaque { .. } if kind == OPAQUE => out.extend_from_slice(field),
        ValueType::Opaque { .. } => return None,
        ValueType::Vector { .. } => list(kind, field.as_chunks::<4>().0, out),
        ValueType::List(scalar) => {
            let (mut list, mut packed) = (Vec::new(), true);
            for element in list_elements(*scalar, field).ok()? {
                let mut bytes = Vec::new();
                if scalar_bytes(*scalar, element.ok()?, &mut bytes)? == LENGTH {
                    packed = false;
                    message(1, &bytes, &mut list);
                } else {
                    list.extend_from_slice(&bytes);
                }
            }
            if packed && !list.is_empty() {
                let elements = std::mem::take(&mut list);
                message(1, &elements, &mut list);
            }
            message(kind, &list, out);
        }
    }
    Some(())
}

/// A list of floats, which lie as they are sent.
fn list(kind: u32, elements: &[[u8; 4]], out: &mut Vec<u8>) {
    let mut list = Vec::new();
    if !elements.is_empty() {
        message(1, elements.as_flattened(), &mut list);
    }
    message(kind, &list, out);
}

/// The bytes of a scalar behind its tag, and its wire type.
fn scalar_bytes(scalar: Scalar, field: &[u8], out: &mut Vec<u8>) -> Option<u32> {
    Some(match scalar {
        Scalar::Bool => {
            varint(u64::from(*field.first()?), out);
            VARINT
        }
        // A negative int32 is sent as 64 bits.
        Scalar::Int32 => {
            varint(i64::from(i32::from_le_bytes(*field.first_chunk()?)) as u64, out);
            VARINT
        }
        Scalar::Int64 => {
            varint(i64::from_le_bytes(*field.first_chunk()?) as u64, out);
            VARINT
        }
        Scalar::Timestamp => {
            let time_us = i64::from_le_bytes(*field.first_chunk()?);
            // The smallest number is Feast's NaT, in any unit.
            let seconds = if time_us == i64::MIN { time_us } else { time_us.div_euclid(SECOND_US) };
            varint(seconds as u64, out);
            VARINT
        }
        Scalar::Float32 => {
            out.extend_from_slice(field.first_chunk::<4>()?);
            FIXED32
        }
        Scalar::Float64 => {
            out.extend_from_slice(field.first_chunk::<8>()?);
            FIXED64
        }
        Scalar::Uuid => {
            out.extend_from_slice(format_uuid(field.first_chunk()?).as_bytes());
            LENGTH
        }
        Scalar::String | Scalar::Bytes | Scalar::Json => {
            out.extend_from_slice(field);
            LENGTH
        }
    })
}

fn message(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    tag(number, LENGTH, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn tag(number: u32, wire: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | wire), out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
