//! Where a log that was not closed ends: a pure function of what was seen on the disk.

use thermae_formats::batch::BatchError;

use crate::planted::{Bug, is_planted};

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Segment number.
    pub(super) segment: u32,
    /// Offset in its file, bytes.
    pub(super) offset: u64,
}

/// What was found where the next batch of the chain should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that verifies.
    NoBatch(BatchError),
    /// The end of the file, without a batch that closes the segment.
    FileEnd,
    /// A batch that verifies at this very place but does not continue the chain.
    Unchained(&'static str),
    /// The segment that the previous batch names does not exist.
    NoSegment,
}

/// A batch that verifies somewhere behind that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    /// Its number.
    pub(super) number: u64,
    /// The horizon that it states.
    pub(super) horizon: u64,
    /// Where it lies.
    pub(super) place: Place,
}

/// What is known about the end of a log.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// Number of the last batch of the unbroken chain; 0 for none.
    pub(super) last: u64,
    /// What is there in place of the next one.
    pub(super) found: Found,
    /// The later batch with the greatest horizon.
    pub(super) witness: Option<Witness>,
    /// How many later batches verify.
    pub(super) later: u64,
}

/// What to do with a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The log ends here: nothing behind was ever acknowledged as durable.
    Cut {
        /// Whether something had been begun behind the end.
        is_torn: bool,
    },
    /// Something that had been durable is not there any more.
    Damaged(String),
}

/// Tells a torn tail from damage, by the rules of `docs/formats/log.md`.
pub(super) fn decide(tail: &Tail) -> Verdict {
    if is_planted(Bug::CutAtFirstBadChecksum) {
        return Verdict::Cut { is_torn: true };
    }
    let expected = tail.last + 1;
    if let Found::Unchained(what) = tail.found {
        let text = format!("a valid batch is there, but its {what} does not continue the log");
        return Verdict::Damaged(text);
    }
    if tail.found == Found::NoSegment {
        return Verdict::Damaged("the segment that the last batch names is missing".to_owned());
    }
    if let Some(witness) = tail.witness.filter(|witness| witness.horizon >= expected) {
        return Verdict::Damaged(format!(
            "batch {expected} should be there ({}); batch {} in segment {} at byte {} states that \
             it was durable",
            tail.found.describe(),
            witness.number,
            witness.place.segment,
            witness.place.offset,
        ));
    }
    let is_clean = matches!(tail.found, Found::NoBatch(BatchError::Blank) | Found::FileEnd);
    Verdict::Cut { is_torn: !is_clean || tail.later > 0 }
}

impl Found {
    /// In words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::NoBatch(error) => error.to_string(),
            Self::FileEnd => "the file ends".to_owned(),
            Self::Unchained(what) => format!("its {what} does not continue the log"),
            Self::NoSegment => "the next segment is missing".to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 1, offset: 8192 };

    fn tail(found: Found, horizon: Option<u64>) -> Tail {
        let witness = horizon.map(|horizon| Witness {
            number: 9,
            horizon,
            place: Place { segment: 2, ..PLACE },
        });
        Tail { last: 4, found, witness, later: u64::from(horizon.is_some()) }
    }

    #[test]
    fn nothing_behind_is_the_end() {
        let blank = Found::NoBatch(BatchError::Blank);
        assert_eq!(decide(&tail(blank, None)), Verdict::Cut { is_torn: false });
        assert_eq!(decide(&tail(Found::FileEnd, None)), Verdict::Cut { is_torn: false });
        let torn = Found::NoBatch(BatchError::BodyChecksum);
        assert_eq!(decide(&tail(torn, None)), Verdict::Cut { is_torn: true });
    }

    #[test]
    fn a_later_batch_tells_a_torn_tail_from_damage_by_its_horizon() {
        for found in [BatchError::Blank, BatchError::Magic, BatchError::BodyChecksum] {
            let found = Found::NoBatch(found);
            assert_eq!(decide(&tail(found.clone(), Some(4))), Verdict::Cut { is_torn: true });
            let Verdict::Damaged(what) = decide(&tail(found, Some(5))) else {
                panic!("batch 5 was durable")
            };
            assert!(what.contains("batch 5") && what.contains("batch 9 in segment 2"), "{what}");
        }
    }

    #[test]
    fn a_valid_batch_that_does_not_chain_and_a_missing_segment_are_damage() {
        for found in [Found::Unchained("number"), Found::NoSegment] {
            assert!(matches!(decide(&tail(found, None)), Verdict::Damaged(_)));
        }
    }
}
