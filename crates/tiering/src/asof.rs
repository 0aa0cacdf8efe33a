//! The point-in-time join of one view: for each row of a spine, the version that was the newest at its time.
//!
//! The rules are SEMANTICS "Point-in-time join". Rows of the spine are asked for in table order, those of one
//! key latest time first; then one forward pass over the history answers all of them:
//!
//! * A version that is too new for a row, by event time or by created time, is too new for every row of the
//!   same key behind it. So the source never has to go back.
//! * The first version that is not too new is the winner, because sources give the newest first: greatest event
//!   time, then created time (none loses), then sequence.
//! * The winner alone is judged, by the function that judges online reads ([`visibility`]), at the time of the
//!   spine's row: a tombstone, a row past its own expiry and one older than the TTL hide what is below them,
//!   as they did for whoever read then.
//!
//! A row whose join key is null matches nothing: its caller never asks for it.

use thermae_formats::NO_TIME;
use thermae_formats::version::Version;
use thermae_formats::visibility::{Visibility, visibility};

use crate::merge::SeekSource;

/// Versions that are passed one by one before the source is asked to seek: about as many as a seek costs.
/// Finding a row in a block takes 8.6 us, scanning one 0.19 us (decisions/0006), so that the join takes at
/// most twice the time of whichever way would have been the better.
pub const PATIENCE: u32 = 45;

/// What decides which versions may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How old, in event time, an answer may be at the time of the spine's row, in microseconds; 0 is without
    /// limit.
    pub ttl_us: i64,
    /// Only what had been learnt by then: versions with a later created time, or without one, do not count.
    pub as_of_known: bool,
}

/// What a row of the spine finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'v> {
    /// The version that was served then.
    Present(Version<'v>),
    /// The newest version was older than the TTL: its values are null.
    OutsideMaxAge(Version<'v>),
    /// No version yet, or a tombstone, or one past its own expiry.
    NotFound,
}

/// A forward pass over the history of one view.
pub struct AsOfJoin<S> {
    source: S,
    terms: Terms,
}

impl<S: SeekSource> AsOfJoin<S> {
    /// Joins with a source that gives versions of one view alone and stands at the first of them.
    pub const fn new(source: S, terms: Terms) -> Self {
        Self { source, terms }
    }

    /// What the row of a key had at `time_us`, lent until the next call. Ask in order of (entity hash, key,
    /// time from late to early), repetitions allowed: what lies before the last question is not found again.
    ///
    /// # Errors
    /// Those of the source.
    pub fn find(
        &mut self,
        entity_hash: u64,
        key: &[u8],
        time_us: i64,
    ) -> Result<Found<'_>, S::Error> {
        self.go_to(entity_hash, key)?;
        while let Some(version) = of_key(&self.source, entity_hash, key)
            && self.terms.is_too_new(&version, time_us)
        {
            self.source.advance()?;
        }
        let winner = of_key(&self.source, entity_hash, key);
        Ok(winner.map_or(Found::NotFound, |version| self.terms.judge(version, time_us)))
    }

    /// Goes to the first version that does not lie before a key.
    fn go_to(&mut self, entity_hash: u64, key: &[u8]) -> Result<(), S::Error> {
        for _ in 0..PATIENCE {
            match self.source.peek() {
                Some((_, hash, version)) if (hash, version.key) < (entity_hash, key) => {
                    self.source.advance()?;
                }
                _ => return Ok(()),
            }
        }
        self.source.seek(entity_hash, key)
    }
}

/// The version that the source stands at, if it is one of the key.
fn of_key<'s, S: SeekSource>(source: &'s S, entity_hash: u64, key: &[u8]) -> Option<Version<'s>> {
    let (_, hash, version) = source.peek()?;
    (hash == entity_hash && version.key == key).then_some(version)
}

impl Terms {
    /// Whether a version was not there yet at a time, or not known.
    fn is_too_new(&self, version: &Version<'_>, time_us: i64) -> bool {
        let created = version.created_time;
        let is_unknown = self.as_of_known && (created == NO_TIME || created > time_us);
        version.event_time > time_us || is_unknown
    }

    fn judge<'v>(&self, winner: Version<'v>, time_us: i64) -> Found<'v> {
        let Version { event_time, expire_at, .. } = winner;
        match visibility(winner.is_tombstone(), expire_at, event_time, self.ttl_us, time_us) {
            Visibility::Present => Found::Present(winner),
            Visibility::OutsideMaxAge => Found::OutsideMaxAge(winner),
            Visibility::NotFound => Found::NotFound,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
