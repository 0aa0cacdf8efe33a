//! How large the buffers of flushes and merges are: derived from the memory that they may take.

/// Merges at a time, each of which reads several tables.
const MERGES: u64 = 3;
/// Bytes of a read of a table, at least and at most.
const SCAN_BYTES: (usize, usize) = (16 << 10, 512 << 10);
/// Tables that are written at a time: a flush, three nested merges, and a merge's parts of history.
const WRITERS: u64 = 12;
/// Heap bytes that one hash costs while the filter of its part is built, and before (its vector may just
/// have doubled).
const BUILT_BYTES: u64 = 40;
const COLLECTED_BYTES: u64 = 16;
/// Parts that are collected at a time at full length, beside the one that is built.
const COLLECTING: u64 = 3;

/// Sizes of the buffers of one shard's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Bytes that all tables of one merge are read into; each gets its part.
    pub merge_bytes: usize,
    /// Bytes that are collected for one write to a table.
    pub write_bytes: usize,
    /// Distinct rows of one part of a filter. Smaller parts take up to a tenth more bytes a row.
    pub filter_hashes: usize,
}

impl Default for Buffers {
    /// As large as is of any use.
    fn default() -> Self {
        Self { merge_bytes: 4 << 20, write_bytes: 1 << 20, filter_hashes: 1 << 20 }
    }
}

impl Buffers {
    /// Buffers that take at most `bytes` together: three eighths to reads, a quarter to writes, the rest to filters
    /// being built. Below 4 MiB they take more, because smaller ones would not work.
    pub fn within(bytes: u64) -> Self {
        let most = Self::default();
        let page = 4096;
        let merge_bytes = bytes * 3 / 8 / MERGES / page * page;
        let write_bytes = bytes / 4 / WRITERS / page * page;
        let filter_hashes = bytes * 3 / 8 / (BUILT_BYTES + COLLECTING * COLLECTED_BYTES);
        Self {
            merge_bytes: merge_bytes.clamp(64 << 10, most.merge_bytes as u64) as usize,
            write_bytes: write_bytes.clamp(32 << 10, most.write_bytes as u64) as usize,
            filter_hashes: filter_hashes.clamp(1 << 12, most.filter_hashes as u64) as usize,
        }
    }

    /// Bytes that a merge of `sources` tables reads at once from each, unless a block is larger.
    pub fn scan_bytes(&self, sources: usize) -> usize {
        let page = 4096;
        let part = self.merge_bytes / sources.max(1) / page * page;
        part.clamp(SCAN_BYTES.0, SCAN_BYTES.1)
    }

    /// Bytes that they take together at most.
    pub fn bytes(&self) -> u64 {
        let filters = self.filter_hashes as u64 * (BUILT_BYTES + COLLECTING * COLLECTED_BYTES);
        MERGES * self.merge_bytes as u64 + WRITERS * self.write_bytes as u64 + filters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_stay_within_what_they_are_given_and_grow_with_it() {
        let mut before = Buffers::within(0);
        for mib in 4..400 {
            let now = Buffers::within(mib << 20);
            assert!(now.bytes() <= mib << 20, "{mib} MiB: {now:?}");
            assert!(now.bytes() >= before.bytes());
            before = now;
        }
        assert_eq!(Buffers::within(1 << 30), Buffers::default());
    }

    #[test]
    fn the_fewer_tables_a_merge_reads_the_more_it_reads_at_once() {
        let buffers = Buffers { merge_bytes: 300 << 10, ..Buffers::default() };
        assert_eq!(
            [2, 6, 16, 0].map(|tables| buffers.scan_bytes(tables) >> 10),
            [148, 48, 16, 300]
        );
        assert_eq!(Buffers::default().scan_bytes(2), 512 << 10);
    }
}
