//! Targets over what lies on disk: batches, segment headers and names, the manifest, checkpoints.

use thermae_formats::backup::{Backup, BackupName, FileName};
use thermae_formats::batch::{BATCH_HEADER_BYTES, BatchView, Unchecked};
use thermae_formats::checkpoint::Checkpoint;
use thermae_formats::manifest::{MANIFEST_VERSION, Manifest};
use thermae_formats::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The segment that the batch target's batches lie in, at offset [`OFFSET`].
pub const SEGMENT: SegmentHeader = SegmentHeader {
    store_id: [7; 16],
    epoch: 3,
    shard: 1,
    number: 2,
    salt: 0x1234_5678_9abc_def0,
    segment_bytes: 1 << 20,
};
/// Where in the segment.
pub const OFFSET: u64 = 4096;

/// A batch as it is, and again with its place and checksums made right: what verifies has all the records it
/// promises, each within the bytes given.
pub fn log_batch(data: &[u8]) {
    check_batch(data);
    let mut sealed = data.to_vec();
    if seal_batch(&mut sealed).is_some() {
        check_batch(&sealed);
    }
}

fn check_batch(data: &[u8]) {
    let Ok(batch) = BatchView::parse(Unchecked::new(data), &SEGMENT, OFFSET) else { return };
    let header = batch.header();
    assert!(header.batch_bytes as usize <= data.len());
    assert!(header.horizon < header.number);
    let records: Vec<_> = batch.records().collect();
    assert_eq!(records.len(), header.records as usize);
    let bytes: usize = records.iter().map(|record| record.key.len() + record.value.len()).sum();
    assert!(bytes <= header.payload_bytes as usize);
}

/// Writes the place and both checksums into a batch's header, as docs/formats/log.md says.
fn seal_batch(data: &mut [u8]) -> Option<()> {
    let batch_bytes = u32::from_le_bytes(data.get(64..68)?.try_into().ok()?) as usize;
    let (header, body) = data.split_at_mut_checked(BATCH_HEADER_BYTES)?;
    let body = body.get(..batch_bytes.checked_sub(BATCH_HEADER_BYTES)?)?;
    let mut place = Vec::with_capacity(34);
    place.extend_from_slice(&SEGMENT.store_id);
    place.extend_from_slice(&SEGMENT.epoch.to_le_bytes());
    place.extend_from_slice(&SEGMENT.shard.to_le_bytes());
    place.extend_from_slice(&SEGMENT.number.to_le_bytes());
    place.extend_from_slice(&OFFSET.to_le_bytes());
    let key = xxh3_64_with_seed(&place, SEGMENT.salt);
    header[80..88].copy_from_slice(&xxh3_64_with_seed(body, key).to_le_bytes());
    let checksum = xxh3_64_with_seed(&header[..88], key);
    header[88..96].copy_from_slice(&checksum.to_le_bytes());
    Some(())
}

/// Segment headers, segment names and manifests, each as it is and with its checksum made right: what
/// is accepted is written back to the same bytes.
pub fn log_files(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(name) = text.parse::<SegmentName>()
    {
        assert_eq!(name.to_string(), text);
    }
    check_segment(data);
    check_manifest(data);
    let mut block = data.to_vec();
    block.resize(SEGMENT_HEADER_BYTES, 0);
    seal(&mut block);
    check_segment(&block);
    let mut manifest = data.to_vec();
    seal(&mut manifest);
    check_manifest(&manifest);
}

/// The last eight bytes become the checksum of the rest.
fn seal(bytes: &mut [u8]) {
    if let Some((body, checksum)) = bytes.split_last_chunk_mut::<8>() {
        *checksum = xxh3_64(body).to_le_bytes();
    }
}

fn check_segment(data: &[u8]) {
    if let Ok(header) = SegmentHeader::parse(data) {
        assert_eq!(header.to_bytes(), data[..SEGMENT_HEADER_BYTES]);
    }
}

fn check_manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        let bytes = manifest.to_bytes();
        assert!(bytes == data || Manifest::parse(&bytes).is_ok_and(|again| again == manifest));
        assert_eq!(bytes == data, data[8] == MANIFEST_VERSION as u8);
    }
}

/// The file of a backup, the same way; and a name of one.
pub fn backup(data: &[u8]) {
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    for bytes in [data, &sealed] {
        if let Ok(backup) = Backup::parse(bytes) {
            assert_eq!(backup.to_bytes(), bytes);
            assert_eq!(backup.names().len(), backup.files.len());
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<BackupName>() {
        assert_eq!(BackupName::of_file(&name.file()), Some(name));
    }
    if let Ok(name) = text.parse::<FileName>() {
        assert_eq!(name.to_string(), text);
    }
}

/// A checkpoint as it is, and again with its checksum made right: what is accepted is written back to
/// the same bytes.
pub fn checkpoint(data: &[u8]) {
    check_checkpoint(data);
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    check_checkpoint(&sealed);
}

fn check_checkpoint(data: &[u8]) {
    if let Ok((checkpoint, checksum)) = Checkpoint::parse(data) {
        assert_eq!(checkpoint.to_bytes(), (data.to_vec(), checksum));
    }
}
