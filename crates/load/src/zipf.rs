//! Ranks by Zipf's law, for any exponent above 0, in constant time and memory: rejection-inversion
//! (Hoermann and Derflinger, 1996). No table of a billion probabilities is made.

use crate::dice::Dice;

/// Ranks `1..=n`, rank `k` with probability proportional to `k^-exponent`.
#[derive(Debug, Clone)]
pub struct Zipf {
    n: u64,
    exponent: f64,
    first: f64,
    last: f64,
    shortcut: f64,
}

impl Zipf {
    /// Ranks up to `n` (at least 1 is taken) by an exponent above 0.
    pub fn new(n: u64, exponent: f64) -> Self {
        let n = n.max(1);
        let mut zipf = Self { n, exponent, first: 0.0, last: 0.0, shortcut: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf.last = zipf.integral(n as f64 + 0.5);
        zipf
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> u64 {
        self.n
    }

    /// More ranks than before: rows were added.
    pub fn grow(&mut self, n: u64) {
        if n > self.n {
            self.n = n;
            self.last = self.integral(n as f64 + 0.5);
        }
    }

    /// A rank, 1 the most likely.
    pub fn rank(&self, dice: &mut Dice) -> u64 {
        loop {
            let at = self.last + dice.unit() * (self.first - self.last);
            let x = self.inverse(at);
            let rank = (x.round() as u64).clamp(1, self.n);
            let k = rank as f64;
            if k - x <= self.shortcut || at >= self.integral(k + 0.5) - self.density(k) {
                return rank;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_over((1.0 - self.exponent) * log) * log
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.exponent)).max(-1.0);
        (ln_1p_over(t) * y).exp()
    }
}

/// `(e^x - 1) / x`, also near 0.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// `ln(1 + x) / x`, also near 0.
fn ln_1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of the first ranks comes, beside how often it should.
    fn compare(exponent: f64) {
        const N: u64 = 1000;
        const DRAWS: u32 = 400_000;
        let (zipf, mut dice) = (Zipf::new(N, exponent), Dice::new(3));
        let mut counts = vec![0_u32; N as usize + 1];
        for _ in 0..DRAWS {
            counts[zipf.rank(&mut dice) as usize] += 1;
        }
        let whole: f64 = (1..=N).map(|k| (k as f64).powf(-exponent)).sum();
        assert_eq!(counts[0], 0);
        for k in [1_u64, 2, 3, 10, 100] {
            let expected = f64::from(DRAWS) * (k as f64).powf(-exponent) / whole;
            let found = f64::from(counts[k as usize]);
            let sigma = expected.sqrt();
            assert!(
                (found - expected).abs() < 5.0 * sigma + 1.0,
                "exponent {exponent}, rank {k}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        for exponent in [0.3, 0.735, 0.99, 1.0, 1.21, 2.1] {
            compare(exponent);
        }
    }

    #[test]
    fn one_rank_is_always_itself_and_ranks_may_be_added() {
        let mut dice = Dice::new(1);
        let mut zipf = Zipf::new(1, 0.99);
        assert!((0..100).all(|_| zipf.rank(&mut dice) == 1));
        zipf.grow(50);
        let seen: Vec<u64> = (0..5000).map(|_| zipf.rank(&mut dice)).collect();
        assert!(seen.iter().all(|rank| (1..=50).contains(rank)) && seen.contains(&50));
    }
}
