//! What a request costs, in parts: how many requests, views, keys, cells and bytes it is. Calibration finds what each
//! part takes, and a plan multiplies.

use serde::{Deserialize, Serialize};
use thermae_formats::KeyType;
use thermae_formats::hot_layout::classes::SizeClass;
use thermae_formats::hot_layout::{ROW_HEADER_BYTES, WORD_BYTES};

use crate::workload::{Kind, Operation, View, Workload};

/// Bytes of an answer that cost the least.
const NEAR_BYTES: f64 = 32.0 * 1024.0;

/// The parts of the mean request of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Requests that read: 1 or 0.
    pub reads: f64,
    /// Views beyond the first.
    pub views: f64,
    /// Keys read.
    pub keys: f64,
    /// Bytes of values answered.
    pub bytes: f64,
    /// Those of one answer beyond [`NEAR_BYTES`]: they no longer fit the nearest caches and the socket's first buffers.
    pub far_bytes: f64,
    /// Columns answered, of all views (a matrix has none).
    pub columns: f64,
    /// Values of fixed width in columns (a matrix is copied row by row).
    pub cells: f64,
    /// Values of variable width.
    pub variable: f64,
    /// Requests that write: 1 or 0.
    pub writes: f64,
    /// Rows written.
    pub rows: f64,
    /// Bytes of those.
    pub row_bytes: f64,
}

impl Shape {
    /// How many parts there are.
    pub const PARTS: usize = 11;

    /// The parts in order.
    pub fn parts(&self) -> [f64; Self::PARTS] {
        [
            self.reads,
            self.views,
            self.keys,
            self.bytes,
            self.far_bytes,
            self.columns,
            self.cells,
            self.variable,
            self.writes,
            self.rows,
            self.row_bytes,
        ]
    }

    /// Their names, in order.
    pub const NAMES: [&'static str; Self::PARTS] = [
        "a request that reads",
        "a further view of it",
        "a key read",
        "a byte answered",
        "a byte answered beyond 32 KiB",
        "a column answered",
        "a value of fixed width in a column",
        "a value of variable width",
        "a request that writes",
        "a row written",
        "a byte written",
    ];

    /// Of one operation.
    pub fn of(workload: &Workload, operation: &Operation) -> Self {
        let mut shape = Self::default();
        let reads = matches!(operation.kind, Kind::Read | Kind::Modify);
        let writes = operation.kind != Kind::Read;
        for (at, part) in operation.of.iter().enumerate() {
            let Some(view) = workload.views.iter().find(|view| view.name == part.view) else {
                continue;
            };
            let columns = view.columns();
            let count = if part.features == 0 { columns.len() } else { part.features };
            let keys = part.keys.mean();
            if reads {
                shape.reads = 1.0;
                shape.views += f64::from(u8::from(at > 0));
                shape.keys += keys;
                shape.columns += if operation.matrix { 0.0 } else { count as f64 };
                for (value_type, bytes) in columns.iter().take(count) {
                    let width = value_type.width_bytes();
                    let matrix = operation.matrix;
                    shape.bytes += keys * if matrix { 4.0 } else { width.unwrap_or(*bytes) as f64 };
                    if matrix {
                        continue;
                    }
                    match width {
                        Some(_) => shape.cells += keys,
                        None => shape.variable += keys,
                    }
                }
            }
            shape.far_bytes = (shape.bytes - NEAR_BYTES).max(0.0);
            if writes {
                shape.writes = 1.0;
                shape.rows += keys;
                shape.row_bytes += keys * row_bytes(&columns);
            }
        }
        shape
    }

    /// The mean over a workload's operations by their weights.
    pub fn mean(workload: &Workload) -> Self {
        let total: f64 = workload.operations.iter().map(|operation| operation.weight).sum();
        let mut sum = [0.0; Self::PARTS];
        for operation in &workload.operations {
            let share = operation.weight / total.max(1e-12);
            for (sum, part) in sum.iter_mut().zip(Self::of(workload, operation).parts()) {
                *sum += part * share;
            }
        }
        let [reads, views, keys, bytes, far_bytes, columns, cells, rest @ ..] = sum;
        let [variable, writes, rows, row_bytes] = rest;
        Self {
            reads,
            views,
            keys,
            bytes,
            far_bytes,
            columns,
            cells,
            variable,
            writes,
            rows,
            row_bytes,
        }
    }

    /// The sum of its parts times what each costs.
    pub fn cost(&self, costs: &[f64]) -> f64 {
        self.parts().iter().zip(costs).map(|(part, cost)| part * cost).sum()
    }
}

/// Bytes of a row's value without nulls.
pub fn row_bytes(columns: &[(thermae_formats::ValueType, usize)]) -> f64 {
    let of = |(value_type, bytes): &(thermae_formats::ValueType, usize)| match value_type
        .width_bytes()
    {
        Some(width) => width as f64,
        None => *bytes as f64 + 4.0,
    };
    columns.iter().map(of).sum()
}

/// Bytes of a row's slot in the hot table: header, key, value, rounded as the table does.
pub fn slot_bytes(view: &View) -> f64 {
    let bytes = ROW_HEADER_BYTES + payload_bytes(view).ceil() as usize;
    let words = bytes.div_ceil(WORD_BYTES);
    // A row beyond the largest class is refused when it is written.
    let slot = SizeClass::of(words).map_or(words, SizeClass::slot_words);
    (slot * WORD_BYTES) as f64
}

/// Bytes of a key.
pub fn key_bytes(view: &View) -> f64 {
    match view.key {
        KeyType::String | KeyType::Bytes => view.key_text_bytes() as f64 + 2.0,
        _ => 8.0,
    }
}

/// Bytes of key and value of a row.
pub fn payload_bytes(view: &View) -> f64 {
    key_bytes(view) + row_bytes(&view.columns())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::presets::preset;

    #[test]
    fn parts_are_counted() {
        let ranking = Shape::mean(&preset("ranking").unwrap());
        let expected = Shape {
            reads: 1.0,
            views: 1.0,
            keys: 501.0,
            bytes: 501.0 * 50.0 * 4.0,
            far_bytes: 501.0 * 50.0 * 4.0 - NEAR_BYTES,
            ..Shape::default()
        };
        assert_eq!(ranking, expected);
        let a = Shape::mean(&preset("ycsb-a").unwrap());
        assert_eq!((a.reads, a.writes, a.keys, a.rows), (0.5, 0.5, 0.5, 0.5));
        assert_eq!((a.variable, a.bytes, a.row_bytes), (5.0, 500.0, 520.0));
        assert_eq!(a.columns, 5.0);
        assert_eq!(a.cost(&[2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0]), 3.0);
        assert_eq!(Shape::NAMES.len(), a.parts().len());
    }
}
