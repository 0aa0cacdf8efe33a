//! How a log is written and recovered.

use thermae_formats::batch::{BATCH_ALIGN, MAX_BATCH_BYTES};
use thermae_formats::manifest::MAX_PARTITIONS;
use thermae_formats::segment::{
    MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, SEGMENT_HEADER_BYTES, valid_segment_bytes,
};

use super::LogError;

/// What to do when bytes that had been acknowledged are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Refuse to open, naming file and offset.
    Refuse,
    /// Replay everything that verifies and write nothing: the result has no writers.
    Salvage,
}

/// How a log is written and recovered. Every duration is in nanoseconds.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Partitions of the store (1 to 4096); used only when the directory is created.
    pub partitions: u16,
    /// Length of a segment file, a multiple of 4096 from 16 KiB to 4 GiB.
    pub segment_bytes: u64,
    /// Largest batch, with header and padding; smaller when a segment holds less.
    pub max_batch_bytes: u32,
    /// Batch writes in flight before the open batch waits and collects.
    pub max_in_flight: usize,
    /// Idleness after which a batch without records states the horizon.
    pub horizon_idle_ns: u64,
    /// Longest wait between a `logged` batch and the start of the sync that makes it durable.
    pub sync_after_ns: u64,
    /// Time between two attempts to make a segment that did not fit on the disk.
    pub retry_after_ns: u64,
    /// What to do about damage.
    pub damage: OnDamage,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            partitions: 64,
            segment_bytes: 64 << 20,
            max_batch_bytes: 1 << 20,
            max_in_flight: 4,
            horizon_idle_ns: 10_000_000,
            sync_after_ns: 50_000_000,
            retry_after_ns: 1_000_000_000,
            damage: OnDamage::Refuse,
        }
    }
}

impl LogOptions {
    pub(super) fn check(&self) -> Result<(), LogError> {
        let refuse = |what: String| Err(LogError::Options(what));
        if self.partitions == 0 || self.partitions > MAX_PARTITIONS {
            return refuse(format!(
                "partitions: {} is not in 1..={MAX_PARTITIONS}",
                self.partitions
            ));
        }
        if !valid_segment_bytes(self.segment_bytes) {
            return refuse(format!(
                "segment_bytes: {} is no multiple of 4096 in {MIN_SEGMENT_BYTES}..={MAX_SEGMENT_BYTES}",
                self.segment_bytes
            ));
        }
        let batch = self.max_batch_bytes as usize;
        if !(BATCH_ALIGN..=MAX_BATCH_BYTES).contains(&batch) {
            return refuse(format!("max_batch_bytes: {batch} is not in 4096..={MAX_BATCH_BYTES}"));
        }
        if self.max_in_flight == 0 || self.max_in_flight > 1024 {
            return refuse(format!("max_in_flight: {} is not in 1..=1024", self.max_in_flight));
        }
        Ok(())
    }

    /// Largest batch that fits both the option and an empty segment of `segment_bytes`, which keeps
    /// a block for the batch that closes it.
    pub(super) fn batch_limit(&self, segment_bytes: u64) -> usize {
        let segment = segment_bytes as usize - SEGMENT_HEADER_BYTES - BATCH_ALIGN;
        (self.max_batch_bytes as usize).min(segment) / BATCH_ALIGN * BATCH_ALIGN
    }
}
