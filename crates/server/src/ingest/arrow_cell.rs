//! One value of an Arrow array as a cell.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};

use super::cell::Cell;

const DAY_US: i64 = 86_400_000_000;

/// The type in words for messages.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(unit, None) => format!("timestamp[{unit}]"),
        DataType::Timestamp(unit, Some(zone)) => format!("timestamp[{unit}, {zone}]"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        DataType::FixedSizeList(item, n) => format!("list<{}, {n}>", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

/// Whether [`cell`] can read values of the type.
pub fn is_readable(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !item.data_type().is_nested() && is_readable(item.data_type())
        }
        DataType::Null
        | DataType::Boolean
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64 => true,
        other => other.is_integer(),
    }
}

/// The value in `row` of the array.
pub fn cell(array: &dyn Array, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Cell::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Cell::UInt(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Cell::UInt(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Cell::UInt(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Cell::UInt(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float16 => Cell::Float32(array.as_primitive::<Float16Type>().value(row).to_f32()),
        DataType::Float32 => Cell::Float32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Cell::Float64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row)),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Cell::Bytes(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => time_cell(array, row),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            list_cell(array, row)
        }
        other => Cell::Unreadable(format!("values of type {} are not supported", type_name(other))),
    }
}

fn time_cell(array: &dyn Array, row: usize) -> Cell<'_> {
    let scaled = |value: i64, factor: i64| match value.checked_mul(factor) {
        Some(us) => Cell::TimestampUs(us),
        None => Cell::Unreadable(format!("the time {value} is out of range in microseconds")),
    };
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(array.as_primitive::<TimestampSecondType>().value(row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(array.as_primitive::<TimestampMillisecondType>().value(row), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Cell::TimestampUs(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let ns = array.as_primitive::<TimestampNanosecondType>().value(row);
            if ns % 1_000 == 0 {
                Cell::TimestampUs(ns / 1_000)
            } else {
                Cell::Unreadable(format!("the time {ns} ns is no whole microsecond"))
            }
        }
        DataType::Date32 => scaled(array.as_primitive::<Date32Type>().value(row).into(), DAY_US),
        DataType::Date64 => scaled(array.as_primitive::<Date64Type>().value(row), 1_000),
        other => Cell::Unreadable(format!("{other} is no time")),
    }
}

fn list_cell(array: &dyn Array, row: usize) -> Cell<'_> {
    // The elements are read from the whole child array, so that they live as long as the batch.
    let (child, start, end): (&ArrayRef, usize, usize) = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let at = |i: usize| usize::try_from(list.value_offsets()[i]).unwrap_or(0);
            (list.values(), at(row), at(row + 1))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let at = |i: usize| usize::try_from(list.value_offsets()[i]).unwrap_or(0);
            (list.values(), at(row), at(row + 1))
        }
        _ => {
            let list = array.as_fixed_size_list();
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            let start = list.value_offset_at(row);
            (list.values(), start, start + width)
        }
    };
    Cell::List((start..end).map(|i| cell(child.as_ref(), i)).collect())
}
