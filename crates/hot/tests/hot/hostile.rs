//! Descriptors from a process that means no good.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};
use thermae_formats::hot_layout::header::HeaderError;
use thermae_hot::{Expect, HotReader, HotWriter, MapError};

use crate::support::config;

const BYTES: usize = 1 << 20;

fn memfd(bytes: usize, head: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create(c"hostile", flags).unwrap();
    rustix::fs::ftruncate(&file, bytes as u64).unwrap();
    rustix::io::pwrite(&file, head, 0).unwrap();
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

fn honest_header() -> Vec<u8> {
    let writer = HotWriter::create(&config(BYTES as u64)).unwrap();
    let mut head = vec![0; 4096];
    rustix::io::pread(writer.descriptor().unwrap(), &mut head, 0).unwrap();
    head
}

fn open(file: OwnedFd) -> MapError {
    match HotReader::from_descriptor(file, &Expect::default()) {
        Ok(_) => panic!("a hostile map was believed"),
        Err(error) => error,
    }
}

#[test]
fn sizes_and_seals_are_checked_before_anything_is_read() {
    let head = honest_header();
    assert!(matches!(open(memfd(BYTES, &head, SealFlags::empty())), MapError::NotSealed));
    assert!(matches!(open(memfd(BYTES, &head, SealFlags::GROW)), MapError::NotSealed));
    for bytes in [0, 1, 4096, BYTES - 4096, BYTES + 1] {
        let head = if bytes < 4096 { &[] } else { &head[..] };
        let error = open(memfd(bytes, head, SealFlags::SHRINK));
        assert!(matches!(error, MapError::Header(HeaderError::Size { .. })), "{bytes}: {error}");
    }
    let error = open(memfd(2 * BYTES, &head, SealFlags::SHRINK));
    assert!(matches!(error, MapError::Header(HeaderError::Size { .. })), "{error}");
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    open(pipe);
}

#[test]
fn a_header_with_any_flipped_bit_is_refused() {
    let head = honest_header();
    for byte in 0..128 {
        let mut hostile = head.clone();
        hostile[byte] ^= 1 << (byte % 8);
        let error = open(memfd(BYTES, &hostile, SealFlags::SHRINK));
        assert!(matches!(error, MapError::Header(_)), "byte {byte}: {error}");
    }
    let zeros = open(memfd(BYTES, &[], SealFlags::SHRINK));
    assert!(matches!(zeros, MapError::Header(HeaderError::Magic { found: 0 })));
}

#[test]
fn a_map_of_somebody_else_is_refused() {
    let writer = HotWriter::create(&config(BYTES as u64)).unwrap();
    let wrong = [
        ("store", Expect { store_id: Some(8), ..Expect::default() }),
        ("epoch", Expect { epoch: Some(2), ..Expect::default() }),
        ("shard", Expect { shard: Some(1), ..Expect::default() }),
        ("access domain", Expect { domain: Some(1), ..Expect::default() }),
    ];
    for (wanted, expect) in wrong {
        match HotReader::from_descriptor(writer.descriptor().unwrap(), &expect) {
            Err(MapError::Foreign { what }) => assert_eq!(what, wanted),
            other => panic!("{wanted}: {:?}", other.err()),
        }
    }
    let right = Expect { store_id: Some(7), epoch: Some(1), shard: Some(0), domain: Some(0) };
    HotReader::from_descriptor(writer.descriptor().unwrap(), &right).unwrap();
}

#[test]
fn whoever_gets_the_descriptor_can_only_read() {
    let writer = HotWriter::create(&config(BYTES as u64)).unwrap();
    let file = writer.descriptor().unwrap();
    rustix::io::pwrite(&file, b"x", 0).expect_err("writing is sealed");
    rustix::fs::ftruncate(&file, 4096).expect_err("the size is sealed");
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    assert!(seals.contains(SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW));
}

#[test]
fn a_hostile_body_gives_errors_and_never_hangs() {
    // A right header over bytes that somebody else chose: every look-up ends, none is believed.
    let head = honest_header();
    for fill in [0u8, 0xFF, 0x5A] {
        let mut bytes = vec![fill; BYTES];
        bytes[..128].copy_from_slice(&head[..128]);
        let reader =
            HotReader::from_descriptor(memfd(BYTES, &bytes, SealFlags::SHRINK), &Expect::default())
                .unwrap();
        let mut buffer = thermae_hot::RowBuf::default();
        for number in 0..200u64 {
            let probe = thermae_hot::Probe {
                table: 0,
                row_hash: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                key: &number.to_le_bytes(),
                schema_ids: &[1],
            };
            let answer = reader.get(&probe, &mut buffer);
            assert!(matches!(answer, thermae_hot::Lookup::Corrupt(_)), "{fill:#x}: {answer:?}");
        }
    }
}
