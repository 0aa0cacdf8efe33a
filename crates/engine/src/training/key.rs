//! Join keys of a spine: columns of its batches as encoded keys.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::DataType;
use thermae_formats::{KeyError, KeyType, KeyValue};

/// Whether values of the Arrow type may be keys of the key type; as online, the schema coerces numbers and
/// UUIDs that are written as text.
pub(super) fn is_key(data_type: &DataType, key_type: KeyType) -> bool {
    match data_type {
        DataType::Null => true,
        DataType::Dictionary(_, values) => is_key(values, key_type),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => key_type != KeyType::Bytes,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            matches!(key_type, KeyType::Bytes | KeyType::Uuid)
        }
        DataType::FixedSizeBinary(width) => {
            key_type == KeyType::Bytes || (key_type == KeyType::Uuid && *width == 16)
        }
        other => other.is_integer() && matches!(key_type, KeyType::Int32 | KeyType::Int64),
    }
}

/// The key value in a row of a column; `None` for null. `name` is the column, for errors.
pub(super) fn key_value(
    array: &dyn Array,
    row: usize,
    key_type: KeyType,
    name: &str,
) -> Result<Option<KeyValue>, KeyError> {
    if array.is_null(row) {
        return Ok(None);
    }
    let refuse = |reason: String| KeyError::Uncoercible { column: name.to_owned(), reason };
    Ok(Some(match array.data_type() {
        DataType::Int64 => KeyValue::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => KeyValue::from(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int16 => KeyValue::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int8 => KeyValue::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::UInt32 => KeyValue::Int(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt16 => KeyValue::Int(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt8 => KeyValue::Int(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            let signed = i64::try_from(value);
            KeyValue::Int(signed.map_err(|_| refuse(format!("{value} does not fit an int64")))?)
        }
        DataType::Utf8 => KeyValue::from(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => KeyValue::from(array.as_string::<i64>().value(row)),
        DataType::Utf8View => KeyValue::from(array.as_string_view().value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row), key_type, name)?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row), key_type, name)?,
        DataType::BinaryView => bytes(array.as_binary_view().value(row), key_type, name)?,
        DataType::FixedSizeBinary(_) => {
            bytes(array.as_fixed_size_binary().value(row), key_type, name)?
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let at = match key_value(dictionary.keys(), row, KeyType::Int64, name)? {
                Some(KeyValue::Int(at)) => usize::try_from(at).unwrap_or(usize::MAX),
                _ => return Ok(None),
            };
            if at >= dictionary.values().len() {
                return Err(refuse(format!("entry {at} lies outside the column's dictionary")));
            }
            return key_value(dictionary.values(), at, key_type, name);
        }
        DataType::Null => return Ok(None),
        other => return Err(refuse(format!("{other} is no join key"))),
    }))
}

fn bytes(bytes: &[u8], key_type: KeyType, name: &str) -> Result<KeyValue, KeyError> {
    if key_type != KeyType::Uuid {
        return Ok(KeyValue::Bytes(bytes.to_vec()));
    }
    <[u8; 16]>::try_from(bytes).map(KeyValue::Uuid).map_err(|_| KeyError::Uncoercible {
        column: name.to_owned(),
        reason: format!("a uuid is 16 bytes, found {}", bytes.len()),
    })
}
