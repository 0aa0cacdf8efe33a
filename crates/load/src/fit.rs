//! Costs from measurements: the figures that are not negative and come nearest to what was measured, each
//! measurement by its share, so that a small request counts as much as a large one.

/// What each of `rows` came to, as a sum of its `parts` times the costs looked for. Returns the costs, and how far
/// the worst measurement is off, as a share of it.
pub fn fit(parts: &[Vec<f64>], measured: &[f64]) -> (Vec<f64>, f64) {
    let count = parts.first().map_or(0, Vec::len);
    let mut costs = vec![0.0; count];
    let scaled: Vec<Vec<f64>> = parts
        .iter()
        .zip(measured)
        .map(|(row, measured)| row.iter().map(|part| part / measured.max(1e-12)).collect())
        .collect();
    let mut left = vec![1.0; scaled.len()];
    // One cost after the other, again and again: with so few it is quick, and none goes below nothing.
    for _ in 0..20_000 {
        let mut moved = 0.0_f64;
        for at in 0..count {
            let square: f64 = scaled.iter().map(|row| row[at] * row[at]).sum();
            if square <= 0.0 {
                continue;
            }
            let pull: f64 = scaled.iter().zip(&left).map(|(row, left)| row[at] * left).sum();
            let new = (costs[at] + pull / square).max(0.0);
            let step = new - costs[at];
            costs[at] = new;
            for (row, left) in scaled.iter().zip(&mut left) {
                *left -= row[at] * step;
            }
            moved = moved.max((step / new.max(1e-12)).abs());
        }
        if moved < 1e-9 {
            break;
        }
    }
    let worst = left.iter().fold(0.0_f64, |worst, left| worst.max(left.abs()));
    (costs, worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_that_made_the_figures_are_found() {
        let costs = [2.0, 0.0, 0.05, 0.001];
        let parts: Vec<Vec<f64>> = (1..12)
            .map(|at| {
                let at = f64::from(at);
                vec![1.0, (at * 7.0) % 5.0, at * at, (at * 1313.0) % 9000.0]
            })
            .collect();
        let cost = |row: &Vec<f64>| row.iter().zip(&costs).map(|(part, cost)| part * cost).sum();
        let measured: Vec<f64> = parts.iter().map(cost).collect();
        let (found, worst) = fit(&parts, &measured);
        for (found, made) in found.iter().zip(costs) {
            assert!((found - made).abs() < 1e-3 * made.max(0.1), "{found} {made}");
        }
        assert!(worst < 1e-3, "{worst}");
    }

    #[test]
    fn what_does_not_fit_is_told_and_nothing_is_negative() {
        let (costs, worst) = fit(&[vec![1.0], vec![1.0]], &[1.0, 2.0]);
        assert!(costs[0] > 0.0 && worst > 0.1, "{costs:?} {worst}");
        let (costs, _) = fit(&[vec![1.0, 1.0], vec![1.0, 2.0]], &[2.0, 1.0]);
        assert!(costs.iter().all(|cost| *cost >= 0.0), "{costs:?}");
        assert_eq!(fit(&[], &[]).0.len(), 0);
    }
}
