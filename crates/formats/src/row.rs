//! The value of a row: null bitmap, fixed section, variable section, by the schema alone.
//!
//! ```text
//! [null bitmap, ceil(n/8) bytes; absent if the row is dense][fixed section][variable section][pad 0..7]
//! ```
//!
//! Features stand in declared order at offsets known once. A bit of 1 in the bitmap is a null, whose bytes are
//! zero. A variable-width feature has its u32 end offset in the fixed section, counted from the start of the
//! variable section; it begins where the one before it ends.

use crate::error::{RowError, SchemaError};
use crate::row_value::{FieldFault, decode_value, encode_value, validate_value};
use crate::schema::{Feature, MAX_FEATURES, MAX_ROW_VALUE_BYTES, fixed_row_bytes};
use crate::types::{Scalar, ValueType};
use crate::value::Value;

/// Most zero bytes that may follow a row value, where it is stored in whole 8-byte words.
pub const MAX_PAD_BYTES: usize = 7;

/// Marks the first variable-width feature, which has none before it.
pub(crate) const NO_PREVIOUS: u32 = u32::MAX;

/// Where one feature stands.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) value_type: ValueType,
    /// Offset in the fixed section.
    pub(crate) offset: u32,
    /// Width in bytes, 0 for a variable-width feature (whose slot is 4 bytes).
    pub(crate) width: u32,
    /// Slot offset of the variable-width feature before it, or [`NO_PREVIOUS`].
    pub(crate) previous: u32,
}

/// Offsets of one schema's features: encodes, checks and decodes its row values.
#[derive(Debug, Clone)]
pub struct RowLayout {
    slots: Vec<Slot>,
    bitmap_bytes: usize,
    fixed_bytes: usize,
    /// Slot offset of the last variable-width feature, or [`NO_PREVIOUS`].
    last_variable: u32,
    /// Features not every bytes of whose width are a value: the only ones to check in a dense row.
    checked: Vec<u32>,
}

impl RowLayout {
    /// Lays out features in their order.
    ///
    /// Fails if there are more than [`MAX_FEATURES`], or if their fixed part alone is over
    /// [`MAX_ROW_VALUE_BYTES`].
    pub fn new(features: &[Feature]) -> Result<Self, SchemaError> {
        let limit = |what, found: usize, limit: usize| SchemaError::Limit {
            view: String::new(),
            what,
            found: found as u64,
            limit: limit as u64,
        };
        if features.len() > MAX_FEATURES {
            return Err(limit("the number of features", features.len(), MAX_FEATURES));
        }
        let least_bytes = fixed_row_bytes(features);
        if least_bytes > MAX_ROW_VALUE_BYTES {
            return Err(limit("the fixed part of a row", least_bytes, MAX_ROW_VALUE_BYTES));
        }
        let mut slots = Vec::with_capacity(features.len());
        let mut offset = 0_u32;
        let mut last_variable = NO_PREVIOUS;
        let mut checked = Vec::new();
        for (index, feature) in (0_u32..).zip(features) {
            // Bounded by the check above.
            let width = feature.value_type.width_bytes().unwrap_or(0) as u32;
            slots.push(Slot {
                name: feature.name.clone(),
                value_type: feature.value_type.clone(),
                offset,
                width,
                previous: last_variable,
            });
            if width == 0 {
                last_variable = offset;
            }
            if width == 0 || feature.value_type == ValueType::Scalar(Scalar::Bool) {
                checked.push(index);
            }
            offset += if width == 0 { 4 } else { width };
        }
        let bitmap_bytes = features.len().div_ceil(8);
        Ok(Self { slots, bitmap_bytes, fixed_bytes: offset as usize, last_variable, checked })
    }

    /// Number of features.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no feature.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Length of the null bitmap of a row that is not dense, in bytes.
    pub fn bitmap_bytes(&self) -> usize {
        self.bitmap_bytes
    }

    /// Length of the fixed section, in bytes.
    pub fn fixed_bytes(&self) -> usize {
        self.fixed_bytes
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Appends a row value and says whether it is dense (no null, hence no bitmap).
    ///
    /// `values` are in declared order. On error `out` is as before.
    pub fn encode(&self, values: &[Value], out: &mut Vec<u8>) -> Result<bool, RowError> {
        if values.len() != self.slots.len() {
            return Err(RowError::WrongCount { expected: self.slots.len(), found: values.len() });
        }
        let start = out.len();
        let dense = !values.iter().any(Value::is_null);
        let encoded = self.encode_sections(values, dense, out);
        let found = out.len() - start;
        if encoded.is_ok() && found <= MAX_ROW_VALUE_BYTES {
            return Ok(dense);
        }
        out.truncate(start);
        encoded.and(Err(RowError::TooLarge { found, limit: MAX_ROW_VALUE_BYTES }))
    }

    /// Appends a row value whose fields another layout holds, such as columns of an archive, and says
    /// whether it is dense. `append` appends the bytes of a field that is not null; they are as
    /// [`crate::row_value`] tells.
    ///
    /// # Errors
    /// A field of fixed width has another number of bytes, or the row is too large; `out` is as before.
    pub fn encode_fields(
        &self,
        is_null: impl Fn(usize) -> bool,
        mut append: impl FnMut(usize, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) -> Result<bool, RowError> {
        let start = out.len();
        let dense = !(0..self.slots.len()).any(&is_null);
        let encoded = self.encode_field_sections(&is_null, &mut append, dense, out);
        let found = out.len() - start;
        if encoded.is_ok() && found <= MAX_ROW_VALUE_BYTES {
            return Ok(dense);
        }
        out.truncate(start);
        encoded.and(Err(RowError::TooLarge { found, limit: MAX_ROW_VALUE_BYTES }))
    }

    /// The fixed section in one pass, then what is of variable width in another.
    fn encode_field_sections(
        &self,
        is_null: &impl Fn(usize) -> bool,
        append: &mut impl FnMut(usize, &mut Vec<u8>),
        dense: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let bitmap_at = out.len();
        let fixed_at = bitmap_at + self.fixed_start(dense);
        out.resize(fixed_at, 0);
        for (index, slot) in self.slots.iter().enumerate() {
            let at = fixed_at + slot.offset as usize;
            if is_null(index) {
                out[bitmap_at + index / 8] |= 1 << (index % 8);
            } else if slot.width != 0 {
                append(index, out);
                let found = out.len() - at;
                if found != slot.width as usize {
                    let fault = FieldFault {
                        offset: 0,
                        reason: "the value is of another length than its type",
                    };
                    return Err(self.corrupt(index, at - bitmap_at, fault));
                }
            }
            out.resize(at + if slot.width == 0 { 4 } else { slot.width as usize }, 0);
        }
        let variable_at = out.len();
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.width == 0) {
            if !is_null(index) {
                append(index, out);
            }
            let end = out.len() - variable_at;
            let too_large = RowError::TooLarge { found: end, limit: MAX_ROW_VALUE_BYTES };
            let end = u32::try_from(end).map_err(|_| too_large)?;
            let at = fixed_at + slot.offset as usize;
            out[at..at + 4].copy_from_slice(&end.to_le_bytes());
        }
        Ok(())
    }

    fn encode_sections(
        &self,
        values: &[Value],
        dense: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let bitmap_at = out.len();
        let fixed_at = bitmap_at + self.fixed_start(dense);
        let variable_at = fixed_at + self.fixed_bytes;
        out.resize(variable_at, 0);
        let mut field = Vec::new();
        for (index, (slot, value)) in self.slots.iter().zip(values).enumerate() {
            let at = fixed_at + slot.offset as usize;
            if value.is_null() {
                out[bitmap_at + index / 8] |= 1 << (index % 8);
            } else {
                let bad = |source| RowError::BadValue { feature: slot.name.clone(), source };
                field.clear();
                encode_value(&slot.value_type, value, &mut field).map_err(bad)?;
                if slot.width == 0 {
                    out.extend_from_slice(&field);
                } else {
                    out[at..at + field.len()].copy_from_slice(&field);
                }
            }
            if slot.width == 0 {
                let end = out.len() - variable_at;
                let too_large = RowError::TooLarge { found: end, limit: MAX_ROW_VALUE_BYTES };
                let end = u32::try_from(end).map_err(|_| too_large)?;
                out[at..at + 4].copy_from_slice(&end.to_le_bytes());
            }
        }
        Ok(())
    }

    /// Decodes all values, in declared order, after [`RowLayout::validate`].
    pub fn decode(&self, row: &[u8], dense: bool) -> Result<Vec<Value>, RowError> {
        self.validate(row, dense)?;
        (0..self.slots.len()).map(|index| self.decode_field(row, dense, index)).collect()
    }

    fn decode_field(&self, row: &[u8], dense: bool, index: usize) -> Result<Value, RowError> {
        if self.is_null(row, dense, index) {
            return Ok(Value::Null);
        }
        let (offset, field) = self.field(row, dense, index)?;
        decode_value(&self.slots[index].value_type, field)
            .map_err(|fault| self.corrupt(index, offset, fault))
    }

    /// Checks every byte of a row value and returns its length without padding.
    ///
    /// Up to [`MAX_PAD_BYTES`] zero bytes may follow. What passes decodes, and through any projection.
    pub fn validate(&self, row: &[u8], dense: bool) -> Result<usize, RowError> {
        let fixed_at = self.fixed_start(dense);
        let variable_at = fixed_at + self.fixed_bytes;
        if row.len() < variable_at {
            return Err(truncated("the fixed section", 0, variable_at, row.len()));
        }
        if dense {
            for &index in &self.checked {
                self.validate_field(row, true, index as usize)?;
            }
        } else {
            self.validate_bitmap(row)?;
            for index in 0..self.slots.len() {
                self.validate_field(row, false, index)?;
            }
        }
        let exact = match self.last_variable {
            NO_PREVIOUS => variable_at,
            slot => variable_at + read_u32(row, fixed_at + slot as usize),
        };
        if exact > MAX_ROW_VALUE_BYTES {
            return Err(RowError::TooLarge { found: exact, limit: MAX_ROW_VALUE_BYTES });
        }
        let pad = &row[exact..];
        if pad.len() > MAX_PAD_BYTES || pad.iter().any(|b| *b != 0) {
            return Err(RowError::Corrupt {
                feature: "the padding".to_owned(),
                offset: exact,
                reason: "more than 7 bytes, or one not zero, follow the last value",
            });
        }
        Ok(exact)
    }

    fn validate_field(&self, row: &[u8], dense: bool, index: usize) -> Result<(), RowError> {
        let slot = &self.slots[index];
        let (offset, field) = self.field(row, dense, index)?;
        if !self.is_null(row, dense, index) {
            return validate_value(&slot.value_type, field)
                .map_err(|fault| self.corrupt(index, offset, fault));
        }
        if slot.width == 0 && !field.is_empty() || field.iter().any(|b| *b != 0) {
            let fault = FieldFault { offset: 0, reason: "a null has bytes" };
            return Err(self.corrupt(index, offset, fault));
        }
        Ok(())
    }

    /// The last byte's bits beyond the last feature must be zero.
    fn validate_bitmap(&self, row: &[u8]) -> Result<(), RowError> {
        let used = self.slots.len() % 8;
        let last = self.bitmap_bytes.saturating_sub(1);
        if used == 0 || row[last] >> used == 0 {
            return Ok(());
        }
        Err(RowError::Corrupt {
            feature: "the null bitmap".to_owned(),
            offset: last,
            reason: "a bit beyond the last feature is set",
        })
    }

    /// Whether a feature is null. A bitmap cut short reads as no nulls: [`RowLayout::validate`] finds it.
    #[inline]
    pub fn is_null(&self, row: &[u8], dense: bool, index: usize) -> bool {
        !dense && row.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Bytes of a fixed-width feature; `None` if it is null, variable-width, unknown, or cut short.
    #[inline]
    pub fn fixed<'a>(&self, row: &'a [u8], dense: bool, index: usize) -> Option<&'a [u8]> {
        let slot = self.slots.get(index).filter(|s| s.width != 0)?;
        self.present(row, dense, index, slot)
    }

    /// Bytes of a variable-width feature; `None` if it is null, fixed-width, unknown, or cut short.
    #[inline]
    pub fn variable<'a>(&self, row: &'a [u8], dense: bool, index: usize) -> Option<&'a [u8]> {
        let slot = self.slots.get(index).filter(|s| s.width == 0)?;
        self.present(row, dense, index, slot)
    }

    #[inline]
    fn present<'a>(
        &self,
        row: &'a [u8],
        dense: bool,
        index: usize,
        slot: &Slot,
    ) -> Option<&'a [u8]> {
        if self.is_null(row, dense, index) {
            return None;
        }
        let fixed_at = self.fixed_start(dense);
        if slot.width != 0 {
            let at = fixed_at + slot.offset as usize;
            return row.get(at..at + slot.width as usize);
        }
        let field = variable_field(row, fixed_at, self.fixed_bytes, slot.offset, slot.previous);
        field.ok().map(|(_, bytes)| bytes)
    }

    /// Where a field is in the row value, and its bytes.
    fn field<'a>(
        &self,
        row: &'a [u8],
        dense: bool,
        index: usize,
    ) -> Result<(usize, &'a [u8]), RowError> {
        let slot = &self.slots[index];
        let fixed_at = self.fixed_start(dense);
        if slot.width != 0 {
            let at = fixed_at + slot.offset as usize;
            let needed = slot.width as usize;
            let field = row.get(at..at + needed);
            return field
                .map(|f| (at, f))
                .ok_or_else(|| truncated(&slot.name, at, needed, row.len()));
        }
        variable_field(row, fixed_at, self.fixed_bytes, slot.offset, slot.previous)
            .map_err(|fault| self.corrupt(index, 0, fault))
    }

    /// Offset of the fixed section.
    #[inline]
    pub(crate) fn fixed_start(&self, dense: bool) -> usize {
        if dense { 0 } else { self.bitmap_bytes }
    }

    fn corrupt(&self, index: usize, offset: usize, fault: FieldFault) -> RowError {
        RowError::Corrupt {
            feature: self.slots[index].name.clone(),
            offset: offset + fault.offset,
            reason: fault.reason,
        }
    }
}

/// Where a variable-width field is in the row value, and its bytes.
///
/// `slot` and `previous` are slot offsets in the fixed section.
#[inline]
pub(crate) fn variable_field(
    row: &[u8],
    fixed_at: usize,
    fixed_bytes: usize,
    slot: u32,
    previous: u32,
) -> Result<(usize, &[u8]), FieldFault> {
    let variable_at = fixed_at + fixed_bytes;
    let slot_at = fixed_at + slot as usize;
    if row.len() < variable_at {
        return Err(FieldFault { offset: slot_at, reason: "the row ends in its fixed section" });
    }
    let begin = match previous {
        NO_PREVIOUS => 0,
        previous => read_u32(row, fixed_at + previous as usize),
    };
    let end = read_u32(row, slot_at);
    match row[variable_at..].get(begin..end) {
        Some(field) => Ok((variable_at + begin, field)),
        None => Err(FieldFault {
            offset: slot_at,
            reason: "the end offset is before the value's begin or after the row's end",
        }),
    }
}

/// The u32 at an offset whose bounds were checked.
#[inline]
fn read_u32(row: &[u8], at: usize) -> usize {
    row[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b) as usize)
}

fn truncated(feature: &str, offset: usize, needed: usize, found: usize) -> RowError {
    RowError::Truncated { feature: feature.to_owned(), offset, needed, found }
}
