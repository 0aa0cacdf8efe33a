#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::golden;
use crate::manifest::Tree;
use crate::table::{TableKind, TableRef};

fn example() -> Backup {
    let table = |file_id, kind, bytes| TableRef {
        file_id,
        kind,
        bytes,
        rows: 100,
        tombstones: 1,
        min_event_time: -5,
        max_event_time: 1_357_016_400_000_000,
        checksum: 0x1111 * file_id,
    };
    let tree = |shard, latest: &[u64], history: &[u64], checkpoint| Tree {
        shard,
        latest: latest.to_vec(),
        history: history.to_vec(),
        checkpoint,
        checkpoint_checksum: 0xCCCC + checkpoint,
    };
    let manifest = Manifest {
        store_id: *b"store of backups",
        hash_seed: 7,
        partitions: 8,
        segment_bytes: 1 << 20,
        epoch: 3,
        covered_epoch: 3,
        current: Vec::new(),
        sealed: Vec::new(),
        next_file_id: 12,
        tables: vec![table(2, TableKind::Latest, 3 << 20), table(9, TableKind::History, 16 << 10)],
        trees: vec![tree(0, &[2], &[9], 10), tree(1, &[], &[], 11)],
    };
    let file = |file_id, bytes: u64| {
        let pieces = (0..pieces_of(bytes)).map(|at| file_id << 32 | at).collect();
        BackupFile { file_id, bytes, pieces }
    };
    let files = vec![file(2, 3 << 20), file(9, 16 << 10), file(10, 1_048_577), file(11, 90)];
    Backup {
        taken_us: 1_700_000_000_000_000,
        manifest,
        files,
        archive: None,
        attachments: BTreeMap::new(),
    }
}

/// The same of a store whose rows have left for an archive.
fn with_archive() -> Backup {
    let table = |commits, state: &[u8]| ArchiveTable { commits, state: state.to_vec() };
    let tables = [
        ("tables/shop/users/v1/s0".to_owned(), table(7, b"{}\nstate")),
        ("tables/shop/users/v1/s4".to_owned(), table(0, b"")),
    ];
    let views = [(ViewId(1), -5), (ViewId(9), 1_357_016_400_000_000)].into();
    let archive = BackupArchive { id: 0xABCD << 90, views, tables: tables.into() };
    Backup { archive: Some(archive), ..example() }
}

/// The same with files beside the store's own.
fn with_attachments() -> Backup {
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    let attachments = [file("notes.txt", b""), file("registry.redb", b"redb\0 and more")];
    Backup { attachments: attachments.into(), ..example() }
}

/// What breaks a backup.
type Break = fn(&mut Backup);

fn sign(bytes: &mut [u8]) {
    let at = bytes.len() - 8;
    let checksum = xxh3_64(&bytes[..at]);
    bytes[at..].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn a_backup_reads_back() {
    let backup = example();
    assert_eq!(Backup::parse(&backup.to_bytes()), Ok(backup.clone()));
    assert_eq!((backup.bytes(), backup.rows()), ((3 << 20) + (16 << 10) + 1_048_577 + 90, 200));
    let names: Vec<_> = backup.names().iter().map(ToString::to_string).collect();
    assert_eq!(names[0], "0000000000000002-0000000000002222.tbl");
    assert_eq!(names[3], "000000000000000b-000000000000ccd7.ckp");
    assert_eq!(backup.names()[3].in_store(), "000000000000000b.ckp");
}

#[test]
fn the_golden_file_holds() {
    golden::check("backup.txt", &example().to_bytes());
    golden::check("backup-2.txt", &with_archive().to_bytes());
    golden::check("backup-3.txt", &with_attachments().to_bytes());
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    refuse_all_but(&example().to_bytes());
    let backup = with_archive();
    assert_eq!(Backup::parse(&backup.to_bytes()), Ok(backup.clone()));
    refuse_all_but(&backup.to_bytes());
    let attached = with_attachments();
    let both = Backup { attachments: attached.attachments.clone(), ..with_archive() };
    for backup in [attached, both] {
        assert_eq!(Backup::parse(&backup.to_bytes()), Ok(backup.clone()));
        refuse_all_but(&backup.to_bytes());
    }
}

fn refuse_all_but(bytes: &[u8]) {
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.to_vec();
            broken[at] ^= 1 << bit;
            assert!(Backup::parse(&broken).is_err(), "byte {at} bit {bit}");
        }
        let mut cut = bytes[..at].to_vec();
        assert!(Backup::parse(&cut).is_err(), "cut at {at}");
        if at >= 8 {
            sign(&mut cut);
            assert!(Backup::parse(&cut).is_err(), "cut at {at} and signed");
        }
    }
    let mut longer = [bytes, &[0; 8]].concat();
    sign(&mut longer);
    assert!(matches!(Backup::parse(&longer), Err(BackupError::Length { .. })));
}

#[test]
fn impossible_fields_are_refused_though_the_checksum_holds() {
    let broken: [(&str, Break); 11] = [
        ("list of logs", |b| b.manifest.covered_epoch = 2),
        ("list of trees", |b| {
            (b.manifest.trees[1].checkpoint, b.manifest.trees[1].checkpoint_checksum) = (0, 0);
        }),
        ("list of trees", |b| {
            b.manifest.trees.clear();
            b.manifest.tables.clear();
            b.files.clear();
        }),
        ("epoch", |b| (b.manifest.epoch, b.manifest.covered_epoch) = (0, 0)),
        ("list of files", |b| b.files[0].file_id = 1),
        ("list of files", |b| b.files.swap(0, 1)),
        ("list of files", |b| {
            b.files.pop();
        }),
        ("list of files", |b| b.files.push(BackupFile { file_id: 12, ..b.files[3].clone() })),
        ("list of files", |b| b.files[1].bytes -= 1),
        ("list of files", |b| b.files[3].bytes = 0),
        ("list of files", |b| b.files[2].pieces[0] = 0),
    ];
    for (case, (field, breaks)) in broken.iter().enumerate() {
        let mut backup = example();
        breaks(&mut backup);
        if case == 9 {
            backup.files[3].pieces.clear();
        }
        if case == 10 {
            // Any checksum may be that of a piece; a wrong number of them may not.
            backup.files[2].pieces.pop();
            assert_eq!(backup.check(), Err(BackupError::Field(field)));
            continue;
        }
        let parsed = Backup::parse(&backup.to_bytes());
        assert_eq!(parsed, Err(BackupError::Field(field)), "case {case}");
    }
}

#[test]
fn a_huge_count_is_refused_by_length_without_allocating() {
    let bytes = example().to_bytes();
    let first_file = 32 + example().manifest.to_bytes().len();
    for (at, count) in [(12, 4), (24, 8), (first_file + 8, 8)] {
        let mut broken = bytes.clone();
        broken[at..at + count].fill(0xFF);
        sign(&mut broken);
        let parsed = Backup::parse(&broken);
        assert!(matches!(parsed, Err(BackupError::Length { .. })), "{at}: {parsed:?}");
    }
}

#[test]
fn an_archive_that_no_writer_writes_is_refused() {
    let mut backup = with_archive();
    backup.archive.as_mut().unwrap().tables.clear();
    assert_eq!(Backup::parse(&backup.to_bytes()), Err(BackupError::Field("archive")));
    let bytes = with_archive().to_bytes();
    let views_at = bytes.windows(4).rposition(|at| at == [9, 0, 0, 0]).unwrap();
    let tables_at = bytes.windows(6).rposition(|at| at == b"/v1/s4").unwrap();
    for (at, byte) in [(views_at, 1), (tables_at + 5, b'0'), (tables_at, 0xFF)] {
        let mut broken = bytes.clone();
        broken[at] = byte;
        sign(&mut broken);
        assert_eq!(Backup::parse(&broken), Err(BackupError::Field("archive")), "at {at}");
    }
}

#[test]
fn attachments_that_no_writer_writes_are_refused() {
    let bytes = with_attachments().to_bytes();
    let impossible = Err(BackupError::Field("list of attachments"));
    let name_at = |name: &[u8]| bytes.windows(name.len()).rposition(|at| at == name).unwrap();
    let notes_at = name_at(b"notes.txt");
    // Out of order, upper case, no text, nothing behind the dot: another name of the same length each.
    for name in [b"sotes.txt", b"Notes.txt", b"\xFFotes.txt", b"notes.tx.", b"../te.txt"] {
        let mut broken = bytes.clone();
        broken[notes_at..notes_at + 9].copy_from_slice(name);
        sign(&mut broken);
        assert_eq!(Backup::parse(&broken), impossible, "{name:?}");
    }
    // None at all, and a word on the archive that is neither.
    for (at, byte, field) in [(16, 0, "the fields"), (20, 2, "archive")] {
        let mut broken = bytes.clone();
        broken[notes_at - at] = byte;
        sign(&mut broken);
        assert!(Backup::parse(&broken).is_err(), "{field}");
    }
    for name in ["registry.redb", "a.b.c", "a_1.x"] {
        assert!(is_attachment_name(name), "{name}");
    }
    for name in ["", "MANIFEST", "warm", ".x", "a.", "a..b", "a/b.c", "LOCK.x", "1.x", "é.x"] {
        assert!(!is_attachment_name(name), "{name}");
    }
}

#[test]
fn newer_versions_are_told_from_damage() {
    let mut bytes = example().to_bytes();
    bytes[8] = 4;
    assert_eq!(Backup::parse(&bytes), Err(BackupError::NewerVersion(4)));
}

#[test]
fn names_read_back_and_nothing_else_is_one() {
    let name = BackupName::new(42, 1_700_000_000_123_456);
    assert_eq!(name.to_string(), "00000042-20231114T221320Z");
    assert_eq!(BackupName::of_file(&name.file()), Some(name));
    assert!(BackupName::new(9, 5) < BackupName::new(10, 4));
    for wrong in ["", "1-20231114T221320Z", "00000001-", "00000001-../x", "../00000001-2023"] {
        assert!(wrong.parse::<BackupName>().is_err(), "{wrong}");
    }
    for name in example().names() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    let good = "0000000000000002-0000000000002222.tbl";
    for wrong in [&good[1..], "0000000000000002-00000000000022AA.tbl", "2-2.ckp", "LOCK"] {
        assert!(wrong.parse::<FileName>().is_err(), "{wrong}");
    }
}
