//! A small generator (SplitMix64): the same requests in the same order for every target.

/// Random words from a seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A generator from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `end`; 0 for an `end` of 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        // The high half of the product: no division, and no bias that could matter below 2^40.
        ((self.next_u64() as u128 * end as u128) >> 64) as u64
    }

    /// A number from 0 up to, and without, 1.
    pub const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Fills `ids` with uniform row numbers below `rows`.
    pub fn fill(&mut self, ids: &mut [u64], rows: u64) {
        for id in ids {
            *id = self.next_u64() % rows;
        }
    }
}

/// Spreads the bits of a word over all of it; no two words become one.
pub const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_where_they_must_and_are_spread() {
        let mut dice = Dice::new(7);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[dice.below(10) as usize] += 1;
            assert!((0.0..1.0).contains(&dice.unit()));
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
        assert_eq!(dice.below(0), 0);
    }
}
