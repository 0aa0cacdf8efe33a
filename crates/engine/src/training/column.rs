//! Features as Arrow columns: one Arrow type for every type of feature, and every bit kept.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, FixedSizeListBuilder,
    Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListBuilder, PrimitiveBuilder,
    StringBuilder, TimestampMicrosecondBuilder, make_builder,
};
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, ArrowPrimitiveType};
use arrow_schema::{DataType, Field};
use thermae_formats::row_value::{FieldFault, list_elements, validate_value};
use thermae_formats::{Scalar, ValueType};
use thermae_tiering::cold::scalar_type;

/// The Arrow type of a feature. A JSON text and a UUID are stored as text and as 16 bytes: [`field`] says
/// what they are.
pub fn data_type(value_type: &ValueType) -> DataType {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, false));
    match value_type {
        ValueType::Scalar(scalar) => scalar_type(*scalar),
        ValueType::List(scalar) => DataType::List(item(scalar_type(*scalar))),
        // A dimension is at most 65,536.
        ValueType::Vector { dimension } => {
            DataType::FixedSizeList(item(DataType::Float32), *dimension as i32)
        }
        ValueType::Opaque { .. } => DataType::Binary,
    }
}

/// A nullable column for a feature, marked with Arrow's canonical extension where there is one.
pub fn field(name: &str, value_type: &ValueType) -> Field {
    let field = Field::new(name, data_type(value_type), true);
    let extension = match value_type {
        ValueType::Scalar(Scalar::Uuid) => "arrow.uuid",
        ValueType::Scalar(Scalar::Json) => "arrow.json",
        _ => return field,
    };
    let entries = [("ARROW:extension:name", extension), ("ARROW:extension:metadata", "")];
    field.with_metadata(HashMap::from(entries.map(|(k, v)| (k.to_owned(), v.to_owned()))))
}

/// A column being built, from values by the bytes of their fields.
pub struct Column {
    value_type: ValueType,
    builder: Box<dyn ArrayBuilder>,
}

type Items = Box<dyn ArrayBuilder>;

impl Column {
    /// An empty column of a type.
    pub fn new(value_type: &ValueType) -> Self {
        let builder = make_builder(&data_type(value_type), 0);
        Self { value_type: value_type.clone(), builder }
    }

    /// Appends values by the bytes of their fields, `None` for null.
    ///
    /// # Errors
    /// What an item of the iterator says, or a value that is none of the type.
    pub fn extend<'b>(
        &mut self,
        values: impl Iterator<Item = Result<Option<&'b [u8]>, Unreadable>>,
    ) -> Result<(), Unreadable> {
        let ValueType::Scalar(scalar) = self.value_type else { return self.extend_slowly(values) };
        let builder = &mut *self.builder;
        match scalar {
            Scalar::Int32 => extend::<Int32Type, 4>(builder, values, i32::from_le_bytes),
            Scalar::Int64 => extend::<Int64Type, 8>(builder, values, i64::from_le_bytes),
            Scalar::Timestamp => {
                extend::<TimestampMicrosecondType, 8>(builder, values, i64::from_le_bytes)
            }
            Scalar::Float32 => extend::<Float32Type, 4>(builder, values, f32::from_le_bytes),
            Scalar::Float64 => extend::<Float64Type, 8>(builder, values, f64::from_le_bytes),
            _ => self.extend_slowly(values),
        }
    }

    fn extend_slowly<'b>(
        &mut self,
        values: impl Iterator<Item = Result<Option<&'b [u8]>, Unreadable>>,
    ) -> Result<(), Unreadable> {
        for (at, value) in values.enumerate() {
            self.append(value?).map_err(|fault| Unreadable::Value { at, reason: fault.reason })?;
        }
        Ok(())
    }

    /// Appends a value by the bytes of its field, or null. Fails on bytes that are no value of the type, and
    /// has appended nothing then.
    fn append(&mut self, bytes: Option<&[u8]>) -> Result<(), FieldFault> {
        if let Some(bytes) = bytes {
            validate_value(&self.value_type, bytes)?;
        }
        let builder = &mut *self.builder;
        match &self.value_type {
            ValueType::Scalar(scalar) => append_scalar(builder, *scalar, bytes),
            ValueType::Opaque { .. } => append_scalar(builder, Scalar::Bytes, bytes),
            ValueType::Vector { dimension } => {
                let list = of::<FixedSizeListBuilder<Items>>(builder)?;
                let items = of::<Float32Builder>(&mut **list.values())?;
                match bytes {
                    Some(bytes) => bytes.chunks_exact(4).for_each(|element| {
                        items.append_value(f32::from_bits(u32::from_le_bytes(first(element))));
                    }),
                    // A null takes the room of a value.
                    None => items.append_value_n(0.0, *dimension as usize),
                }
                list.append(bytes.is_some());
                Ok(())
            }
            ValueType::List(scalar) => {
                let list = of::<ListBuilder<Items>>(builder)?;
                let elements = bytes.map(|bytes| list_elements(*scalar, bytes)).transpose()?;
                for element in elements.into_iter().flatten() {
                    append_scalar(&mut **list.values(), *scalar, Some(element?))?;
                }
                list.append(bytes.is_some());
                Ok(())
            }
        }
    }

    /// The column, and begins anew.
    pub fn finish(&mut self) -> ArrayRef {
        self.builder.finish()
    }
}

/// Why a column's values are not to be had.
#[derive(Debug)]
pub enum Unreadable {
    /// The record is not what was put in.
    Record,
    /// A value is no value of the column.
    Value {
        /// Which of those that were appended together.
        at: usize,
        /// Why.
        reason: &'static str,
    },
}

/// Appends numbers, of which every pattern of bits is one.
fn extend<'b, T: ArrowPrimitiveType, const BYTES: usize>(
    builder: &mut dyn ArrayBuilder,
    values: impl Iterator<Item = Result<Option<&'b [u8]>, Unreadable>>,
    read: impl Fn([u8; BYTES]) -> T::Native,
) -> Result<(), Unreadable> {
    let wrong = |at, reason| Unreadable::Value { at, reason };
    let builder = of::<PrimitiveBuilder<T>>(builder).map_err(|fault| wrong(0, fault.reason))?;
    for (at, value) in values.enumerate() {
        match value? {
            None => builder.append_null(),
            Some(bytes) => {
                let bytes = bytes.try_into();
                let bytes =
                    bytes.map_err(|_| wrong(at, "the value is of another length than its type"))?;
                builder.append_value(read(bytes));
            }
        }
    }
    Ok(())
}

/// Appends a value whose bytes were validated.
fn append_scalar(
    builder: &mut dyn ArrayBuilder,
    scalar: Scalar,
    bytes: Option<&[u8]>,
) -> Result<(), FieldFault> {
    match scalar {
        Scalar::Bool => of::<BooleanBuilder>(builder)?.append_option(bytes.map(|b| b == [1])),
        Scalar::Int32 => {
            let value = bytes.map(|b| i32::from_le_bytes(first(b)));
            of::<Int32Builder>(builder)?.append_option(value);
        }
        Scalar::Int64 => {
            let value = bytes.map(|b| i64::from_le_bytes(first(b)));
            of::<Int64Builder>(builder)?.append_option(value);
        }
        Scalar::Timestamp => {
            let value = bytes.map(|b| i64::from_le_bytes(first(b)));
            of::<TimestampMicrosecondBuilder>(builder)?.append_option(value);
        }
        Scalar::Float32 => {
            let value = bytes.map(|b| f32::from_bits(u32::from_le_bytes(first(b))));
            of::<Float32Builder>(builder)?.append_option(value);
        }
        Scalar::Float64 => {
            let value = bytes.map(|b| f64::from_bits(u64::from_le_bytes(first(b))));
            of::<Float64Builder>(builder)?.append_option(value);
        }
        Scalar::String | Scalar::Json => {
            let text = bytes.map(std::str::from_utf8).transpose();
            let text = text.map_err(|error| FieldFault {
                offset: error.valid_up_to(),
                reason: "the text is not UTF-8",
            })?;
            of::<StringBuilder>(builder)?.append_option(text);
        }
        Scalar::Bytes => of::<BinaryBuilder>(builder)?.append_option(bytes),
        Scalar::Uuid => {
            let builder = of::<FixedSizeBinaryBuilder>(builder)?;
            match bytes {
                Some(bytes) => builder
                    .append_value(bytes)
                    .map_err(|_| FieldFault { offset: 0, reason: "a uuid is not 16 bytes" })?,
                None => builder.append_null(),
            }
        }
    }
    Ok(())
}

/// The builder that [`make_builder`] makes for the type.
fn of<B: ArrayBuilder>(builder: &mut dyn ArrayBuilder) -> Result<&mut B, FieldFault> {
    let fault = FieldFault { offset: 0, reason: "its column is of another type" };
    builder.as_any_mut().downcast_mut().ok_or(fault)
}

/// The first N bytes of a field whose length was checked.
fn first<const N: usize>(field: &[u8]) -> [u8; N] {
    field.first_chunk().copied().unwrap_or([0; N])
}
