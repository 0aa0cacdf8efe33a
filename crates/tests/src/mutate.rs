//! Seeded mutations of bytes: what a fuzzer does, without its guidance and repeatable to the bit.

/// A small generator (SplitMix64): the same seed gives the same tests on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A generator from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound.max(1) as u64) as usize
    }
}

/// Numbers that lengths and counts go wrong at.
const AWKWARD: [u32; 9] =
    [0, 1, 0x7F, 0x80, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];

/// Changes `bytes` in one to four places: bits, bytes, awkward numbers, cuts, copies, insertions.
pub fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[at] = dice.next_u64() as u8,
            2 | 3 => {
                let number = AWKWARD[dice.below(AWKWARD.len())].to_le_bytes();
                let width = [1, 2, 4][dice.below(3)];
                for (target, byte) in bytes.iter_mut().skip(at).zip(&number[..width]) {
                    *target = *byte;
                }
            }
            4 => bytes.truncate(at),
            5 => {
                let end = at + dice.below(bytes.len() - at);
                let copied = bytes[at..end].to_vec();
                let place = dice.below(bytes.len());
                bytes.splice(place..place, copied);
            }
            _ => bytes.insert(at, dice.next_u64() as u8),
        }
    }
}
