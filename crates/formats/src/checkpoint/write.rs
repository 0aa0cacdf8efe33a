//! A checkpoint's bytes.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    CHECKPOINT_MAGIC, CHECKPOINT_VERSION, Checkpoint, CheckpointPartition, PLAIN_CHECKPOINT_VERSION,
};

impl Checkpoint {
    /// The checkpoint's bytes, and the checksum in their last 8, by which a manifest knows them.
    pub fn to_bytes(&self) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        out.extend_from_slice(&CHECKPOINT_MAGIC);
        let has_erases = self.partitions.iter().any(|partition| !partition.erases.is_empty());
        let version = if has_erases { CHECKPOINT_VERSION } else { PLAIN_CHECKPOINT_VERSION };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&(self.partitions.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.catalogue.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.file_id.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        for schema in &self.catalogue {
            let ids = [u32::from(schema.schema_id.0), schema.view_id.0, schema.json.len() as u32];
            for half in ids {
                out.extend_from_slice(&half.to_le_bytes());
            }
            out.extend_from_slice(&schema.json);
        }
        for partition in &self.partitions {
            put_partition(&mut out, partition);
            if has_erases {
                put_erases(&mut out, partition);
            }
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        (out, checksum)
    }
}

fn put_partition(out: &mut Vec<u8>, partition: &CheckpointPartition) {
    out.extend_from_slice(&partition.number.to_le_bytes());
    out.extend_from_slice(&u16::from(partition.watermark.is_some()).to_le_bytes());
    out.extend_from_slice(&(partition.views.len() as u32).to_le_bytes());
    out.extend_from_slice(&(partition.marks.len() as u64).to_le_bytes());
    out.extend_from_slice(&partition.applied.to_le_bytes());
    out.extend_from_slice(&partition.watermark.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&partition.rows_digest.to_le_bytes());
    for (producer_id, sequence) in &partition.marks {
        out.extend_from_slice(&producer_id.to_le_bytes());
        out.extend_from_slice(&sequence.to_le_bytes());
    }
    for view in &partition.views {
        out.extend_from_slice(&u64::from(view.view_id.0).to_le_bytes());
        out.extend_from_slice(&view.rows.to_le_bytes());
        out.extend_from_slice(&view.bytes.to_le_bytes());
    }
}

fn put_erases(out: &mut Vec<u8>, partition: &CheckpointPartition) {
    out.extend_from_slice(&(partition.erases.len() as u64).to_le_bytes());
    for erase in &partition.erases {
        out.extend_from_slice(&erase.sequence.to_le_bytes());
        out.extend_from_slice(&erase.view_id.0.to_le_bytes());
        out.extend_from_slice(&(erase.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&erase.key);
    }
}
