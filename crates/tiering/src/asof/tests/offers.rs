//! Which rows a part is offered.

use super::super::*;
use crate::testing::Rng;

#[test]
fn whoever_may_gain_is_offered_and_few_others_are() {
    let mut rng = Rng::new(31);
    let (mut offered, mut gaining) = (0, 0);
    for _ in 0..300 {
        let span = [1, 40, 1_000_000, u64::MAX / 2][rng.below(4) as usize];
        let mut any_time = || (rng.below(span) as i64).wrapping_sub(span as i64 / 2);
        let mut asked = Asked::default();
        for hash in 0..200 {
            asked.push(hash, b"k", any_time());
        }
        let (first, rows) = (3, 3..190);
        let mut candidates = Candidates::default();
        // Memory that was used before.
        candidates.begin(&asked, 0..200);
        candidates.improve(17, (0, 0, 0));
        candidates.begin(&asked, rows.clone());
        let mut best = vec![None; 200];
        for _ in 0..12 {
            let mut times = [any_time(), any_time()];
            times.sort_unstable();
            let times = times[0]..=times[1];
            candidates.offer(&asked, first, &times);
            assert!(candidates.rows.is_sorted());
            for row in rows.clone() {
                let is_offered = candidates.rows.binary_search(&(row - first)).is_ok();
                let has_better = best[row].is_some_and(|best| best > *times.end());
                let may_gain = asked.time_us(row) >= *times.start() && !has_better;
                assert!(is_offered || !may_gain, "{row} at {}: {times:?}", asked.time_us(row));
                assert!(!(is_offered && has_better), "{row} has found {:?}: {times:?}", best[row]);
                offered += usize::from(is_offered);
                gaining += usize::from(may_gain);
                // Every other that may gain something does.
                let gain = asked.time_us(row).min(*times.end());
                if may_gain && row % 2 == 0 {
                    let is_better = best[row].is_none_or(|best| best < gain);
                    assert_eq!(candidates.improve(row - first, (gain, 0, 0)), is_better);
                    best[row] = best[row].max(Some(gain));
                }
            }
        }
    }
    assert!(gaining > 10_000 && offered < gaining * 11 / 10, "{offered} for {gaining}");
}
