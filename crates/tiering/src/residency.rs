//! Where a row belongs by its age, and when it stops to exist.

use thermae_formats::NO_TIME;
use thermae_formats::schema::TierPolicy;

/// A tier, from the fastest to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// In the memory-mapped table.
    Hot,
    /// In the trees on local disk.
    Warm,
    /// In the archive.
    Cold,
    /// Past `keep_for`: to be removed everywhere.
    Gone,
}

/// The fastest tier that a row may live in at `now`, all in microseconds; 0 in a policy is without
/// limit. Each bound is inclusive: a row exactly `hot_for_us` old is still hot.
pub fn fastest_tier(event_time: i64, now: i64, policy: &TierPolicy) -> Tier {
    let within = |bound_us: i64| bound_us == 0 || event_time >= now.saturating_sub(bound_us);
    if !within(policy.keep_for_us) {
        Tier::Gone
    } else if within(policy.hot_for_us) {
        Tier::Hot
    } else if within(policy.warm_for_us) {
        Tier::Warm
    } else {
        Tier::Cold
    }
}

/// Whether a row whose own expiry is `expire_at` no longer counts when the next record of its
/// partition is applied. `watermark` is the newest event time applied there: a function of the log,
/// so that whether garbage collection already took the row cannot show.
pub fn is_reset(expire_at: i64, watermark: Option<i64>) -> bool {
    expire_at != NO_TIME && watermark.is_some_and(|watermark| expire_at <= watermark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thermae_formats::schema::History;

    #[test]
    fn age_moves_a_row_down_and_each_bound_is_inclusive() {
        let policy = TierPolicy {
            hot_for_us: 10,
            warm_for_us: 100,
            keep_for_us: 1_000,
            history: History::Full,
        };
        let cases = [
            (0, Tier::Hot),
            (10, Tier::Hot),
            (11, Tier::Warm),
            (100, Tier::Warm),
            (101, Tier::Cold),
            (1_000, Tier::Cold),
            (1_001, Tier::Gone),
        ];
        for (age, tier) in cases {
            assert_eq!(fastest_tier(5_000 - age, 5_000, &policy), tier, "age {age}");
        }
        assert_eq!(fastest_tier(5_001, 5_000, &policy), Tier::Hot, "a future row is new");
    }

    #[test]
    fn no_limit_keeps_a_row_hot_for_ever() {
        let policy =
            TierPolicy { hot_for_us: 0, warm_for_us: 0, keep_for_us: 0, history: History::Full };
        assert_eq!(fastest_tier(i64::MIN + 1, i64::MAX, &policy), Tier::Hot);
    }

    #[test]
    fn only_a_row_with_an_expiry_behind_the_watermark_is_reset() {
        assert!(is_reset(5, Some(5)));
        assert!(!is_reset(6, Some(5)));
        assert!(!is_reset(5, None));
        assert!(!is_reset(NO_TIME, Some(5)));
    }
}
