//! Join keys as feature values and back: the one place where the two meet. Whoever sends keys in a row's layout, reads
//! them out of one, or writes them as columns asks here, so that all of them take and refuse the same.

use crate::error::KeyError;
use crate::types::KeyType;
use crate::value::{KeyValue, Value};

impl KeyValue {
    /// The value of a feature of a join key's type. As in an encoded key, a number or a UUID may be written as text.
    ///
    /// # Errors
    /// It is no key of the type, naming the join key.
    pub fn to_value(&self, join_key: &str, key_type: KeyType) -> Result<Value, KeyError> {
        Ok(match (key_type, self) {
            (KeyType::Int32, Self::Int(v)) => Value::Int32(int32(join_key, *v)?),
            (KeyType::Int64, Self::Int(v)) => Value::Int64(*v),
            (KeyType::String, Self::String(v)) => Value::String(v.clone()),
            (KeyType::Bytes, Self::Bytes(v)) => Value::Bytes(v.clone()),
            (KeyType::Uuid, Self::Uuid(v)) => Value::Uuid(*v),
            (wanted, Self::String(text)) => {
                Self::parse(join_key, wanted, text)?.to_value(join_key, wanted)?
            }
            (wanted, found) => return Err(unfit(join_key, wanted, found.kind())),
        })
    }

    /// The join key of a type that a value is; an int32 passes as int64, and an int64 as int32 where it fits.
    ///
    /// # Errors
    /// It is no key of the type, naming the join key.
    pub fn of_value(value: &Value, join_key: &str, key_type: KeyType) -> Result<Self, KeyError> {
        Ok(match (key_type, value) {
            (KeyType::Int32 | KeyType::Int64, Value::Int32(v)) => Self::from(*v),
            (KeyType::Int32, Value::Int64(v)) => Self::from(int32(join_key, *v)?),
            (KeyType::Int64, Value::Int64(v)) => Self::Int(*v),
            (KeyType::String, Value::String(v)) => Self::String(v.clone()),
            (KeyType::Bytes, Value::Bytes(v)) => Self::Bytes(v.clone()),
            (KeyType::Uuid, Value::Uuid(v)) => Self::Uuid(*v),
            (wanted, found) => return Err(unfit(join_key, wanted, found.kind())),
        })
    }
}

/// An integer as an int32 key.
pub(crate) fn int32(join_key: &str, value: i64) -> Result<i32, KeyError> {
    i32::try_from(value).map_err(|_| KeyError::Uncoercible {
        column: join_key.to_owned(),
        reason: format!("{value} does not fit an int32"),
    })
}

/// A value of another kind than the key's.
pub(crate) fn unfit(join_key: &str, wanted: KeyType, found: &str) -> KeyError {
    let reason = format!("expected {wanted}, found {found}");
    KeyError::Uncoercible { column: join_key.to_owned(), reason }
}
