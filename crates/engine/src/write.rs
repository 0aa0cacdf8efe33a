//! Writes as the engine takes them: one arena of bytes, one small descriptor a row.

use std::ops::Range;
use std::sync::Arc;

use thermae_formats::NO_TIME;
use thermae_formats::catalogue::{SchemaId, ViewId};

use crate::catalogue::Schema;

/// When a write is acknowledged (DESIGN.md section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The batch completed a direct, synchronous write: survives power loss.
    Durable,
    /// The direct write completed; the device flush follows within 100 ms.
    Logged,
    /// A quorum of the replicated log holds it. Refused until there is one.
    Replicated,
}

/// What one row of a batch asks for.
#[derive(Clone, Debug)]
pub enum WriteKind {
    /// A whole row in the value encoding of its schema.
    Put,
    /// Some features; the owner merges them onto the newest live row.
    Partial {
        /// Feature indices in the schema's order; the value is a row of exactly these.
        features: Arc<[u16]>,
    },
    /// A tombstone at the given event time.
    Delete,
    /// Everything of the row that was written before goes, from every tier; its times and value are not
    /// looked at.
    Erase,
}

/// One row of a batch; `key` and `value` are ranges of [`WriteBatch::bytes`].
#[derive(Clone, Debug)]
pub struct RowWrite {
    /// Put, partial, delete or erase.
    pub kind: WriteKind,
    /// The view written to.
    pub view_id: ViewId,
    /// The schema that the value is encoded by.
    pub schema_id: SchemaId,
    /// The value has no null bitmap.
    pub dense: bool,
    /// When the fact was true, microseconds UTC.
    pub event_time: i64,
    /// When we learnt it, microseconds UTC, or `NO_TIME`.
    pub created_time: i64,
    /// Absolute expiry of this row, microseconds UTC, or `NO_TIME`.
    pub expire_at: i64,
    /// Position in the producer's sequence; meaningless when the batch has no producer.
    pub producer_sequence: u64,
    /// The encoded entity key.
    pub key: Range<u32>,
    /// The encoded value; empty for a delete.
    pub value: Range<u32>,
}

impl RowWrite {
    /// A delete at an event time, by no producer and without other times; with a value and another kind, any
    /// row is made of it.
    pub fn delete(schema: &Schema, event_time: i64, key: Range<u32>) -> Self {
        RowWrite {
            kind: WriteKind::Delete,
            view_id: schema.view_id,
            schema_id: schema.id,
            dense: false,
            event_time,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            producer_sequence: 0,
            key,
            value: 0..0,
        }
    }
}

/// Rows to write under one acknowledgement mode by one producer.
///
/// The caller has checked the bytes: keys split whole by the view's key types, values pass
/// `RowLayout::validate` for their schema.
#[derive(Clone, Debug)]
pub struct WriteBatch {
    /// When to acknowledge.
    pub ack: Ack,
    /// Who writes; 0 means nobody in particular, and nothing is deduplicated.
    pub producer_id: u64,
    /// The rows, in the producer's order.
    pub rows: Vec<RowWrite>,
    /// Keys and values.
    pub bytes: Vec<u8>,
    /// The caller has no room for this batch: every row is refused as `Overloaded`, and the later
    /// rows of its producer wait for it, which a refusal outside the engine could not see to.
    pub is_refused: bool,
    /// What the gate made of rows, by rising row; it admits those that are not here.
    verdicts: Vec<(u32, Verdict)>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new(ack: Ack, producer_id: u64) -> Self {
        WriteBatch {
            ack,
            producer_id,
            rows: Vec::new(),
            bytes: Vec::new(),
            is_refused: false,
            verdicts: Vec::new(),
        }
    }

    /// Appends bytes to the arena and returns where they lie.
    pub fn store(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len() as u32
    }

    /// Says what becomes of rows, by rising row; those that are not named are admitted.
    pub fn mark(&mut self, verdicts: Vec<(u32, Verdict)>) {
        self.verdicts = verdicts;
    }

    /// What the gate made of a row; none if it admits it.
    pub(crate) fn verdict(&self, row: u32) -> Option<Verdict> {
        let found = self.verdicts.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        self.verdicts.get(found).map(|(_, verdict)| *verdict)
    }

    /// The encoded key of a row.
    pub fn key(&self, row: &RowWrite) -> &[u8] {
        self.slice(&row.key)
    }

    /// The encoded value of a row.
    pub fn value(&self, row: &RowWrite) -> &[u8] {
        self.slice(&row.value)
    }

    /// What is left to do of a batch that is refused whole: its producer's later rows are to wait for it,
    /// which takes the keys alone.
    pub(crate) fn without_values(mut self) -> Self {
        let mut bytes = Vec::new();
        for row in &mut self.rows {
            let (start, range) = (bytes.len() as u32, row.key.start as usize..row.key.end as usize);
            bytes.extend_from_slice(self.bytes.get(range).unwrap_or_default());
            (row.key, row.value) = (start..bytes.len() as u32, 0..0);
        }
        self.bytes = bytes;
        self
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

/// What a gate made of a row. `check` is the number of the rule, by which whoever set the gate can say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not to be written.
    Refuse {
        /// The rule.
        check: u16,
    },
    /// It was made a row of a quarantine, and is to be written there: at the partition's newest event time, which it
    /// does not move, or at its own where there is none.
    Quarantine {
        /// The rule.
        check: u16,
    },
}

/// The level that an acknowledged write reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The direct write completed.
    Logged,
    /// The synchronous write completed.
    Durable,
}

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, and applied: it is the newest row of its entity, or a late one.
    Ok {
        /// The partition that holds it.
        partition: u16,
        /// Its sequence number there: with the partition, a token for `min_offset`.
        sequence: u64,
        /// How safe it is.
        level: Level,
        /// It had been written before under the same producer sequence; nothing changed.
        duplicate: bool,
    },
    /// It was not written and will not be.
    NotApplied(Refusal),
    /// It cannot be told; repeating it under the same producer sequence is safe.
    InDoubt,
}

/// Why a row was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A partial row older than the newest row.
    #[error("older than the newest row: a partial write cannot amend history")]
    Late,
    /// The event time lies too far ahead of the server's clock.
    #[error("its event time lies further in the future than the allowed skew")]
    FutureEventTime,
    /// The log has no room.
    #[error("the disk is full: free some space, writes resume by themselves")]
    DiskFull,
    /// A write to the log failed; the shard takes no more.
    #[error("the log failed earlier: restart to recover from it")]
    ReadOnly,
    /// Too many writes are on their way already.
    #[error("too many writes are on their way: repeat this one in {retry_ms} ms")]
    Overloaded {
        /// When a repetition has a chance, in milliseconds; 0 where nothing is known.
        retry_ms: u32,
    },
    /// An earlier row of this producer was refused for a passing cause.
    #[error("an earlier row of this producer was refused: repeat that one first")]
    BlockedBehind,
    /// The schema is not, or no longer, in the catalogue.
    #[error("its schema is unknown: describe the view again")]
    UnknownSchema,
    /// Key and value exceed a row's limit.
    #[error("the row is too large")]
    RowTooLarge,
    /// It fails a check of its view.
    #[error("it fails check {check} of its view")]
    FailsCheck {
        /// The number of the check.
        check: u16,
    },
    /// It fails a check of its view, and is kept in the view's quarantine.
    #[error("it fails check {check} of its view, and is in its quarantine")]
    Quarantined {
        /// The number of the check.
        check: u16,
    },
    /// A mode that this store does not have.
    #[error("this acknowledgement mode needs a replicated log")]
    Unsupported,
    /// The partition remembers as many producers as it may.
    #[error("too many producers: reuse producer ids")]
    TooManyProducers,
    /// The base row of a partial write is damaged.
    #[error("the row to merge onto is damaged: write the whole row")]
    CorruptBase,
    /// The base row of a partial write lies in the archive, which does not answer.
    #[error(
        "the row to merge onto lies in the archive, which does not answer: repeat this one later, or write the \
         whole row"
    )]
    ArchiveUnavailable,
}

impl Refusal {
    /// The same row may be accepted later, so later rows of its producer must wait for it: the
    /// producer's high-water mark could not tell it from a duplicate once they are in.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Refusal::DiskFull
                | Refusal::ReadOnly
                | Refusal::Overloaded { .. }
                | Refusal::BlockedBehind
                | Refusal::UnknownSchema
                | Refusal::ArchiveUnavailable
        )
    }
}
