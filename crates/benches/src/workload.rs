//! The rows that every target holds: `id` to ten float32, computable by anyone, so that every answer can
//! be checked without a copy of the data.

pub use thermae_load::dice::{Dice, mix};

/// Features of a row.
pub const FEATURES: usize = 10;
/// Bytes of a row's values.
pub const VALUE_BYTES: usize = FEATURES * 4;

/// Feature `index` of row `id`: a float with a full mantissa.
pub fn value(id: u64, index: usize) -> f32 {
    let word = mix(id.wrapping_mul(FEATURES as u64).wrapping_add(index as u64));
    (word >> 40) as f32 / 1024.0
}

/// The values of row `id`.
pub fn row(id: u64) -> [f32; FEATURES] {
    std::array::from_fn(|index| value(id, index))
}

/// The values of row `id` as bytes, little-endian.
pub fn blob(id: u64) -> [u8; VALUE_BYTES] {
    let mut bytes = [0; VALUE_BYTES];
    for (target, value) in bytes.chunks_exact_mut(4).zip(row(id)) {
        target.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// Whether `values` is row `id`, bit for bit.
pub fn is_row(id: u64, values: &[f32]) -> bool {
    values.len() == FEATURES
        && values.iter().enumerate().all(|(at, found)| found.to_bits() == value(id, at).to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_itself_and_no_other() {
        assert!(is_row(7, &row(7)) && !is_row(8, &row(7)) && !is_row(7, &row(7)[..9]));
        let floats: Vec<f32> =
            blob(7).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert!(is_row(7, &floats));
    }
}
