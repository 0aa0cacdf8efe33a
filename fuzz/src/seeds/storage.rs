//! Manifests and checkpoints to start from.

use std::collections::BTreeMap;

use thermae_formats::backup::{Backup, BackupFile};
use thermae_formats::checkpoint::{
    Checkpoint, CheckpointErase, CheckpointPartition, CheckpointSchema, CheckpointView,
};
use thermae_formats::manifest::{CurrentLog, LogStart, Manifest, SealedLog, Tree};
use thermae_formats::table::{TableKind, TableRef};
use thermae_formats::{SchemaId, ViewId};

const STORE_ID: [u8; 16] = [7; 16];

/// A manifest as version 1 wrote it; nothing writes it any more.
pub(super) const MANIFEST_1: &[u8] = include_bytes!("../../corpus/log_files/manifest-1");

/// A backup of one table and one checkpoint.
pub(super) fn backup() -> Backup {
    let mut manifest = manifest();
    (manifest.current, manifest.sealed) = (Vec::new(), Vec::new());
    manifest.covered_epoch = manifest.epoch;
    manifest.tables.truncate(1);
    manifest.trees.truncate(1);
    for tree in &mut manifest.trees {
        (tree.latest, tree.history) = (vec![2], Vec::new());
    }
    let file = |file_id, bytes| BackupFile { file_id, bytes, pieces: vec![file_id] };
    Backup {
        taken_us: super::TIME,
        manifest,
        files: vec![file(2, 8192), file(6, 90)],
        archive: None,
        attachments: BTreeMap::new(),
    }
}

pub(super) fn manifest() -> Manifest {
    let later = LogStart { segment: 3, salt: 8, batches: 40, records: 70, chain: 6 };
    let table = |file_id, kind| TableRef {
        file_id,
        kind,
        bytes: 8192,
        rows: 9,
        tombstones: 1,
        min_event_time: -1,
        max_event_time: super::TIME,
        checksum: 5,
    };
    let tree = |shard, latest: &[u64], checkpoint| Tree {
        shard,
        latest: latest.to_vec(),
        history: vec![4],
        checkpoint,
        checkpoint_checksum: checkpoint,
    };
    Manifest {
        store_id: STORE_ID,
        hash_seed: 11,
        partitions: 64,
        segment_bytes: 1 << 20,
        epoch: 2,
        covered_epoch: 0,
        current: vec![
            CurrentLog { shard: 0, start: later },
            CurrentLog { shard: 1, start: LogStart::first(&STORE_ID, 2, 1, 9) },
        ],
        sealed: vec![SealedLog {
            epoch: 1,
            shard: 0,
            start: LogStart::first(&STORE_ID, 1, 0, 5),
            segments: 2,
            end_offset: 8192,
            batches: 4,
            records: 9,
            chain: 6,
        }],
        next_file_id: 8,
        tables: vec![
            table(2, TableKind::Latest),
            table(4, TableKind::History),
            table(5, TableKind::Latest),
        ],
        trees: vec![tree(0, &[5, 2], 6), tree(1, &[2], 0)],
    }
}

pub(super) fn checkpoints() -> [(&'static str, Checkpoint); 3] {
    let empty = Checkpoint {
        store_id: STORE_ID,
        file_id: 6,
        generation: 0,
        catalogue: Vec::new(),
        partitions: Vec::new(),
    };
    let partition = CheckpointPartition {
        number: 5,
        applied: 9,
        watermark: Some(super::TIME),
        rows_digest: 3,
        marks: vec![(4, 8), (5, 1)],
        views: vec![CheckpointView { view_id: ViewId(1), rows: 7, bytes: 400 }],
        erases: Vec::new(),
    };
    let unused = CheckpointPartition {
        number: 7,
        applied: 0,
        watermark: None,
        rows_digest: 0,
        marks: Vec::new(),
        views: Vec::new(),
        erases: Vec::new(),
    };
    let schema = CheckpointSchema {
        schema_id: SchemaId(3),
        view_id: ViewId(1),
        json: super::view().to_json().unwrap_or_default(),
    };
    let full = Checkpoint {
        generation: 1,
        catalogue: vec![schema],
        partitions: vec![partition, unused],
        ..empty.clone()
    };
    let mut erased = full.clone();
    let key = b"\x03\0JFK".to_vec();
    erased.partitions[0].erases = vec![CheckpointErase { view_id: ViewId(1), sequence: 8, key }];
    [("empty", empty), ("full", full), ("erased", erased)]
}
