//! A backup's bytes.

use xxhash_rust::xxh3::xxh3_64;

use super::{BACKUP_MAGIC, BACKUP_VERSION, Backup, BackupArchive};

impl Backup {
    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let manifest = self.manifest.to_bytes();
        let mut out = Vec::new();
        out.extend_from_slice(&BACKUP_MAGIC);
        let version = match (&self.archive, self.attachments.is_empty()) {
            (None, true) => 1,
            (Some(_), true) => 2,
            (_, false) => BACKUP_VERSION,
        };
        out.extend_from_slice(&version.to_le_bytes());
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
        if version == BACKUP_VERSION {
            out.extend_from_slice(&u32::from(self.archive.is_some()).to_le_bytes());
        }
        if let Some(archive) = &self.archive {
            archive.write(&mut out);
        }
        if version == BACKUP_VERSION {
            out.extend_from_slice(&(self.attachments.len() as u32).to_le_bytes());
            for (name, bytes) in &self.attachments {
                out.extend_from_slice(&(name.len() as u32).to_le_bytes());
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(bytes);
            }
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}

impl BackupArchive {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&(self.views.len() as u32).to_le_bytes());
        for (view, before_us) in &self.views {
            out.extend_from_slice(&view.0.to_le_bytes());
            out.extend_from_slice(&before_us.to_le_bytes());
        }
        out.extend_from_slice(&(self.tables.len() as u32).to_le_bytes());
        for (path, table) in &self.tables {
            out.extend_from_slice(&(path.len() as u32).to_le_bytes());
            out.extend_from_slice(&table.commits.to_le_bytes());
            out.extend_from_slice(&(table.state.len() as u64).to_le_bytes());
            out.extend_from_slice(path.as_bytes());
            out.extend_from_slice(&table.state);
        }
    }
}
