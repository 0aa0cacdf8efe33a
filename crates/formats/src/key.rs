//! Entity keys as bytes: prefix-free, in the declared order of the join keys.
//!
//! int32 and int64 are 8 bytes little-endian alike, a UUID 16 bytes, string and bytes a u16 length and the
//! bytes. So a packed list of keys needs no separators, and 7 names one entity as int32 or int64.

use crate::error::KeyError;
use crate::key_value::{int32, unfit};
use crate::schema::{JoinKey, MAX_KEY_BYTES};
use crate::types::KeyType;
use crate::value::KeyValue;

/// Appends the encoded key to `out`; on error `out` is as before.
///
/// Fails on another number of values than join keys, on a value that cannot be coerced (naming the join key),
/// and on a key of more than [`MAX_KEY_BYTES`].
pub fn encode_key(
    join_keys: &[JoinKey],
    values: &[KeyValue],
    out: &mut Vec<u8>,
) -> Result<(), KeyError> {
    if join_keys.len() != values.len() {
        let names: Vec<&str> = join_keys.iter().map(|k| k.name.as_str()).collect();
        return Err(KeyError::WrongCount {
            expected: join_keys.len(),
            found: values.len(),
            names: names.join(", "),
        });
    }
    let start = out.len();
    let encoded = join_keys.iter().zip(values).try_for_each(|(k, v)| encode_value(k, v, out));
    let found = out.len() - start;
    let checked = encoded.and_then(|()| {
        if found <= MAX_KEY_BYTES {
            return Ok(());
        }
        Err(KeyError::TooLong { found, limit: MAX_KEY_BYTES })
    });
    if checked.is_err() {
        out.truncate(start);
    }
    checked
}

fn encode_value(key: &JoinKey, value: &KeyValue, out: &mut Vec<u8>) -> Result<(), KeyError> {
    match (key.key_type, value) {
        (KeyType::Int32, KeyValue::Int(v)) => {
            out.extend_from_slice(&i64::from(int32(&key.name, *v)?).to_le_bytes());
        }
        (KeyType::Int64, KeyValue::Int(v)) => out.extend_from_slice(&v.to_le_bytes()),
        (KeyType::String, KeyValue::String(v)) => encode_bytes(key, v.as_bytes(), out)?,
        (KeyType::Bytes, KeyValue::Bytes(v)) => encode_bytes(key, v, out)?,
        (KeyType::Uuid, KeyValue::Uuid(v)) => out.extend_from_slice(v),
        // A number or a UUID written as text means the same; coerce it as the schema says.
        (key_type, KeyValue::String(text)) => {
            encode_value(key, &KeyValue::parse(&key.name, key_type, text)?, out)?;
        }
        (wanted, found) => return Err(unfit(&key.name, wanted, found.kind())),
    }
    Ok(())
}

fn encode_bytes(key: &JoinKey, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), KeyError> {
    let length = u16::try_from(bytes.len()).ok().filter(|n| usize::from(*n) <= MAX_KEY_BYTES);
    let Some(length) = length else {
        let reason = format!("{} bytes, the limit of a key is {MAX_KEY_BYTES}", bytes.len());
        return Err(KeyError::Uncoercible { column: key.name.clone(), reason });
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Decodes a whole key; bytes after the last join key are an error.
pub fn decode_key(join_keys: &[JoinKey], bytes: &[u8]) -> Result<Vec<KeyValue>, KeyError> {
    let mut values = Vec::with_capacity(join_keys.len());
    let mut offset = 0;
    for (index, key) in join_keys.iter().enumerate() {
        let end = join_key_end(index, key.key_type, bytes, offset)?;
        values.push(decode_value(index, key.key_type, bytes, offset, end)?);
        offset = end;
    }
    if offset > MAX_KEY_BYTES {
        return Err(KeyError::TooLong { found: offset, limit: MAX_KEY_BYTES });
    }
    if offset != bytes.len() {
        return Err(KeyError::Trailing { offset, extra: bytes.len() - offset });
    }
    Ok(values)
}

/// Splits the first key off packed keys: `(key, rest)`. Allocates nothing.
///
/// Checks what the bytes must have to be one key (lengths, int32 range, UTF-8, [`MAX_KEY_BYTES`]), so that the
/// key may be stored as it is.
#[inline]
pub fn split_key<'a>(
    key_types: &[KeyType],
    bytes: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), KeyError> {
    // One int64, the commonest key, has nothing to check but its length.
    if let [KeyType::Int64] = key_types
        && let Some(split) = bytes.split_at_checked(8)
    {
        return Ok(split);
    }
    split_any_key(key_types, bytes)
}

#[inline(never)]
fn split_any_key<'a>(
    key_types: &[KeyType],
    bytes: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), KeyError> {
    let mut offset = 0;
    for (index, &key_type) in key_types.iter().enumerate() {
        let end = join_key_end(index, key_type, bytes, offset)?;
        check_value(index, key_type, bytes, offset, end)?;
        offset = end;
    }
    if offset > MAX_KEY_BYTES {
        return Err(KeyError::TooLong { found: offset, limit: MAX_KEY_BYTES });
    }
    Ok(bytes.split_at(offset))
}

/// Length in bytes of the key at the front of bytes that were checked before, such as a hot row's.
///
/// Cheaper than [`split_key`]: lengths only, no check of what the values hold.
#[inline]
pub fn key_len(key_types: &[KeyType], bytes: &[u8]) -> Result<usize, KeyError> {
    let mut offset = 0;
    for (index, &key_type) in key_types.iter().enumerate() {
        offset = join_key_end(index, key_type, bytes, offset)?;
    }
    Ok(offset)
}

/// Where the join key that begins at `offset` ends.
#[inline]
fn join_key_end(
    index: usize,
    key_type: KeyType,
    bytes: &[u8],
    offset: usize,
) -> Result<usize, KeyError> {
    let left = bytes.len() - offset;
    let needed = match key_type {
        KeyType::Int32 | KeyType::Int64 => 8,
        KeyType::Uuid => 16,
        KeyType::String | KeyType::Bytes => match bytes[offset..] {
            [low, high, ..] => 2 + usize::from(u16::from_le_bytes([low, high])),
            _ => 2,
        },
    };
    if needed > left {
        return Err(KeyError::Truncated { index, offset, needed, found: left });
    }
    Ok(offset + needed)
}

#[inline]
fn check_value(
    index: usize,
    key_type: KeyType,
    bytes: &[u8],
    offset: usize,
    end: usize,
) -> Result<(), KeyError> {
    let corrupt = |reason| Err(KeyError::Corrupt { index, offset, reason });
    match key_type {
        KeyType::Int32 if i32::try_from(read_i64(&bytes[offset..end])).is_err() => {
            corrupt("the integer does not fit an int32")
        }
        KeyType::String if std::str::from_utf8(&bytes[offset + 2..end]).is_err() => {
            corrupt("the string is not UTF-8")
        }
        _ => Ok(()),
    }
}

fn decode_value(
    index: usize,
    key_type: KeyType,
    bytes: &[u8],
    offset: usize,
    end: usize,
) -> Result<KeyValue, KeyError> {
    check_value(index, key_type, bytes, offset, end)?;
    let field = &bytes[offset..end];
    Ok(match key_type {
        KeyType::Int32 | KeyType::Int64 => KeyValue::Int(read_i64(field)),
        KeyType::Uuid => {
            let mut uuid = [0; 16];
            uuid.copy_from_slice(field);
            KeyValue::Uuid(uuid)
        }
        KeyType::String => KeyValue::String(String::from_utf8_lossy(&field[2..]).into_owned()),
        KeyType::Bytes => KeyValue::Bytes(field[2..].to_vec()),
    })
}

/// The integer of an 8-byte field.
#[inline]
fn read_i64(field: &[u8]) -> i64 {
    field.first_chunk::<8>().map_or(0, |b| i64::from_le_bytes(*b))
}
