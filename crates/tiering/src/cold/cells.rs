//! Columns back into rows: the bytes of a column's value as rows hold them.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray,
    StringArray,
};
use thermae_formats::row_value::encode_elements;
use thermae_formats::{Scalar, ValueType};

/// One column of a batch.
pub(super) enum Cells {
    Bool(BooleanArray),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
    Text(StringArray),
    Bytes(BinaryArray),
    Uuid(FixedSizeBinaryArray),
    List(Scalar, ListArray, Box<Cells>),
    Vector(ListArray, Box<Cells>),
}

impl Cells {
    /// A column of that type; the error says what is wrong with it.
    pub fn new(value_type: &ValueType, array: &ArrayRef) -> Result<Self, &'static str> {
        match value_type {
            ValueType::Scalar(scalar) => Self::scalars(*scalar, array),
            ValueType::Opaque { .. } => Self::scalars(Scalar::Bytes, array),
            ValueType::List(scalar) => {
                let (list, elements) = Self::list(*scalar, array)?;
                Ok(Self::List(*scalar, list, elements))
            }
            ValueType::Vector { .. } => {
                let (list, elements) = Self::list(Scalar::Float32, array)?;
                Ok(Self::Vector(list, elements))
            }
        }
    }

    fn scalars(scalar: Scalar, array: &ArrayRef) -> Result<Self, &'static str> {
        let cells = match scalar {
            Scalar::Bool => array.as_boolean_opt().cloned().map(Self::Bool),
            Scalar::Int32 => array.as_primitive_opt().cloned().map(Self::Int32),
            Scalar::Int64 => array.as_primitive_opt().cloned().map(Self::Int64),
            Scalar::Float32 => array.as_primitive_opt().cloned().map(Self::Float32),
            Scalar::Float64 => array.as_primitive_opt().cloned().map(Self::Float64),
            Scalar::Timestamp => array.as_primitive_opt().cloned().map(Self::Timestamp),
            Scalar::String | Scalar::Json => array.as_string_opt().cloned().map(Self::Text),
            Scalar::Bytes => array.as_binary_opt().cloned().map(Self::Bytes),
            Scalar::Uuid => array
                .as_fixed_size_binary_opt()
                .filter(|uuids| uuids.value_length() == 16)
                .cloned()
                .map(Self::Uuid),
        };
        cells.ok_or("the column is of another type than the schema says")
    }

    fn list(scalar: Scalar, array: &ArrayRef) -> Result<(ListArray, Box<Self>), &'static str> {
        let list: &ListArray =
            array.as_list_opt().ok_or("the column is no list, as the schema says")?;
        if list.values().null_count() > 0 {
            return Err("an element of a list is null");
        }
        Ok((list.clone(), Box::new(Self::scalars(scalar, list.values())?)))
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(array) => array.is_null(row),
            Self::Int32(array) => array.is_null(row),
            Self::Int64(array) => array.is_null(row),
            Self::Float32(array) => array.is_null(row),
            Self::Float64(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Uuid(array) => array.is_null(row),
            Self::List(_, array, _) | Self::Vector(array, _) => array.is_null(row),
        }
    }

    /// Appends the bytes of a row's value, which is not null.
    pub fn append(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Bool(array) => out.push(u8::from(array.value(row))),
            Self::Int32(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Int64(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Float32(array) => {
                out.extend_from_slice(&array.value(row).to_bits().to_le_bytes())
            }
            Self::Float64(array) => {
                out.extend_from_slice(&array.value(row).to_bits().to_le_bytes())
            }
            Self::Timestamp(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Self::Bytes(array) => out.extend_from_slice(array.value(row)),
            Self::Uuid(array) => out.extend_from_slice(array.value(row)),
            Self::List(scalar, array, elements) => {
                let (begin, count) = extent(array, row);
                encode_elements(*scalar, count, |at, out| elements.append(begin + at, out), out);
            }
            Self::Vector(array, elements) => {
                let (begin, count) = extent(array, row);
                (begin..begin + count).for_each(|at| elements.append(at, out));
            }
        }
    }

    /// The integer or time at a row, or `None` where it is null or the column holds neither.
    pub fn integer(&self, row: usize) -> Option<i64> {
        match self {
            _ if self.is_null(row) => None,
            Self::Int32(array) => Some(i64::from(array.value(row))),
            Self::Int64(array) => Some(array.value(row)),
            Self::Timestamp(array) => Some(array.value(row)),
            Self::Bool(array) => Some(i64::from(array.value(row))),
            _ => None,
        }
    }
}

/// Where the elements of a row's list begin, and how many there are. Arrow's lists are checked when they are
/// made: offsets rise and lie in the elements.
fn extent(array: &ListArray, row: usize) -> (usize, usize) {
    let offsets = array.value_offsets();
    let (begin, end) = (offsets[row], offsets[row + 1]);
    (begin as usize, (end - begin) as usize)
}
