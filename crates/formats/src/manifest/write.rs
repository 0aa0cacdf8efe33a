//! A manifest's bytes.

use xxhash_rust::xxh3::xxh3_64;

use super::{LogStart, MANIFEST_MAGIC, MANIFEST_VERSION, Manifest, SealedLog, Tree};
use crate::table::TableRef;

impl Manifest {
    /// The manifest's bytes, in the present version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let ids: usize = self.trees.iter().map(|tree| tree.latest.len() + tree.history.len()).sum();
        let counts =
            [self.current.len(), self.sealed.len(), self.tables.len(), self.trees.len(), ids];
        let mut out = Vec::new();
        out.extend_from_slice(&MANIFEST_MAGIC);
        out.extend_from_slice(&MANIFEST_VERSION.to_le_bytes());
        out.extend_from_slice(&self.partitions.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        put_words(&mut out, &[self.hash_seed, self.segment_bytes, self.next_file_id]);
        for count in counts {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.covered_epoch.to_le_bytes());
        for log in &self.current {
            out.extend_from_slice(&u32::from(log.shard).to_le_bytes());
            out.extend_from_slice(&log.start.segment.to_le_bytes());
            put_words(&mut out, &words_of(&log.start));
        }
        for log in &self.sealed {
            put_sealed(&mut out, log);
        }
        for table in &self.tables {
            put_table(&mut out, table);
        }
        for tree in &self.trees {
            put_tree(&mut out, tree);
        }
        for tree in &self.trees {
            put_words(&mut out, &tree.latest);
            put_words(&mut out, &tree.history);
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}

fn put_words(out: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

const fn words_of(start: &LogStart) -> [u64; 4] {
    [start.salt, start.batches, start.records, start.chain]
}

fn put_sealed(out: &mut Vec<u8>, log: &SealedLog) {
    for half in [log.epoch, u32::from(log.shard), log.start.segment, log.segments] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    put_words(out, &words_of(&log.start));
    put_words(out, &[log.end_offset, log.batches, log.records, log.chain]);
}

fn put_table(out: &mut Vec<u8>, table: &TableRef) {
    let kind = table.kind as u64;
    put_words(out, &[table.file_id, kind, table.bytes, table.rows, table.tombstones]);
    put_words(out, &[table.min_event_time as u64, table.max_event_time as u64, table.checksum]);
}

fn put_tree(out: &mut Vec<u8>, tree: &Tree) {
    let lengths = [tree.latest.len() as u32, tree.history.len() as u32];
    for half in [u32::from(tree.shard), 0, lengths[0], lengths[1]] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    put_words(out, &[tree.checkpoint, tree.checkpoint_checksum]);
}
