//! A file of format version 1, kept: every later build reads it.

#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use thermae_formats::SchemaId;

use super::rows::*;
use crate::cold::{ColdScan, FileRef};
use crate::testing::Rng;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/archive-1.parquet");
/// What a log says of it: bytes of its tail, and their checksum.
const LISTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/archive-1.txt");

#[test]
fn the_golden_file_reads_as_what_was_written() {
    let view = view_of_all();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(77), &view, SchemaId(3), 15_000, 6, 30);
    let (file, bytes) = write(&columns, &rows);
    if std::env::var_os("THERMAE_BLESS").is_some() {
        std::fs::write(GOLDEN, &bytes).unwrap();
        std::fs::write(LISTED, format!("{} {:016x}\n", file.tail_bytes, file.tail_checksum))
            .unwrap();
    }
    // Another release of the Parquet writer may write other bytes: what must stay is that these read.
    let (golden, listed) =
        (std::fs::read(GOLDEN).unwrap(), std::fs::read_to_string(LISTED).unwrap());
    let (tail_bytes, tail_checksum) = listed.trim().split_once(' ').unwrap();
    let file = FileRef {
        bytes: golden.len() as u64,
        tail_bytes: tail_bytes.parse().unwrap(),
        tail_checksum: u64::from_str_radix(tail_checksum, 16).unwrap(),
        ..file
    };
    let objects = store_of(&file, golden.into());
    let file = open(&objects, &file, &columns);
    assert_eq!(read_all(ColdScan::new(Arc::clone(&objects), file).unwrap()), rows);
}
