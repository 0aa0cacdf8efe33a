//! Builders of scalar columns, fed with the bytes of values as rows hold them.

use std::any::Any;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use thermae_formats::Scalar;

use super::ColdError;

/// Builds a column of one scalar type.
pub(super) enum Values {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

/// Does the same with whichever builder it is.
macro_rules! each {
    ($values:expr, $builder:ident => $what:expr) => {
        match $values {
            Values::Bool($builder) => $what,
            Values::Int32($builder) => $what,
            Values::Int64($builder) => $what,
            Values::Float32($builder) => $what,
            Values::Float64($builder) => $what,
            Values::Timestamp($builder) => $what,
            Values::Text($builder) => $what,
            Values::Bytes($builder) => $what,
            Values::Uuid($builder) => $what,
        }
    };
}

impl Values {
    pub fn new(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool => Self::Bool(BooleanBuilder::new()),
            Scalar::Int32 => Self::Int32(Int32Builder::new()),
            Scalar::Int64 => Self::Int64(Int64Builder::new()),
            Scalar::Float32 => Self::Float32(Float32Builder::new()),
            Scalar::Float64 => Self::Float64(Float64Builder::new()),
            Scalar::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Scalar::String | Scalar::Json => Self::Text(StringBuilder::new()),
            Scalar::Bytes => Self::Bytes(BinaryBuilder::new()),
            Scalar::Uuid => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
        }
    }

    pub fn append_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    /// Appends the value whose bytes these are.
    ///
    /// # Errors
    /// They are of another length than the type, or no UTF-8.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), ColdError> {
        match self {
            Self::Bool(builder) => builder.append_value(exact::<1>(bytes)? != [0]),
            Self::Int32(builder) => builder.append_value(i32::from_le_bytes(exact(bytes)?)),
            Self::Int64(builder) => builder.append_value(i64::from_le_bytes(exact(bytes)?)),
            Self::Float32(builder) => {
                builder.append_value(f32::from_bits(u32::from_le_bytes(exact(bytes)?)));
            }
            Self::Float64(builder) => {
                builder.append_value(f64::from_bits(u64::from_le_bytes(exact(bytes)?)));
            }
            Self::Timestamp(builder) => builder.append_value(i64::from_le_bytes(exact(bytes)?)),
            Self::Text(builder) => {
                let text = std::str::from_utf8(bytes);
                builder.append_value(text.map_err(|_| ColdError::Order("a text is not UTF-8"))?);
            }
            Self::Bytes(builder) => builder.append_value(bytes),
            Self::Uuid(builder) => builder.append_value(exact::<16>(bytes)?)?,
        }
        Ok(())
    }

    /// The column so far; the next begins empty.
    pub fn finish_array(&mut self) -> ArrayRef {
        each!(self, builder => Arc::new(builder.finish()))
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ColdError> {
    bytes.try_into().map_err(|_| ColdError::Order("a value is of another length than its type"))
}

/// What a builder of lists asks of the builder of their elements.
impl ArrayBuilder for Values {
    fn len(&self) -> usize {
        each!(self, builder => builder.len())
    }

    fn finish(&mut self) -> ArrayRef {
        self.finish_array()
    }

    fn finish_cloned(&self) -> ArrayRef {
        each!(self, builder => Arc::new(builder.finish_cloned()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_box_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
