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

/// What is known of a version in the warm tier that may leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmVersion {
    /// Its sequence in its partition.
    pub sequence: u64,
    /// Its event time, in microseconds UTC.
    pub event_time: i64,
    /// Whether it is the newest of its key.
    pub is_newest: bool,
    /// Whether it is a tombstone.
    pub is_tombstone: bool,
}

/// Whether a version may leave warm, because the archive has it: its `warm_for` has passed, and the sequence lies
/// before `archived` of its partition, which a file gets to only committed and verified.
///
/// The newest version of a key stays, unless its view says `serve_from_cold`: it may be asked for at any time,
/// past its `ttl` too, by a read that judges by an earlier time. A newest tombstone stays in any case, since
/// what it deletes would come back without it; `keep_for` alone ends it.
pub fn may_leave_warm(
    version: &WarmVersion,
    policy: &TierPolicy,
    archived: u64,
    now_us: i64,
) -> bool {
    let is_older =
        policy.warm_for_us != 0 && version.event_time < now_us.saturating_sub(policy.warm_for_us);
    let may_move = is_older && version.sequence < archived;
    may_move && (!version.is_newest || (policy.serve_from_cold && !version.is_tombstone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_moves_a_row_down_and_each_bound_is_inclusive() {
        let policy = TierPolicy {
            hot_for_us: 10,
            warm_for_us: 100,
            keep_for_us: 1_000,
            ..TierPolicy::default()
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
        let policy = TierPolicy::default();
        assert_eq!(fastest_tier(i64::MIN + 1, i64::MAX, &policy), Tier::Hot);
    }

    #[test]
    fn only_a_row_with_an_expiry_behind_the_watermark_is_reset() {
        assert!(is_reset(5, Some(5)));
        assert!(!is_reset(6, Some(5)));
        assert!(!is_reset(5, None));
        assert!(!is_reset(NO_TIME, Some(5)));
    }

    #[test]
    fn a_version_leaves_warm_only_when_it_is_old_archived_and_not_to_be_served_from_there() {
        let stays = TierPolicy { warm_for_us: 100, ..TierPolicy::default() };
        let opts_in = TierPolicy { serve_from_cold: true, ..stays };
        let base =
            WarmVersion { sequence: 9, event_time: 1_000, is_newest: false, is_tombstone: false };
        let newest = WarmVersion { is_newest: true, ..base };
        // Of version, policy, archived, now: whether it may leave.
        let cases = [
            (base, stays, 10, 1_101, true),
            (base, stays, 10, 1_100, false),
            (base, stays, 9, 9_999, false),
            (newest, stays, 10, 9_999, false),
            (newest, opts_in, 10, 1_101, true),
            (newest, opts_in, 10, 1_100, false),
            (newest, opts_in, 9, 1_101, false),
            (WarmVersion { is_tombstone: true, ..newest }, opts_in, 10, 9_999, false),
            (WarmVersion { is_tombstone: true, ..base }, stays, 10, 9_999, true),
        ];
        for (version, policy, archived, now_us, leaves) in cases {
            let found = may_leave_warm(&version, &policy, archived, now_us);
            assert_eq!(found, leaves, "{version:?}, archived {archived}, at {now_us}");
        }
        let forever = TierPolicy { warm_for_us: 0, ..opts_in };
        assert!(!may_leave_warm(&base, &forever, 10, i64::MAX), "warm without limit");
    }
}
