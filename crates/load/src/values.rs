//! What every row holds: computable from its number alone, so that every answer can be checked without a copy
//! of the data. A write writes the same values again with a newer event time.

use thermae_formats::{KeyType, KeyValue, Scalar, Value, ValueType};

use crate::dice::mix;
use crate::workload::View;

/// The features of one view and how their values are made.
#[derive(Debug, Clone)]
pub struct Rows {
    seed: u64,
    key: KeyType,
    key_bytes: usize,
    columns: Vec<(ValueType, usize)>,
}

impl Rows {
    /// The rows of a view. Its name decides them, so that workloads may share it.
    pub fn new(view: &View) -> Self {
        Self {
            seed: view.name.bytes().fold(1, |word, byte| mix(word ^ u64::from(byte))),
            key: view.key,
            key_bytes: view.key_text_bytes(),
            columns: view.columns(),
        }
    }

    /// How many features.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Type of a feature.
    pub fn value_type(&self, column: usize) -> Option<&ValueType> {
        self.columns.get(column).map(|(value_type, _)| value_type)
    }

    /// The join key of a row.
    pub fn key(&self, row: u64) -> KeyValue {
        let text = || format!("k{row:0width$}", width = self.key_bytes - 1);
        match self.key {
            KeyType::String => KeyValue::String(text()),
            KeyType::Bytes => KeyValue::Bytes(text().into_bytes()),
            KeyType::Int32 | KeyType::Int64 | KeyType::Uuid => {
                KeyValue::Int(i64::try_from(row).unwrap_or(i64::MAX))
            }
        }
    }

    /// Whether keys are eight bytes, which need no encoding.
    pub fn is_number(&self) -> bool {
        self.key == KeyType::Int64
    }

    /// One value of a row.
    pub fn value(&self, row: u64, column: usize) -> Value {
        let word = mix(self.seed ^ row.wrapping_mul(0xA24B_AED4_963E_E407) ^ column as u64);
        match self.columns.get(column) {
            Some((ValueType::Scalar(scalar), bytes)) => scalar_value(*scalar, word, *bytes),
            Some((ValueType::List(scalar), bytes)) => {
                let width = scalar.width_bytes().unwrap_or(8);
                let element = |at| scalar_value(*scalar, mix(word ^ at), width);
                Value::List((0..(bytes / width) as u64).map(element).collect())
            }
            Some((ValueType::Vector { dimension }, _)) => {
                Value::Vector((0..u64::from(*dimension)).map(|at| float(mix(word ^ at))).collect())
            }
            Some((ValueType::Opaque { .. }, bytes)) => Value::Opaque(noise(word, *bytes)),
            None => Value::Null,
        }
    }

    /// All values of a row, into `out`.
    pub fn fill(&self, row: u64, out: &mut Vec<Value>) {
        out.clear();
        out.extend((0..self.columns.len()).map(|column| self.value(row, column)));
    }
}

fn scalar_value(scalar: Scalar, word: u64, bytes: usize) -> Value {
    match scalar {
        Scalar::Bool => Value::Bool(word & 1 == 1),
        Scalar::Int32 => Value::Int32((word >> 44) as i32),
        Scalar::Int64 => Value::Int64((word >> 24) as i64),
        Scalar::Float32 => Value::Float32(float(word)),
        Scalar::Float64 => Value::Float64((word >> 12) as f64 / 4096.0),
        Scalar::String => Value::String(letters(word, bytes)),
        Scalar::Bytes => Value::Bytes(noise(word, bytes)),
        Scalar::Timestamp => Value::Timestamp(1_700_000_000_000_000 + (word >> 30) as i64),
        Scalar::Uuid => {
            let mut uuid = [0; 16];
            uuid[..8].copy_from_slice(&word.to_le_bytes());
            uuid[8..].copy_from_slice(&mix(word).to_le_bytes());
            Value::Uuid(uuid)
        }
        Scalar::Json => Value::Json(format!("\"{}\"", letters(word, bytes.saturating_sub(2)))),
    }
}

/// A float with a full mantissa, which a matrix holds exactly.
fn float(word: u64) -> f32 {
    (word >> 40) as f32 / 1024.0
}

/// Bytes that do not compress.
fn noise(word: u64, bytes: usize) -> Vec<u8> {
    let words = (0..bytes.div_ceil(8) as u64).flat_map(|at| mix(word ^ at).to_le_bytes());
    words.take(bytes).collect()
}

/// Text of 32 letters: five bits of a word in each byte.
fn letters(word: u64, bytes: usize) -> String {
    noise(word, bytes)
        .iter()
        .map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz012345"[usize::from(byte & 31)]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use thermae_formats::RowLayout;

    use super::*;
    use crate::workload::Features;

    #[test]
    fn every_type_has_values_of_the_size_asked_and_the_row_decides_them() {
        let types = [
            "bool",
            "int32",
            "int64",
            "float32",
            "float64",
            "string",
            "bytes",
            "timestamp",
            "uuid",
            "json",
            "list<int64>",
            "vector<float32, 8>",
            "opaque<map>",
        ];
        let of = |text: &&str| Features { value_type: text.parse().unwrap(), count: 1, bytes: 24 };
        let features = types.iter().map(of).collect();
        let view = View {
            name: "v".to_owned(),
            entities: 10,
            key: KeyType::String,
            key_bytes: 20,
            ttl_s: 0,
            cold_after_s: 0,
            features,
        };
        let rows = Rows::new(&view);
        let layout = RowLayout::new(&view.definition().features).unwrap();
        let (mut a, mut b, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        rows.fill(7, &mut a);
        rows.fill(8, &mut b);
        assert!(layout.encode(&a, &mut bytes).unwrap(), "no value is null");
        assert!(bytes.len() > 24 * 6, "{}", bytes.len());
        let same = a.iter().zip(&b).filter(|(a, b)| a.same_bits(b)).count();
        assert!(same <= 1, "rows 7 and 8 share {same} values");
        assert_eq!(rows.key(7), KeyValue::String("k0000000000000000007".to_owned()));
        let other = Rows::new(&View { name: "w".to_owned(), ..view });
        assert!(!other.value(7, 3).same_bits(&rows.value(7, 3)), "views differ");
    }
}
