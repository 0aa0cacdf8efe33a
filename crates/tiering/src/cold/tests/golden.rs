//! A file of format version 1, kept: every later build reads it.

use std::sync::Arc;

use thermae_formats::SchemaId;

use super::rows::*;
use crate::cold::{ColdScan, FileRef};
use crate::testing::Rng;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/archive-1.parquet");

#[test]
fn the_golden_file_reads_as_what_was_written() {
    let view = view_of_all();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(77), &view, SchemaId(3), 15_000, 6, 30);
    let (file, bytes) = write(&columns, &rows);
    if std::env::var_os("THERMAE_BLESS").is_some() {
        std::fs::write(GOLDEN, &bytes).unwrap();
    }
    // Other releases of the Parquet writer may write other bytes: what must stay is that this reads.
    let golden = std::fs::read(GOLDEN).unwrap();
    let file = FileRef {
        path: "event_date=2011-01-26/a40c84ba29c1a3cd-1f40.parquet".to_owned(),
        bytes: golden.len() as u64,
        tail_bytes: TAIL_BYTES,
        tail_checksum: TAIL_CHECKSUM,
        ..file
    };
    let objects = store_of(&file, golden.into());
    let file = open(&objects, &file, &columns);
    assert_eq!(read_all(ColdScan::new(Arc::clone(&objects), file).unwrap()), rows);
}

const TAIL_BYTES: u64 = 0;
const TAIL_CHECKSUM: u64 = 0;
