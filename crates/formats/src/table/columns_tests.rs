//! Rows taken apart and restored.
#![allow(clippy::unwrap_used)]

use super::columns::*;
use super::columns_layout::{Ends, Layout};
use super::error::TableError;
use super::{ColumnsWriter, Rows};
use crate::hot_layout::FLAG_HAS_EXPIRE;
use crate::version::Version;
use crate::{NO_TIME, SchemaId};

/// Rows whose keys have as many bytes as `key_bytes` says of each, with and without times.
fn rows(count: u64, key_bytes: fn(u64) -> usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut rows, mut keys) = (Vec::new(), Vec::new());
    for n in 0..count {
        let key: Vec<u8> = (0..key_bytes(n)).map(|byte| (n >> (byte % 2 * 8)) as u8).collect();
        let time = |is_there: bool| if is_there { -1 - n as i64 } else { NO_TIME };
        let version = Version {
            schema_id: SchemaId(n as u16),
            flags: if n % 3 == 1 { FLAG_HAS_EXPIRE } else { 2 },
            sequence: n << 40,
            event_time: n as i64 * 1_000_003,
            created_time: time(n % 2 == 1),
            expire_at: time(n % 3 == 1),
            key: &key,
            value: &vec![n as u8; n as usize * 7 % 300],
        };
        version.encode(&mut rows);
        keys.push(key);
    }
    (rows, keys)
}

fn columns_of(rows: &[u8], count: usize) -> Vec<u8> {
    let (mut writer, mut bytes) = (ColumnsWriter::default(), b"before".to_vec());
    // What was measured before leaves nothing behind.
    writer.begin(&rows[..Ends::of(rows).value], 1);
    writer.measure(rows, 1);
    writer.keep();
    writer.begin(rows, count);
    let measured = writer.measure(rows, count);
    // More rows than were kept come to the same as all at once; fewer, too.
    for fewer in [count.div_ceil(2), 1, count] {
        writer.measure(rows, fewer);
        writer.keep();
    }
    assert_eq!(writer.measure(rows, count), measured);
    writer.append(rows, &mut bytes);
    assert_eq!(bytes.len() - 6, measured);
    bytes.split_off(6)
}

#[test]
fn rows_are_restored_and_each_is_found() {
    let lengths: [fn(u64) -> usize; 4] =
        [|_| 8, |n| 2 + n as usize % 5, |_| 300, |n| 2 + 70 * (n as usize % 2)];
    let mut layout = Layout::default();
    for (case, key_bytes) in lengths.into_iter().enumerate() {
        for count in [1, 2, 3, 7, 250] {
            let (rows, keys) = rows(count, key_bytes);
            let bytes = columns_of(&rows, count as usize);
            let columns = Columns::parse(&bytes, count as u32, &mut layout).unwrap();
            let (mut all, mut one_by_one) = (Vec::new(), Vec::new());
            columns.append_rows(&mut all).unwrap();
            for row in 0..count as usize {
                columns.append_row(row, &mut one_by_one).unwrap();
            }
            assert_eq!((&all, &one_by_one), (&rows, &rows), "case {case}, {count} rows");
            let (mut of_all, mut ends) = (b"before".to_vec(), vec![7]);
            columns.keys(&mut of_all, &mut ends).unwrap();
            assert_eq!((of_all, ends.len()), (keys.concat(), count as usize), "case {case}");
            for (from, to) in [(0, 1), (count / 2, count), (count - 1, count), (1, 1)] {
                let (from, to) = (from as usize, to as usize);
                let mut some = b"before".to_vec();
                columns.append_some(from..to, &mut some).unwrap();
                let versions = Rows::new(&rows, count as u32).map(Result::unwrap);
                let mut wanted = b"before".to_vec();
                for (row, version) in versions.enumerate().take(to).skip(from) {
                    version.encode(&mut wanted);
                    assert_eq!(columns.event_time(row), version.event_time, "case {case}");
                }
                assert_eq!(some, wanted, "case {case}, {count} rows, {from} to {to}");
            }
            for key in &keys {
                let first = |key: &[u8]| keys.iter().position(|other| other == key);
                for key in [&key[..], &[&key[..], b"x"].concat(), &key[1..], b""] {
                    assert_eq!(columns.find(key).unwrap(), first(key), "case {case}");
                }
            }
        }
    }
    let (rows, _) = rows(3, |_| 0);
    let bytes = columns_of(&rows, 3);
    assert_eq!(Columns::parse(&bytes, 3, &mut layout).unwrap().find(b"").unwrap(), Some(0));
}

#[test]
fn what_rows_have_in_common_is_stored_once_and_what_differs_little_in_few_bits() {
    let mut rows = Vec::new();
    for n in 0..64_u64 {
        let version = Version {
            schema_id: SchemaId(3),
            flags: 2,
            sequence: 1 << 40,
            event_time: 1_767_225_600_000_000,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: &(n + 256).to_le_bytes(),
            value: &[(n % 4) as f32, 1.5].map(f32::to_le_bytes).concat(),
        };
        version.encode(&mut rows);
    }
    // 6 bits of the key; of the values 0, 1, 2 and 3 one byte with 8 bits and one of 7.
    let planes = 8 * 6 + 64 + 64 * 7 / 8;
    let bytes = columns_of(&rows, 64).len();
    assert!((planes..planes + 90).contains(&bytes), "{bytes}");
}

#[test]
fn what_does_not_add_up_is_refused() {
    let mut layout = Layout::default();
    let mut read = |bytes: &[u8], count| -> Result<Vec<u8>, TableError> {
        let columns = Columns::parse(bytes, count, &mut layout)?;
        let (mut all, mut one) = (Vec::new(), Vec::new());
        for row in 0..count as usize {
            // As long as it is refused or restored: whole, or nothing of it.
            let before = one.len();
            if columns.append_row(row, &mut one).is_err() {
                assert_eq!(one.len(), before);
            }
            let _ = columns.find(&[row as u8]);
        }
        let (mut keys, mut ends, mut some) = (Vec::new(), Vec::new(), Vec::new());
        // As long as it is refused or restored, too.
        let _ = columns.keys(&mut keys, &mut ends);
        let _ = columns.append_some(count as usize / 2..count as usize, &mut some);
        let restored = columns.append_rows(&mut all);
        assert_eq!(restored.is_ok(), columns.check().is_ok());
        assert!(restored.is_ok() || all.is_empty());
        restored.map(|()| all)
    };
    let (rows, _) = rows(9, |n| n as usize);
    let bytes = columns_of(&rows, 9);
    assert_eq!(read(&bytes, 9).unwrap(), rows);
    for short in 0..bytes.len() {
        assert!(read(&bytes[..short], 9).is_err(), "{short} bytes");
    }
    assert!(read(&[&bytes[..], &[0]].concat(), 9).is_err());
    for count in [0, 1 << 20, u32::MAX] {
        assert!(read(&bytes, count).is_err(), "{count} rows");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << bit;
            // Some of it are other rows; nothing is more than was promised.
            if let Ok(read) = read(&wrong, 9) {
                assert_eq!(read.len(), rows.len(), "byte {at}");
            }
        }
    }
}
