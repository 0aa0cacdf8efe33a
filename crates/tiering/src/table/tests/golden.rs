//! A whole file that every later build of this format version must read.

use std::fmt::Write as _;
use std::sync::Arc;

use thermae_env::{Env, OpenHow, RealEnv};
use thermae_formats::NO_TIME;
use thermae_formats::hot_layout::{FLAG_HAS_EXPIRE, FLAG_TOMBSTONE};
use thermae_formats::table::{TableKind, TableRef};

use super::support::*;
use crate::table::{Table, table_path, verify_table};

const GOLDEN: &str = include_str!("../../../../formats/golden/warm-table.txt");

/// What the manifest would say of the golden table.
const NAMED: TableRef = TableRef {
    file_id: 1,
    kind: TableKind::Latest,
    bytes: 6 * 4096,
    rows: 23,
    tombstones: 1,
    min_event_time: -7,
    max_event_time: 1_767_225_600_000_000,
    checksum: CHECKSUM,
};
const CHECKSUM: u64 = 16_788_885_081_784_322_784;

fn rows() -> Vec<OwnedRow> {
    let mut tombstone = OwnedRow::new(2, b"gone", b"");
    tombstone.flags = FLAG_TOMBSTONE;
    let mut timed = OwnedRow::new(2, b"timed", b"\x00\x01\x02");
    timed.flags = FLAG_HAS_EXPIRE;
    timed.times = (1_767_225_600_000_000, -7, 1_767_225_600_000_001);
    timed.sequence = (1 << 48) - 1;
    let mut early = OwnedRow::new(1, b"", b"no key");
    early.times = (-7, NO_TIME, NO_TIME);
    let mut rows = vec![tombstone, timed, early];
    rows.extend((0..20_u8).map(|n| OwnedRow::new(1, &[n], &[n; 300])));
    sort(&mut rows);
    rows
}

/// One line for each 32 bytes that are not all zero.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(32).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            let hex: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{:08x} {hex}", line * 32).unwrap();
        }
    }
    writeln!(text, "length {}", bytes.len()).unwrap();
    text
}

fn undump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, hex) in text.lines().filter_map(|line| line.split_once(' ')) {
        if at == "length" {
            bytes.resize(hex.parse().unwrap(), 0);
            continue;
        }
        bytes.resize(usize::from_str_radix(at, 16).unwrap(), 0);
        let pairs = (0..hex.len()).step_by(2);
        bytes.extend(pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()));
    }
    bytes
}

#[test]
fn the_golden_table_is_read() {
    let (env, dir) = sim();
    env.set_file_bytes(&table_path(&dir, 1), &undump(GOLDEN)).unwrap();
    let table = Arc::new(Table::open(&env, &dir, &STORE, &NAMED).unwrap());
    let mut scan = table.scan();
    for row in rows() {
        assert_eq!(scan.next().unwrap().unwrap().version, row.version());
        assert_eq!(look_up(&table, row.view, row.hash, &row.key).unwrap(), Some(row));
    }
    assert_eq!(scan.next().unwrap(), None);
    assert!(verify_table(&env, &dir, &STORE, &NAMED, &mut |_| ()).is_empty());
}

/// Not a matter of the format: another version of zstd or of xorf may pack otherwise. `UPDATE_GOLDEN=1`
/// writes a second file, to become the golden one only with a new format version.
#[test]
fn the_golden_table_is_written() {
    let (env, dir) = sim();
    let what = build(&env, &dir, TableKind::Latest, &rows());
    let text = dump(&env.file_bytes(&table_path(&dir, 1)).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../formats/golden/warm-table.new");
        let file = RealEnv::new().open(path.as_ref(), OpenHow::CREATE).unwrap();
        thermae_env::File::write_all_at(&file, text.as_bytes(), 0).unwrap();
    }
    assert!(what == NAMED && text == GOLDEN, "other bytes for the same rows: {what:?}");
}
