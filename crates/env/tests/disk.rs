//! The real disk, blocking and on the ring.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use thermae_env::{
    AlignedBuf, BLOCK_BYTES, Env, Event, File, Mode, OpenHow, Reader, RealEnv, Ring, SimEnv,
    UringRing, Wait,
};

fn blocks(byte: u8, count: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::new();
    buf.resize(count * BLOCK_BYTES, byte);
    buf
}

fn finish(ring: &mut UringRing, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        ring.turn(Wait::Forever, &mut events).unwrap();
    }
    events
}

fn direct_dsync(mode: Mode) -> OpenHow {
    OpenHow { mode, direct: true, dsync: true }
}

#[test]
fn files_directories_and_locks() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b/c");
    env.create_dir_all(&dir).unwrap();
    env.create_dir_all(&dir).unwrap();
    let path = dir.join("file");
    assert_eq!(env.open(&path, OpenHow::READ).unwrap_err().kind(), ErrorKind::NotFound);
    let file = env.open(&path, OpenHow::CREATE).unwrap();
    assert_eq!(env.open(&path, OpenHow::CREATE).unwrap_err().kind(), ErrorKind::AlreadyExists);
    file.write_all_at(b"hello", 3).unwrap();
    file.sync_data().unwrap();
    let mut buf = [9; 10];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 8);
    assert_eq!(&buf, b"\0\0\0hello\x09\x09");
    env.rename(&path, &dir.join("renamed")).unwrap();
    env.sync_dir(&dir).unwrap();
    let entries = env.list(temp.path().join("a/b").as_path()).unwrap();
    assert_eq!((entries.len(), entries[0].name.as_str(), entries[0].is_dir), (1, "c", true));
    let entries = env.list(&dir).unwrap();
    assert_eq!((entries[0].name.as_str(), entries[0].len_bytes), ("renamed", 8));
    assert!(!env.exists(&path).unwrap() && env.exists(&dir.join("renamed")).unwrap());
    env.remove(&dir.join("renamed")).unwrap();
    assert!(env.list(&dir).unwrap().is_empty());
    let lock = env.lock(&dir.join("LOCK")).unwrap();
    assert_eq!(env.lock(&dir.join("LOCK")).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    env.lock(&dir.join("LOCK")).unwrap();
    assert!(env.free_bytes(&dir).unwrap() > 0);
    assert!(env.monotonic_ns() <= env.monotonic_ns() && env.now_us() > 1_700_000_000_000_000);
    assert_ne!(env.random_u64(), env.random_u64());
}

#[test]
fn allocation_is_real_and_zero() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let file = env.open(&path, OpenHow::CREATE.direct()).unwrap();
    file.write_all_at(&blocks(7, 1), 0).unwrap();
    let len = 3 * 1024 * 1024 + BLOCK_BYTES as u64;
    file.allocate(len).unwrap();
    file.allocate(100).unwrap();
    assert_eq!(file.len_bytes().unwrap(), len);
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.blocks() * 512 >= len, "holes left");
    let content = std::fs::read(&path).unwrap();
    assert!(content[..BLOCK_BYTES].iter().all(|&b| b == 7));
    assert!(content[BLOCK_BYTES..].iter().all(|&b| b == 0));
}

#[test]
fn a_file_is_cut_and_what_grows_again_is_zero() {
    let temp = tempfile::tempdir().unwrap();
    cut_and_grow(&RealEnv::new(), temp.path());
    let simulated = SimEnv::new(1);
    simulated.create_dir_all(Path::new("/d")).unwrap();
    cut_and_grow(&simulated, Path::new("/d"));
}

fn cut_and_grow<E: Env>(env: &E, dir: &Path) {
    let file = env.open(&dir.join("file"), OpenHow::CREATE).unwrap();
    file.write_all_at(&blocks(7, 3), 0).unwrap();
    let (cut, more) = (BLOCK_BYTES as u64 + 100, 3 * BLOCK_BYTES as u64);
    file.truncate(cut).unwrap();
    file.truncate(more).unwrap();
    assert_eq!(file.len_bytes().unwrap(), cut);
    file.allocate(more).unwrap();
    let mut found = vec![1; more as usize];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), found.len());
    let (kept, grown) = found.split_at(cut as usize);
    assert!(kept.iter().all(|&b| b == 7) && grown.iter().all(|&b| b == 0));
}

#[test]
fn direct_reads_end_at_an_unaligned_end_of_file() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, vec![3; BLOCK_BYTES + 100]).unwrap();
    let file = env.open(&path, OpenHow::READ.direct()).unwrap();
    let mut buf = AlignedBuf::zeroed(4 * BLOCK_BYTES);
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), BLOCK_BYTES + 100);
    let mut ring = env.ring().unwrap();
    ring.read(5, &file, 0, AlignedBuf::zeroed(4 * BLOCK_BYTES));
    let events = finish(&mut ring, 1);
    let Event::Read { token: 5, buf, result: Ok(read) } = &events[0] else { panic!("{events:?}") };
    assert_eq!(*read, BLOCK_BYTES + 100);
    assert!(buf[..*read].iter().all(|&b| b == 3));
}

#[test]
fn ring_writes_syncs_and_reads_many_at_once() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let file = env.open(&temp.path().join("log"), direct_dsync(Mode::Create)).unwrap();
    let mut ring = env.ring().unwrap();
    let count = 40;
    for i in 0..count {
        let sync = i % 2 == 0;
        ring.write(i, &file, i * BLOCK_BYTES as u64, blocks(i as u8, 1), sync);
    }
    for event in finish(&mut ring, count as usize) {
        let Event::Written { token, buf, result: Ok(()) } = event else { panic!("{event:?}") };
        assert_eq!(buf.as_slice(), blocks(token as u8, 1).as_slice());
    }
    ring.sync(99, &file);
    let events = finish(&mut ring, 1);
    assert!(matches!(events[0], Event::Synced { token: 99, result: Ok(()) }));
    for i in 0..count {
        ring.read(i, &file, i * BLOCK_BYTES as u64, AlignedBuf::zeroed(BLOCK_BYTES));
    }
    for event in finish(&mut ring, count as usize) {
        let Event::Read { token, buf, result } = event else { panic!("{event:?}") };
        assert_eq!(result.unwrap(), BLOCK_BYTES);
        assert_eq!(buf.as_slice(), blocks(token as u8, 1).as_slice());
    }
}

#[test]
fn more_operations_than_the_queue_holds_all_complete() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, vec![1; 64 * 1024]).unwrap();
    let file = env.open(&path, OpenHow::READ).unwrap();
    let mut ring = env.ring().unwrap();
    let count = 3000;
    for i in 0..count {
        ring.read(i, &file, (i * 16) % 65_536, AlignedBuf::zeroed(16));
    }
    let mut seen = vec![false; count as usize];
    for event in finish(&mut ring, count as usize) {
        let Event::Read { token, result: Ok(16), .. } = event else { panic!("{event:?}") };
        assert!(!std::mem::replace(&mut seen[token as usize], true));
    }
    assert!(seen.iter().all(|&s| s));
}

#[test]
fn ring_errors_come_back_with_the_buffer() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, vec![1; BLOCK_BYTES]).unwrap();
    let file = env.open(&path, OpenHow::READ.direct()).unwrap();
    let mut ring = env.ring().unwrap();
    ring.write(1, &file, 0, blocks(2, 1), true);
    let events = finish(&mut ring, 1);
    let Event::Written { token: 1, buf, result: Err(error) } = &events[0] else { panic!() };
    assert_eq!((buf.len(), error.raw_os_error()), (BLOCK_BYTES, Some(9)));
    ring.read(2, &file, 7, AlignedBuf::zeroed(BLOCK_BYTES));
    let events = finish(&mut ring, 1);
    assert!(matches!(&events[0], Event::Read { token: 2, result: Err(_), .. }));
    assert_eq!(std::fs::read(&path).unwrap(), vec![1; BLOCK_BYTES]);
    let full = env.open(Path::new("/dev/full"), OpenHow::WRITE).unwrap();
    ring.write(3, &full, 0, blocks(2, 1), false);
    let events = finish(&mut ring, 1);
    let Event::Written { result: Err(error), .. } = &events[0] else { panic!() };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[test]
fn a_ring_dropped_with_operations_in_flight_finishes_them() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let file = env.open(&path, direct_dsync(Mode::Create)).unwrap();
    for round in 0..10 {
        let mut ring = env.ring().unwrap();
        for i in 0..50 {
            ring.write(i, &file, i * BLOCK_BYTES as u64, blocks(round, 1), true);
        }
        if round % 2 == 0 {
            ring.turn(Wait::Poll, &mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn names_change_on_the_ring() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    std::fs::write(path("a"), b"a").unwrap();
    std::fs::write(path("b"), b"b").unwrap();
    let mut ring = env.ring().unwrap();
    ring.rename(1, &path("a"), &path("c"));
    ring.remove(2, &path("b"));
    let mut events = finish(&mut ring, 2);
    ring.sync_dir(3, temp.path());
    events.extend(finish(&mut ring, 1));
    let mut tokens: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Named { token, result: Ok(()) } => *token,
            other => panic!("{other:?}"),
        })
        .collect();
    tokens[..2].sort_unstable();
    assert_eq!(tokens, [1, 2, 3]);
    assert_eq!(std::fs::read(path("c")).unwrap(), b"a");
    assert_eq!(env.list(temp.path()).unwrap().len(), 1);

    ring.rename(4, &path("missing"), &path("d"));
    ring.remove(5, &path("missing"));
    ring.sync_dir(6, &path("missing"));
    ring.remove(7, Path::new("no\0name"));
    for event in finish(&mut ring, 4) {
        let Event::Named { token, result: Err(error) } = event else { panic!("{event:?}") };
        let expected = if token == 7 { ErrorKind::InvalidInput } else { ErrorKind::NotFound };
        assert_eq!(error.kind(), expected, "{token}");
    }
}

#[test]
fn a_reader_reads_one_and_many_places_on_any_thread() {
    let temp = tempfile::tempdir().unwrap();
    read_places(&RealEnv::new(), temp.path());
    let simulated = SimEnv::new(1);
    simulated.create_dir_all(Path::new("/d")).unwrap();
    read_places(&simulated, Path::new("/d"));
}

fn read_places<E: Env>(env: &E, dir: &Path) {
    // More than the kernel takes at a time.
    let count = 200;
    let file = env.open(&dir.join("file"), OpenHow::CREATE.direct()).unwrap();
    for block in 0..count {
        file.write_all_at(&blocks(block as u8, 1), block * BLOCK_BYTES as u64).unwrap();
    }
    let mut reader = env.reader().unwrap();
    reader.wait(3, &mut Vec::new()).unwrap();
    for asked in [1, 2, count + 1] {
        let mut events = Vec::new();
        for block in (count - asked.min(count)..count).chain((asked > count).then_some(count)) {
            let offset_bytes = block * BLOCK_BYTES as u64;
            reader.read(block, &file, offset_bytes, AlignedBuf::zeroed(BLOCK_BYTES));
        }
        // Whoever has it next goes on; some are still under way when it is waited for again.
        let (mut back, got) = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut events = Vec::new();
                reader.wait(asked as usize / 2, &mut events).unwrap();
                assert!(events.len() >= asked as usize / 2, "{} of {asked}", events.len());
                reader.wait(usize::MAX, &mut events).unwrap();
                (reader, events)
            });
            waiting.join().unwrap()
        });
        events.extend(got);
        back.wait(1, &mut events).unwrap();
        reader = back;
        assert_eq!(events.len() as u64, asked);
        for event in events {
            let Event::Read { token, buf, result } = event else { panic!("{event:?}") };
            let expected = if token == count { 0 } else { BLOCK_BYTES };
            assert_eq!(result.unwrap(), expected, "block {token}");
            assert!(buf[..expected].iter().all(|&byte| byte == token as u8));
        }
    }
}

#[test]
fn a_reader_dropped_with_reads_in_flight_lets_them_end() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let file = env.open(&temp.path().join("file"), OpenHow::CREATE.direct()).unwrap();
    file.write_all_at(&blocks(1, 64), 0).unwrap();
    for _ in 0..20 {
        let mut reader = env.reader().unwrap();
        for block in 0..64 {
            let offset_bytes = block * BLOCK_BYTES as u64;
            reader.read(block, &file, offset_bytes, AlignedBuf::zeroed(BLOCK_BYTES));
        }
        let mut events = Vec::new();
        reader.wait(1, &mut events).unwrap();
        assert!(!events.is_empty());
    }
}

#[test]
fn a_read_that_fails_says_so_and_the_others_go_on() {
    let env = RealEnv::new();
    let temp = tempfile::tempdir().unwrap();
    let file = env.open(&temp.path().join("file"), OpenHow::CREATE.direct()).unwrap();
    file.write_all_at(&blocks(1, 1), 0).unwrap();
    let mut reader = env.reader().unwrap();
    for offsets in [&[7][..], &[7, 0]] {
        for (token, offset_bytes) in (0..).zip(offsets) {
            reader.read(token, &file, *offset_bytes, AlignedBuf::zeroed(BLOCK_BYTES));
        }
        let mut events = Vec::new();
        reader.wait(usize::MAX, &mut events).unwrap();
        for event in &events {
            let Event::Read { token, result, .. } = event else { panic!("{event:?}") };
            assert_eq!(result.is_err(), *token == 0, "{event:?}");
        }
        assert_eq!(events.len(), offsets.len());
    }
}
