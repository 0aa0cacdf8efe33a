//! Rows of one schema as rows of a float32 matrix.

use crate::row::Slot;
use crate::types::{Scalar, ValueType};

/// How to fill a matrix row from rows of one schema. For a projection that is not numeric it is empty, and
/// never used.
#[derive(Debug, Clone, Default)]
pub(crate) struct MatrixPlan {
    cells: Vec<Cell>,
    /// Offset of the first column, if all columns are float32 side by side in the row: then one copy does.
    run: Option<usize>,
}

/// Where one number of the row is.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Offset in the fixed section.
    offset: u32,
    /// Bit in the null bitmap.
    index: u32,
    kind: CellKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum CellKind {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    /// The schema lacks the feature; its default, or NaN.
    Default(f32),
}

impl MatrixPlan {
    /// Compiles cells from each column's slot in this schema (`None` if it lacks the feature), its position
    /// there, the column's type, and its default's bytes.
    pub(crate) fn new<'a>(
        columns: impl Iterator<Item = (Option<&'a Slot>, u32, &'a ValueType, Option<&'a [u8]>)>,
    ) -> Self {
        let mut cells = Vec::new();
        for (slot, index, column_type, default) in columns {
            let stored_type = slot.map_or(column_type, |s| &s.value_type);
            let Some(kind) = CellKind::of(stored_type) else {
                return Self::default();
            };
            let cell = match (slot, default) {
                (Some(slot), _) => Cell { offset: slot.offset, index, kind },
                (None, None) => Cell { offset: 0, index, kind: CellKind::Default(f32::NAN) },
                (None, Some(bytes)) => {
                    Cell { offset: 0, index, kind: CellKind::Default(kind.read(bytes)) }
                }
            };
            cells.push(cell);
        }
        let first = cells.first().map_or(0, |c| c.offset);
        let side_by_side = |(position, cell): (usize, &Cell)| {
            cell.kind == CellKind::Float32 && cell.offset as usize == first as usize + 4 * position
        };
        let is_run = !cells.is_empty() && cells.iter().enumerate().all(side_by_side);
        Self { cells, run: is_run.then_some(first as usize) }
    }

    /// Fills `out` from a row's null bitmap (empty if it is dense) and the bytes from its fixed section on,
    /// whose bounds were checked.
    #[inline]
    pub(crate) fn write(&self, bitmap: &[u8], fixed: &[u8], out: &mut [f32]) {
        let no_nulls = bitmap.iter().all(|byte| *byte == 0);
        if let Some(at) = self.run.filter(|_| no_nulls) {
            let bytes = &fixed[at..at + 4 * out.len()];
            for (to, from) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *to = CellKind::Float32.read(from);
            }
            return;
        }
        for (to, cell) in out.iter_mut().zip(&self.cells) {
            *to = cell.read(bitmap, fixed);
        }
    }
}

impl Cell {
    #[inline]
    fn read(&self, bitmap: &[u8], fixed: &[u8]) -> f32 {
        if let CellKind::Default(value) = self.kind {
            return value;
        }
        let byte = bitmap.get(self.index as usize / 8).copied().unwrap_or(0);
        if byte >> (self.index % 8) & 1 == 1 {
            return f32::NAN;
        }
        self.kind.read(&fixed[self.offset as usize..])
    }
}

impl CellKind {
    fn of(value_type: &ValueType) -> Option<Self> {
        match value_type {
            ValueType::Scalar(Scalar::Bool) => Some(Self::Bool),
            ValueType::Scalar(Scalar::Int32) => Some(Self::Int32),
            ValueType::Scalar(Scalar::Int64) => Some(Self::Int64),
            ValueType::Scalar(Scalar::Float32) => Some(Self::Float32),
            ValueType::Scalar(Scalar::Float64) => Some(Self::Float64),
            _ => None,
        }
    }

    /// The number at the front of the bytes, rounded to the nearest float32.
    #[inline]
    fn read(self, bytes: &[u8]) -> f32 {
        match self {
            Self::Bool => f32::from(bytes.first().copied().unwrap_or(0)),
            Self::Int32 => i32::from_le_bytes(front(bytes)) as f32,
            Self::Int64 => i64::from_le_bytes(front(bytes)) as f32,
            Self::Float32 => f32::from_bits(u32::from_le_bytes(front(bytes))),
            Self::Float64 => f64::from_bits(u64::from_le_bytes(front(bytes))) as f32,
            Self::Default(value) => value,
        }
    }
}

/// The first N bytes of a field whose bounds were checked.
#[inline]
fn front<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}
