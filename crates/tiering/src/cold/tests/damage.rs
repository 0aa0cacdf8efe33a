//! Bytes that are not what was written: an error that names the object, never a panic, never a value.

use std::sync::Arc;

use bytes::Bytes;
use thermae_formats::SchemaId;

use super::rows::*;
use crate::cold::{ColdError, ColdFile, ColdScan, Columns, FileRef, Store};
use crate::merge::Source;
use crate::testing::Rng;

fn read(bytes: Bytes, file: &FileRef, columns: &Arc<Columns>) -> Result<Vec<Owned>, ColdError> {
    let objects = store_of(file, bytes);
    let file = Arc::new(ColdFile::open(&*objects, &file.path, file, STORE, columns)?);
    let mut scan = ColdScan::new(objects, file)?;
    let mut found = Vec::new();
    while let Some((_, hash, version)) = scan.peek() {
        found.push(Owned::of(hash, &version));
        scan.advance()?;
    }
    Ok(found)
}

fn sample() -> (Arc<Columns>, FileRef, Vec<u8>) {
    let view = view_of_all();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(8), &view, SchemaId(3), 15_000, 20, 60);
    let (file, bytes) = write(&columns, &rows);
    (columns, file, bytes.to_vec())
}

#[test]
fn every_flipped_byte_is_damage_that_names_the_object_and_the_place() {
    let (columns, file, bytes) = sample();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = read(flipped.into(), &file, &columns).unwrap_err();
        let ColdError::Damaged { object, offset_bytes, .. } = &error else {
            unreachable!("{error} at {at}")
        };
        assert_eq!(object, &file.path);
        assert!(*offset_bytes <= at as u64);
    }
}

#[test]
fn a_truncated_object_is_an_error_at_every_length() {
    let (columns, file, bytes) = sample();
    for len in (0..bytes.len()).step_by(37) {
        let cut = Bytes::copy_from_slice(&bytes[..len]);
        assert!(read(cut, &file, &columns).is_err(), "{len}");
    }
}

/// Checksums keep hostile bytes from the parsers; this is what they do with a footer that passes.
#[test]
fn a_tail_that_bears_the_right_checksum_never_panics() {
    let (columns, file, bytes) = sample();
    let begin = (file.bytes - file.tail_bytes) as usize;
    let mut rng = Rng::new(3);
    for _ in 0..3_000 {
        let mut hostile = bytes.clone();
        for _ in 0..1 + rng.below(4) {
            let at = begin + rng.below(file.tail_bytes) as usize;
            hostile[at] = rng.next_u64() as u8;
        }
        let tail_checksum = xxhash_rust::xxh3::xxh3_64(&hostile[begin..]);
        let file = FileRef { tail_checksum, ..file.clone() };
        let _ = read(hostile.into(), &file, &columns);
    }
}

#[test]
fn a_file_of_another_store_schema_or_version_is_refused_by_name() {
    let (columns, file, bytes) = sample();
    let objects = store_of(&file, bytes.clone().into());
    let open = |store, columns: &Arc<Columns>| {
        ColdFile::open(&*objects, &file.path, &file, store, columns).map(|_| ()).unwrap_err()
    };
    let of_another = |error: ColdError, expected: &str| {
        assert!(matches!(&error, ColdError::Foreign { what, .. } if *what == expected), "{error}");
    };
    of_another(open(Store { id: [1; 16], ..STORE }, &columns), "store");
    of_another(open(Store { hash_seed: 1, ..STORE }, &columns), "hash_seed");
    let view = view_of_all();
    let newer = Arc::new(Columns::new(VIEW, &[(SchemaId(4), &view)]).unwrap());
    of_another(open(STORE, &newer), "schema");
    let text = "thermae.format";
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    // The value follows its key: a field header and a length of one.
    let mut later = bytes;
    assert_eq!(later[at + text.len() + 2], b'1');
    later[at + text.len() + 2] = b'2';
    let begin = (file.bytes - file.tail_bytes) as usize;
    let tail_checksum = xxhash_rust::xxh3::xxh3_64(&later[begin..]);
    let file = FileRef { tail_checksum, ..file.clone() };
    let error = read(later.into(), &file, &columns).unwrap_err();
    assert!(matches!(&error, ColdError::Version { version, .. } if version == "2"), "{error}");
}
