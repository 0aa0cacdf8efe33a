//! Damage behind the store's back: whatever is flipped, moved, put back or cut, a store gives the same
//! answers or an error that names file and offset; never another answer, never a panic.

mod cases;
mod judge;
mod sample;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use cases::{Damage, DamageKind, FileKind, Place, cases};
pub use judge::{Seen, judge};
pub use sample::{DIR, Ending, Image, LastBatch, PAGE_BYTES, Sample, machine, tiers};

/// Broken promises that are kept in full.
const TOLD_MAX: usize = 10;

/// How often each thing was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Damages.
    pub cases: u64,
    /// Nothing changed.
    pub same: u64,
    /// The store did not open, and said why.
    pub refused: u64,
    /// Some rows were refused, each with the reason.
    pub unreadable: u64,
    /// Every row was served, and the damage told.
    pub told: u64,
    /// The last batch before a crash was lost, as is stated.
    pub last_batch: u64,
}

impl Counts {
    /// Errors that named the file.
    pub const fn named(&self) -> u64 {
        self.refused + self.unreadable + self.told
    }

    fn count(&mut self, seen: Seen) {
        self.cases += 1;
        *match seen {
            Seen::Same => &mut self.same,
            Seen::Refused => &mut self.refused,
            Seen::Unreadable => &mut self.unreadable,
            Seen::Told => &mut self.told,
            Seen::LastBatch => &mut self.last_batch,
        } += 1;
    }

    fn add(&mut self, other: &Counts) {
        self.cases += other.cases;
        self.same += other.same;
        self.refused += other.refused;
        self.unreadable += other.unreadable;
        self.told += other.told;
        self.last_batch += other.last_batch;
    }
}

/// What a campaign has seen.
#[derive(Debug, Default)]
pub struct Report {
    /// By kind of file and of damage.
    pub counts: BTreeMap<(FileKind, DamageKind), Counts>,
    /// Broken promises in all.
    pub broken: u64,
    /// The first of them.
    pub first_broken: Vec<String>,
}

impl Report {
    /// The sum of what `wanted` chooses.
    pub fn sum(&self, mut wanted: impl FnMut(FileKind, DamageKind) -> bool) -> Counts {
        let mut sum = Counts::default();
        let chosen = self.counts.iter().filter(|((file, damage), _)| wanted(*file, *damage));
        chosen.for_each(|(_, counts)| sum.add(counts));
        sum
    }

    /// Adds what another campaign has seen.
    pub fn add(&mut self, other: Report) {
        for (kinds, counts) in &other.counts {
            self.counts.entry(*kinds).or_default().add(counts);
        }
        self.broken += other.broken;
        self.first_broken.extend(other.first_broken);
        self.first_broken.truncate(TOLD_MAX);
    }
}

/// Tries damages of a sample; `tell` hears of each. A panic counts as a broken promise; where panics
/// abort, as in a release build, it ends the campaign.
pub fn run<'a>(
    sample: &Sample,
    damages: impl Iterator<Item = &'a Damage>,
    preload_bytes: u64,
    mut tell: impl FnMut(),
) -> Report {
    let mut report = Report::default();
    for damage in damages {
        let judged = catch_unwind(AssertUnwindSafe(|| judge(sample, damage, preload_bytes)));
        let kinds = (FileKind::of(&sample.files[damage.file()].0), damage.kind());
        match judged.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(Some(seen)) => report.counts.entry(kinds).or_default().count(seen),
            Ok(None) => {}
            Err(why) => {
                report.broken += 1;
                if report.first_broken.len() < TOLD_MAX {
                    let (ending, name) = (sample.ending, sample.name(damage.file()));
                    report.first_broken.push(format!("{ending:?}, {name}, {damage:?}: {why}"));
                }
            }
        }
        tell();
    }
    report
}
