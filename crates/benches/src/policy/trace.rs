//! Traces of reads: skewed ones, and a scan between them.

/// Ranks by Zipf's law: rank r is read in proportion to 1 / r^exponent.
pub struct Zipf {
    /// Share of the reads that go to this rank or a lower one.
    up_to: Vec<f64>,
}

impl Zipf {
    /// The law for ranks `0..keys`.
    pub fn new(keys: u32, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=keys)
            .map(|rank| {
                sum += f64::from(rank).powf(-exponent);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|share| *share /= sum);
        Zipf { up_to }
    }

    /// The rank, from 0, that a uniform number of the unit interval falls on.
    pub fn rank(&self, uniform: f64) -> u32 {
        let rank = self.up_to.partition_point(|&share| share < uniform);
        rank.min(self.up_to.len() - 1) as u32
    }
}

/// Reads without end: key and whether the scan read it. The scan walks, again and again, over as many
/// keys as the skewed readers have, and which they never read.
pub struct Trace<'a> {
    zipf: &'a Zipf,
    /// One read in so many is the scan's; 0 for no scan.
    scan_every: u32,
    step: u32,
    scanned: u32,
    state: u64,
}

impl<'a> Trace<'a> {
    /// Reads by `zipf`, of which one in `scan_every` is the scan's.
    pub fn new(zipf: &'a Zipf, scan_every: u32) -> Trace<'a> {
        Trace { zipf, scan_every, step: 0, scanned: 0, state: 1 }
    }

    /// SplitMix64, to the unit interval.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Iterator for Trace<'_> {
    type Item = (u32, bool);

    fn next(&mut self) -> Option<(u32, bool)> {
        self.step = self.step.wrapping_add(1);
        if self.scan_every > 0 && self.step.is_multiple_of(self.scan_every) {
            let keys = self.zipf.up_to.len() as u32;
            self.scanned = (self.scanned + 1) % keys;
            return Some((keys + self.scanned, true));
        }
        let uniform = self.uniform();
        Some((self.zipf.rank(uniform), false))
    }
}
