//! How large the buffers of flushes and merges are: derived from the memory that they may take.

/// Tables that merges read at a time: by the pace of writes at most 16 runs, and as many of history.
const SOURCES: u64 = 32;
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
    /// Bytes that a scan reads at once from a table, unless a block is larger.
    pub scan_bytes: usize,
    /// Bytes that are collected for one write to a table.
    pub write_bytes: usize,
    /// Distinct rows of one part of a filter. Smaller parts take up to a tenth more bytes a row.
    pub filter_hashes: usize,
}

impl Default for Buffers {
    /// As large as is of any use.
    fn default() -> Self {
        Self { scan_bytes: 512 << 10, write_bytes: 1 << 20, filter_hashes: 1 << 20 }
    }
}

impl Buffers {
    /// Buffers that take at most `bytes` together: three eighths to scans, an eighth to writes, a half to
    /// filters being built. Below 4 MiB they take more, because smaller ones would not work.
    pub fn within(bytes: u64) -> Self {
        let most = Self::default();
        let page = 4096;
        let scan_bytes = bytes * 3 / 8 / SOURCES / page * page;
        let write_bytes = bytes / 8 / WRITERS / page * page;
        let filter_hashes = bytes / 2 / (BUILT_BYTES + COLLECTING * COLLECTED_BYTES);
        Self {
            scan_bytes: scan_bytes.clamp(32 << 10, most.scan_bytes as u64) as usize,
            write_bytes: write_bytes.clamp(32 << 10, most.write_bytes as u64) as usize,
            filter_hashes: filter_hashes.clamp(1 << 12, most.filter_hashes as u64) as usize,
        }
    }

    /// Bytes that they take together at most.
    pub fn bytes(&self) -> u64 {
        let filters = self.filter_hashes as u64 * (BUILT_BYTES + COLLECTING * COLLECTED_BYTES);
        SOURCES * self.scan_bytes as u64 + WRITERS * self.write_bytes as u64 + filters
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
}
