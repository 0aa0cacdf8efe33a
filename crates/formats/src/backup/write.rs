//! A backup's bytes.

use xxhash_rust::xxh3::xxh3_64;

use super::{BACKUP_MAGIC, BACKUP_VERSION, Backup};

impl Backup {
    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let manifest = self.manifest.to_bytes();
        let mut out = Vec::new();
        out.extend_from_slice(&BACKUP_MAGIC);
        out.extend_from_slice(&BACKUP_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.taken_us.to_le_bytes());
        out.extend_from_slice(&(manifest.len() as u64).to_le_bytes());
        out.extend_from_slice(&manifest);
        for file in &self.files {
            for word in [file.file_id, file.bytes].iter().chain(&file.pieces) {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}
