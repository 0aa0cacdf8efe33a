//! One value as the bytes of its field, in a row and in a columnar reply alike.
//!
//! Fixed-width values are little-endian. Text and bytes are themselves. A list is a u32 count, then its
//! elements: packed if they are of fixed width, else one u32 end offset for each (from the first byte after
//! the offsets) and their bytes.

use crate::error::ValueError;
use crate::types::{Scalar, ValueType};
use crate::value::Value;

/// A field that no encoder writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldFault {
    /// Byte offset in the field.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

const fn fault<T>(offset: usize, reason: &'static str) -> Result<T, FieldFault> {
    Err(FieldFault { offset, reason })
}

/// Appends the bytes of a value that is not null; fails if it is not of the type.
///
/// A list is limited to what u32 offsets can name.
pub fn encode_value(
    value_type: &ValueType,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    value.check(value_type)?;
    match (value_type, value) {
        (ValueType::List(scalar), Value::List(elements)) => encode_list(*scalar, elements, out),
        (_, Value::Vector(elements)) => {
            elements.iter().for_each(|x| out.extend_from_slice(&x.to_bits().to_le_bytes()));
            Ok(())
        }
        (_, Value::Opaque(bytes)) => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        (_, value) => {
            encode_scalar(value, out);
            Ok(())
        }
    }
}

fn encode_scalar(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Int64(v) | Value::Timestamp(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Float32(v) => out.extend_from_slice(&v.to_bits().to_le_bytes()),
        Value::Float64(v) => out.extend_from_slice(&v.to_bits().to_le_bytes()),
        Value::String(v) | Value::Json(v) => out.extend_from_slice(v.as_bytes()),
        Value::Bytes(v) => out.extend_from_slice(v),
        Value::Uuid(v) => out.extend_from_slice(v),
        // A null has no bytes; the others are not scalars, and are encoded by the caller.
        Value::Null | Value::List(_) | Value::Vector(_) | Value::Opaque(_) => {}
    }
}

fn encode_list(scalar: Scalar, elements: &[Value], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let too_long = || ValueError::Unreadable {
        text: format!("{} elements", elements.len()),
        wanted: format!("list<{scalar}>"),
        reason: "a list is limited to 4 GiB".to_owned(),
    };
    let count = u32::try_from(elements.len()).map_err(|_| too_long())?;
    out.extend_from_slice(&count.to_le_bytes());
    if scalar.width_bytes().is_some() {
        elements.iter().for_each(|e| encode_scalar(e, out));
        return Ok(());
    }
    let ends_at = out.len();
    out.resize(ends_at + 4 * elements.len(), 0);
    let data_at = out.len();
    for (index, element) in elements.iter().enumerate() {
        encode_scalar(element, out);
        let end = u32::try_from(out.len() - data_at).map_err(|_| too_long())?;
        let slot = ends_at + 4 * index;
        out[slot..slot + 4].copy_from_slice(&end.to_le_bytes());
    }
    Ok(())
}

/// Checks that a field's bytes are exactly one value of the type.
pub fn validate_value(value_type: &ValueType, field: &[u8]) -> Result<(), FieldFault> {
    match value_type {
        ValueType::Scalar(scalar) => validate_scalar(*scalar, field),
        ValueType::List(scalar) => validate_list(*scalar, field),
        ValueType::Vector { dimension } if field.len() == *dimension as usize * 4 => Ok(()),
        ValueType::Vector { .. } => fault(0, "the vector is of another length than declared"),
        ValueType::Opaque { .. } => Ok(()),
    }
}

#[inline]
fn validate_scalar(scalar: Scalar, field: &[u8]) -> Result<(), FieldFault> {
    match (scalar, scalar.width_bytes()) {
        (_, Some(width)) if field.len() != width => {
            fault(0, "the value is of another length than its type")
        }
        (Scalar::Bool, _) if field[0] > 1 => fault(0, "a bool is neither 0 nor 1"),
        (Scalar::String | Scalar::Json, _) => match std::str::from_utf8(field) {
            Ok(_) => Ok(()),
            Err(error) => fault(error.valid_up_to(), "the text is not UTF-8"),
        },
        _ => Ok(()),
    }
}

fn validate_list(scalar: Scalar, field: &[u8]) -> Result<(), FieldFault> {
    let list = ListBytes::new(scalar, field)?;
    for index in 0..list.count {
        let (offset, element) = list.element(index)?;
        validate_scalar(scalar, element)
            .map_err(|f| FieldFault { offset: offset + f.offset, ..f })?;
    }
    list.check_end()
}

/// Decodes a field; everything is checked first, so that hostile bytes cost no more than their length.
pub fn decode_value(value_type: &ValueType, field: &[u8]) -> Result<Value, FieldFault> {
    validate_value(value_type, field)?;
    match value_type {
        ValueType::Scalar(scalar) => decode_scalar(*scalar, field),
        ValueType::Opaque { .. } => Ok(Value::Opaque(field.to_vec())),
        ValueType::Vector { .. } => {
            let element = |c: &[u8]| f32::from_bits(u32::from_le_bytes(chunk(c)));
            Ok(Value::Vector(field.chunks_exact(4).map(element).collect()))
        }
        ValueType::List(scalar) => {
            let list = ListBytes::new(*scalar, field)?;
            let elements = (0..list.count).map(|i| decode_scalar(*scalar, list.element(i)?.1));
            Ok(Value::List(elements.collect::<Result<_, _>>()?))
        }
    }
}

/// Calls `element` with the bytes of each element of a list's field, in order.
///
/// # Errors
/// The field is no list of that scalar type.
pub fn for_each_element<'a>(
    scalar: Scalar,
    field: &'a [u8],
    mut element: impl FnMut(&'a [u8]),
) -> Result<(), FieldFault> {
    let list = ListBytes::new(scalar, field)?;
    for index in 0..list.count {
        element(list.element(index)?.1);
    }
    list.check_end()
}

/// Appends the field of a list of `count` elements; `append` appends the bytes of one.
///
/// A list is limited to what u32 offsets can name: ends beyond it saturate, and are no list when read.
pub fn encode_elements(
    scalar: Scalar,
    count: usize,
    mut append: impl FnMut(usize, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let saturated = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&saturated(count));
    let ends_at = out.len();
    if scalar.width_bytes().is_none() {
        out.resize(ends_at + 4 * count, 0);
    }
    let data_at = out.len();
    for index in 0..count {
        append(index, out);
        if scalar.width_bytes().is_none() {
            let end = saturated(out.len() - data_at);
            let slot = ends_at + 4 * index;
            out[slot..slot + 4].copy_from_slice(&end);
        }
    }
}

fn decode_scalar(scalar: Scalar, field: &[u8]) -> Result<Value, FieldFault> {
    let text = || match std::str::from_utf8(field) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => fault(error.valid_up_to(), "the text is not UTF-8"),
    };
    Ok(match scalar {
        Scalar::Bool => Value::Bool(chunk::<1>(field)[0] == 1),
        Scalar::Int32 => Value::Int32(i32::from_le_bytes(chunk(field))),
        Scalar::Int64 => Value::Int64(i64::from_le_bytes(chunk(field))),
        Scalar::Float32 => Value::Float32(f32::from_bits(u32::from_le_bytes(chunk(field)))),
        Scalar::Float64 => Value::Float64(f64::from_bits(u64::from_le_bytes(chunk(field)))),
        Scalar::String => Value::String(text()?),
        Scalar::Bytes => Value::Bytes(field.to_vec()),
        Scalar::Timestamp => Value::Timestamp(i64::from_le_bytes(chunk(field))),
        Scalar::Uuid => Value::Uuid(chunk(field)),
        Scalar::Json => Value::Json(text()?),
    })
}

/// The elements of a list's field, each as the bytes of its value. They are not validated themselves.
///
/// Fails if the list is of another length than its elements.
pub fn list_elements(
    scalar: Scalar,
    field: &[u8],
) -> Result<impl Iterator<Item = Result<&[u8], FieldFault>>, FieldFault> {
    let list = ListBytes::new(scalar, field)?;
    list.check_end()?;
    Ok((0..list.count).map(move |index| list.element(index).map(|(_, element)| element)))
}

/// The first N bytes of a field whose length was checked.
#[inline]
fn chunk<const N: usize>(field: &[u8]) -> [u8; N] {
    field.first_chunk().copied().unwrap_or([0; N])
}

/// A list's bytes with its count checked against their length.
struct ListBytes<'a> {
    field: &'a [u8],
    count: usize,
    /// Width of an element, or `None` for end offsets.
    width: Option<usize>,
    /// Offset of the first element's bytes.
    data_at: usize,
}

impl<'a> ListBytes<'a> {
    fn new(scalar: Scalar, field: &'a [u8]) -> Result<Self, FieldFault> {
        let Some(count) = field.first_chunk().map(|b| u32::from_le_bytes(*b) as usize) else {
            return fault(0, "the list has no count");
        };
        let width = scalar.width_bytes();
        let least = count.checked_mul(width.unwrap_or(4)).and_then(|n| n.checked_add(4));
        if least.is_none_or(|n| n > field.len()) {
            return fault(0, "the list counts more elements than it has bytes for");
        }
        let data_at = if width.is_some() { 4 } else { 4 + 4 * count };
        Ok(Self { field, count, width, data_at })
    }

    fn end_offset(&self, index: usize) -> usize {
        u32::from_le_bytes(chunk(&self.field[4 + 4 * index..])) as usize
    }

    /// The element's offset in the field and its bytes.
    fn element(&self, index: usize) -> Result<(usize, &'a [u8]), FieldFault> {
        let (begin, end) = match self.width {
            Some(width) => (index * width, (index + 1) * width),
            None if index == 0 => (0, self.end_offset(0)),
            None => (self.end_offset(index - 1), self.end_offset(index)),
        };
        match self.field[self.data_at..].get(begin..end) {
            Some(element) => Ok((self.data_at + begin, element)),
            None => fault(4 + 4 * index, "a list element ends before it begins or after the list"),
        }
    }

    fn check_end(&self) -> Result<(), FieldFault> {
        let used = match self.width {
            Some(width) => self.count * width,
            None if self.count == 0 => 0,
            None => self.end_offset(self.count - 1),
        };
        if self.data_at + used == self.field.len() {
            return Ok(());
        }
        fault(self.data_at + used, "bytes follow the last list element")
    }
}
