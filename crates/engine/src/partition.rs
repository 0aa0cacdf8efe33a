//! A partition's state beside its rows: sequence, producer marks, watermark, digest.
//!
//! All of it is a function of the partition's log records alone, so that a replay, a duplicate or
//! a different batching gives the same state (DESIGN.md section 9). What admission adds for rows
//! that are not applied yet (`assigned`, `admitted`, `blocked`) is volatile and not part of it.

use std::collections::HashMap;

use thermae_formats::batch::{Record, RecordKind};
use thermae_formats::checkpoint::{CheckpointPartition, CheckpointView};
use thermae_formats::{NO_TIME, ViewId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Producers that a partition remembers; one more is refused, so that ids made up by a hostile
/// client cannot grow memory.
pub const PRODUCERS_MAX: usize = 65_536;

/// How a row stands to what its producer wrote before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not seen yet.
    Fresh,
    /// At or below the producer's high-water mark.
    Duplicate,
    /// Behind a row that was refused for a passing cause.
    Blocked,
    /// A new producer, and the partition remembers as many as it may.
    TooManyProducers,
}

/// State of one partition; owned by one shard.
#[derive(Debug, Default)]
pub struct Partition {
    assigned: u64,
    applied: u64,
    watermark: Option<i64>,
    logged_watermark: Option<i64>,
    marks: HashMap<u64, u64>,
    admitted: HashMap<u64, u64>,
    blocked: HashMap<u64, u64>,
    rows_digest: u64,
    marks_digest: u64,
    /// Live rows and their key and value bytes, by view id.
    by_view: Vec<(i64, i64)>,
}

impl Partition {
    /// Judges a row by its producer's high-water mark. Producer 0 is nobody.
    pub fn admission(&self, producer_id: u64, producer_sequence: u64) -> Admission {
        if producer_id == 0 {
            return Admission::Fresh;
        }
        if self.blocked.get(&producer_id).is_some_and(|&first| producer_sequence > first) {
            return Admission::Blocked;
        }
        match self.admitted.get(&producer_id) {
            Some(&mark) if producer_sequence <= mark => Admission::Duplicate,
            None if self.admitted.len() >= PRODUCERS_MAX => Admission::TooManyProducers,
            _ => Admission::Fresh,
        }
    }

    /// The sequence number that the next record will have.
    pub fn next_sequence(&self) -> u64 {
        self.assigned + 1
    }

    /// The newest event time of any logged record.
    pub fn logged_watermark(&self) -> Option<i64> {
        self.logged_watermark
    }

    /// The highest applied sequence number.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Takes note that the log accepted a record under [`Self::next_sequence`].
    pub fn note_logged(&mut self, producer_id: u64, producer_sequence: u64, event_time: i64) {
        self.assigned += 1;
        // An erase has no event time.
        let event_time = Some(event_time).filter(|time| *time != NO_TIME);
        self.logged_watermark = self.logged_watermark.max(event_time);
        if producer_id != 0 {
            self.admitted.insert(producer_id, producer_sequence);
            // An older row may still come behind the refusal of a newer one: it lifts nothing.
            if self.blocked.get(&producer_id).is_some_and(|&first| producer_sequence >= first) {
                self.blocked.remove(&producer_id);
            }
        }
    }

    /// Takes note that a row was refused for a passing cause: later ones must wait for it. Not for a
    /// repetition of a row that is in already: it will never be logged again, so they would wait for ever.
    pub fn note_refused(&mut self, producer_id: u64, producer_sequence: u64) {
        let is_in = self.admitted.get(&producer_id).is_some_and(|&mark| producer_sequence <= mark);
        if producer_id != 0 && !is_in && self.blocked.len() < PRODUCERS_MAX {
            let first = self.blocked.entry(producer_id).or_insert(producer_sequence);
            *first = producer_sequence.min(*first);
        }
    }

    /// The newest event time of any applied record.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Advances sequence, mark and watermark past a record that has been applied.
    pub fn note_applied(&mut self, record: &Record<'_>) {
        debug_assert!(record.sequence > self.applied);
        self.applied = record.sequence;
        self.assigned = self.assigned.max(record.sequence);
        if record.kind != RecordKind::Erase {
            self.watermark = self.watermark.max(Some(record.event_time));
        }
        self.logged_watermark = self.logged_watermark.max(self.watermark);
        if record.producer_id != 0 {
            self.move_mark(record.producer_id, record.producer_sequence);
        }
    }

    fn move_mark(&mut self, producer_id: u64, producer_sequence: u64) {
        let old = self.marks.insert(producer_id, producer_sequence);
        let hash = |sequence: u64| xxh3_64_with_seed(&sequence.to_le_bytes(), producer_id);
        if let Some(old) = old {
            self.marks_digest = self.marks_digest.wrapping_sub(hash(old));
        }
        self.marks_digest = self.marks_digest.wrapping_add(hash(producer_sequence));
        let admitted = self.admitted.entry(producer_id).or_insert(producer_sequence);
        *admitted = producer_sequence.max(*admitted);
    }

    /// Adds to the live rows of a view, and to their key and value bytes.
    pub fn count(&mut self, view_id: ViewId, rows: i64, bytes: i64) {
        let at = view_id.0 as usize;
        if self.by_view.len() <= at {
            self.by_view.resize(at + 1, (0, 0));
        }
        if let Some((all_rows, all_bytes)) = self.by_view.get_mut(at) {
            *all_rows += rows;
            *all_bytes += bytes;
        }
    }

    /// Live rows and their key and value bytes, by view id.
    pub fn by_view(&self) -> &[(i64, i64)] {
        &self.by_view
    }

    /// What has been applied, as a checkpoint carries it.
    pub fn checkpoint(&self, number: u16) -> CheckpointPartition {
        let mut marks: Vec<_> = self.marks.iter().map(|(id, mark)| (*id, *mark)).collect();
        marks.sort_unstable();
        let views = self.by_view.iter().zip(0..).filter(|(count, _)| **count != (0, 0));
        CheckpointPartition {
            number,
            applied: self.applied,
            watermark: self.watermark,
            rows_digest: self.rows_digest,
            marks,
            views: views
                .map(|(&(rows, bytes), id)| CheckpointView { view_id: ViewId(id), rows, bytes })
                .collect(),
            erases: Vec::new(),
        }
    }

    /// A partition as it was when the checkpoint was taken; what was only admitted then is not in it.
    pub fn from_checkpoint(checkpoint: &CheckpointPartition) -> Self {
        let mut partition = Self {
            assigned: checkpoint.applied,
            applied: checkpoint.applied,
            watermark: checkpoint.watermark,
            logged_watermark: checkpoint.watermark,
            rows_digest: checkpoint.rows_digest,
            ..Self::default()
        };
        for (producer_id, sequence) in &checkpoint.marks {
            partition.move_mark(*producer_id, *sequence);
        }
        for view in &checkpoint.views {
            partition.count(view.view_id, view.rows, view.bytes);
        }
        partition
    }

    /// Replaces the digest share of one row by that of its successor.
    pub fn swap_row_digest(&mut self, old: Option<u64>, new: u64) {
        self.rows_digest = self.rows_digest.wrapping_sub(old.unwrap_or(0)).wrapping_add(new);
    }

    /// Takes the digest share of a row out that was erased.
    pub fn remove_row_digest(&mut self, old: u64) {
        self.rows_digest = self.rows_digest.wrapping_sub(old);
    }

    /// Digest of the whole state: equal states have equal digests, however they were reached.
    pub fn digest(&self) -> u64 {
        let mut bytes = [0u8; 32];
        let parts = [
            self.rows_digest,
            self.marks_digest,
            self.applied,
            self.watermark.unwrap_or(NO_TIME) as u64,
        ];
        for (chunk, part) in bytes.chunks_exact_mut(8).zip(parts) {
            chunk.copy_from_slice(&part.to_le_bytes());
        }
        xxh3_64_with_seed(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thermae_formats::SchemaId;

    #[test]
    fn a_refused_row_blocks_later_ones_of_its_producer_until_it_is_repeated() {
        let mut partition = Partition::default();
        partition.note_logged(7, 1, 0);
        partition.note_refused(7, 2);
        assert_eq!(partition.admission(7, 3), Admission::Blocked);
        assert_eq!(partition.admission(7, 2), Admission::Fresh);
        assert_eq!(partition.admission(8, 3), Admission::Fresh);
        partition.note_logged(7, 2, 0);
        assert_eq!(partition.admission(7, 3), Admission::Fresh);
        assert_eq!(partition.admission(7, 2), Admission::Duplicate);
    }

    #[test]
    fn an_older_row_behind_the_refusal_does_not_lift_it() {
        let mut partition = Partition::default();
        partition.note_refused(7, 5);
        partition.note_logged(7, 4, 0);
        assert_eq!(partition.admission(7, 6), Admission::Blocked);
        assert_eq!(partition.admission(7, 5), Admission::Fresh);
    }

    #[test]
    fn a_refused_repetition_of_a_row_that_is_in_blocks_nothing() {
        let mut partition = Partition::default();
        partition.note_logged(7, 5, 0);
        partition.note_refused(7, 4);
        partition.note_refused(7, 5);
        assert_eq!(partition.admission(7, 5), Admission::Duplicate);
        assert_eq!(partition.admission(7, 6), Admission::Fresh);
    }

    #[test]
    fn a_checkpoint_carries_what_was_applied_and_nothing_else() {
        let mut partition = Partition::default();
        for sequence in 1..=20 {
            partition.note_logged(sequence % 3, sequence, sequence as i64);
            partition.note_applied(&Record {
                kind: RecordKind::Put,
                flags: 0,
                schema_id: SchemaId(1),
                partition: 5,
                sequence,
                event_time: sequence as i64,
                created_time: NO_TIME,
                producer_id: sequence % 3,
                producer_sequence: sequence,
                expire_at: NO_TIME,
                key: b"",
                value: b"",
            });
            partition.swap_row_digest(None, sequence);
            partition.count(ViewId(sequence as u32 % 4), 1, 9);
        }
        partition.count(ViewId(2), -5, -45);
        let checkpoint = partition.checkpoint(5);
        assert_eq!((checkpoint.applied, checkpoint.watermark), (20, Some(20)));
        assert_eq!(checkpoint.marks, [(1, 19), (2, 20)]);
        let views: Vec<u32> = checkpoint.views.iter().map(|view| view.view_id.0).collect();
        assert_eq!(views, [0, 1, 3], "view 2 is empty");
        // Logged and not applied: lost with the process, and logged again.
        partition.note_logged(1, 30, 30);
        let again = Partition::from_checkpoint(&checkpoint);
        assert_eq!(again.digest(), partition.digest());
        assert_eq!(again.checkpoint(5), checkpoint);
        assert_eq!((again.next_sequence(), again.logged_watermark()), (21, Some(20)));
        assert_eq!(again.admission(1, 19), Admission::Duplicate);
        assert_eq!(again.admission(1, 30), Admission::Fresh);
    }

    #[test]
    fn producers_are_bounded_but_known_ones_go_on() {
        let mut partition = Partition::default();
        for producer in 1..=PRODUCERS_MAX as u64 {
            partition.note_logged(producer, 1, 0);
        }
        assert_eq!(partition.admission(u64::MAX, 1), Admission::TooManyProducers);
        assert_eq!(partition.admission(1, 2), Admission::Fresh);
        assert_eq!(partition.admission(0, 0), Admission::Fresh);
    }
}
