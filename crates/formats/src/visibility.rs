//! Whether a row is served at a read time. The server, the embedded store and mapped readers in other
//! processes judge by this one function (SEMANTICS: online reads).

use crate::time::NO_TIME;

/// How a row stands at a read time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// It is served.
    Present,
    /// A tombstone, or past its own expiry: as if it were not there.
    NotFound,
    /// Older than the view's TTL: its values are null, its event time is told.
    OutsideMaxAge,
}

/// Judges a row; all times in microseconds UTC. `expire_at` is `NO_TIME` for none; a TTL of 0 never
/// expires a row; a row exactly `ttl_us` old is still served.
#[inline]
pub fn visibility(
    is_tombstone: bool,
    expire_at: i64,
    event_time: i64,
    ttl_us: i64,
    read_time: i64,
) -> Visibility {
    let expired = expire_at != NO_TIME && expire_at <= read_time;
    if is_tombstone || expired {
        Visibility::NotFound
    } else if ttl_us > 0 && event_time < read_time.saturating_sub(ttl_us) {
        Visibility::OutsideMaxAge
    } else {
        Visibility::Present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_ttl_are_inclusive_to_the_microsecond() {
        let at = |event_time, ttl_us| visibility(false, NO_TIME, event_time, ttl_us, 1_000);
        assert_eq!(at(900, 100), Visibility::Present);
        assert_eq!(at(899, 100), Visibility::OutsideMaxAge);
        assert_eq!(at(i64::MIN + 1, 0), Visibility::Present);
        assert_eq!(at(2_000, 100), Visibility::Present);
    }

    #[test]
    fn tombstones_and_own_expiry_hide_a_row() {
        assert_eq!(visibility(true, NO_TIME, 0, 0, 10), Visibility::NotFound);
        assert_eq!(visibility(false, 10, 0, 0, 10), Visibility::NotFound);
        assert_eq!(visibility(false, 11, 0, 0, 10), Visibility::Present);
    }
}
