//! Placement: hash, slot, partition, shard.

use std::collections::HashSet;

use thermae_formats::ViewId;
use thermae_formats::hash::{
    SLOTS, checksum32, entity_hash, partition_of, row_hash, shard_of, slot_of,
};

#[test]
fn hashes_are_pinned() {
    // Changing any of these makes every data directory unreadable. Another implementation of XXH3 and of the
    // mixing gave the same values.
    let hash = entity_hash(b"\x03\x00JFK", 42);
    assert_eq!(hash, 0x5b58_6295_960e_1c21);
    assert_ne!(hash, entity_hash(b"\x03\x00JFK", 43));
    assert_eq!(row_hash(hash, ViewId(0)), 0xee34_4642_5627_b1c5);
    assert_eq!(row_hash(hash, ViewId(1)), 0x4dd8_25da_d358_ff83);
    assert_eq!(checksum32(b"thermae"), 0xf8a9_67c4);
}

#[test]
fn slots_fill_partitions_evenly_and_in_order() {
    for partitions in [1, 2, 3, 16, 100, 4096] {
        let mut counts = vec![0_u32; usize::from(partitions)];
        let mut last = 0;
        for slot in 0..u64::from(SLOTS) {
            let hash = slot << 52 | 0xf_ffff;
            assert_eq!(u64::from(slot_of(hash)), slot);
            let partition = partition_of(hash, partitions);
            assert!(partition >= last);
            last = partition;
            counts[usize::from(partition)] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{partitions} partitions: {least}..{most}");
    }
    assert_eq!(partition_of(u64::MAX, 4096), 4095);
    assert_eq!((shard_of(5, 2), shard_of(4, 2), shard_of(7, 1)), (1, 0, 0));
}

#[test]
fn views_of_one_entity_spread_over_buckets() {
    let hash = entity_hash(b"key", 1);
    let low: HashSet<u64> = (0..256).map(|v| row_hash(hash, ViewId(v)) & 0xff).collect();
    let high: HashSet<u64> = (0..256).map(|v| row_hash(hash, ViewId(v)) >> 56).collect();
    // 256 throws into 256 boxes leave about 94 empty.
    assert!(low.len() > 130 && high.len() > 130, "{} {}", low.len(), high.len());
}
