#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::{SimEnv, SimFile, SimOp, SimRing};
use crate::{AlignedBuf, BLOCK_BYTES, Env, Event, File, OpenHow, Ring, Wait, Wake};

const DIR: &str = "/data";

fn machine(seed: u64) -> SimEnv {
    let env = SimEnv::new(seed);
    env.create_dir_all(Path::new(DIR)).unwrap();
    env
}

/// A file whose name is durable and whose content is `len` zero bytes, durable.
fn settled_file(env: &SimEnv, name: &str, len: u64) -> SimFile {
    let file = env.open(&Path::new(DIR).join(name), OpenHow::CREATE).unwrap();
    file.allocate(len).unwrap();
    file.sync_data().unwrap();
    env.sync_dir(Path::new(DIR)).unwrap();
    file
}

fn content(env: &SimEnv, name: &str) -> Vec<u8> {
    env.file_bytes(&Path::new(DIR).join(name)).unwrap()
}

fn block(byte: u8, blocks: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::new();
    buf.resize(blocks * BLOCK_BYTES, byte);
    buf
}

fn turn_until_event(ring: &mut SimRing) -> Vec<Event> {
    let mut events = Vec::new();
    ring.turn(Wait::Forever, &mut events).unwrap();
    assert!(!events.is_empty());
    events
}

/// The set of contents that crashes under many seeds leave.
fn outcomes(prepare: impl Fn(&SimEnv)) -> BTreeSet<Vec<u8>> {
    (0..200)
        .map(|seed| {
            let env = machine(seed);
            prepare(&env);
            content(&env.crash(), "a")
        })
        .collect()
}

#[test]
fn a_cut_is_lost_or_kept_until_a_sync_or_a_synchronous_write_behind_it() {
    let left = outcomes(|env| settled_file(env, "a", 8192).truncate(512).unwrap());
    assert_eq!(left, BTreeSet::from([vec![0; 8192], vec![0; 512]]));
    let left = outcomes(|env| {
        let file = settled_file(env, "a", 8192);
        file.truncate(512).unwrap();
        file.sync_data().unwrap();
    });
    assert_eq!(left, BTreeSet::from([vec![0; 512]]));
    let left = outcomes(|env| {
        settled_file(env, "a", 8192).truncate(512).unwrap();
        let file = env.open(&Path::new(DIR).join("a"), OpenHow::WRITE.dsync()).unwrap();
        file.write_all_at(&[7; 512], 512).unwrap();
        file.sync_data().unwrap();
    });
    assert_eq!(left, BTreeSet::from([[vec![0; 512], vec![7; 512]].concat()]));
}

#[test]
fn synced_data_survives_every_crash() {
    let left = outcomes(|env| {
        let file = settled_file(env, "a", 8192);
        file.write_all_at(&[1; 8192], 0).unwrap();
        file.sync_data().unwrap();
    });
    assert_eq!(left, BTreeSet::from([vec![1; 8192]]));
}

#[test]
fn unsynced_data_may_be_lost_kept_or_torn_at_sectors() {
    let left = outcomes(|env| {
        let file = settled_file(env, "a", 8192);
        file.write_all_at(&[1; 8192], 0).unwrap();
    });
    assert!(left.contains(&vec![0; 8192]));
    assert!(left.contains(&vec![1; 8192]));
    let torn = left.iter().filter(|c| c.contains(&0) && c.contains(&1));
    assert!(torn.clone().count() > 10);
    for sector in torn.flat_map(|content| content.chunks(512)) {
        assert!(sector.iter().all(|b| *b == sector[0]), "torn inside a sector");
    }
}

#[test]
fn kill_keeps_completed_writes_but_not_their_durability() {
    let env = machine(3);
    let file = settled_file(&env, "a", 4096);
    file.write_all_at(&[1; 4096], 0).unwrap();
    let next = env.kill();
    assert_eq!(content(&next, "a"), vec![1; 4096]);
    assert!(file.read_at(&mut [0; 1], 0).is_err(), "the old machine is frozen");
    let survived = (0..50).filter(|_| content(&next.kill().crash(), "a") == vec![1; 4096]).count();
    assert!((1..50).contains(&survived), "{survived} of 50");
}

#[test]
fn names_are_volatile_until_the_directory_is_synced() {
    let (mut found, mut lost, mut old_name) = (0, 0, 0);
    for seed in 0..100 {
        let env = machine(seed);
        let dir = Path::new(DIR);
        settled_file(&env, "old", 10);
        env.open(&dir.join("new"), OpenHow::CREATE).unwrap();
        env.rename(&dir.join("old"), &dir.join("renamed")).unwrap();
        let after = env.crash();
        let created = after.exists(&dir.join("new")).unwrap();
        found += usize::from(created);
        lost += usize::from(!created);
        let old = after.exists(&dir.join("old")).unwrap();
        assert_ne!(old, after.exists(&dir.join("renamed")).unwrap(), "a rename is atomic");
        old_name += usize::from(old);

        let env = machine(seed);
        settled_file(&env, "old", 10);
        env.rename(&dir.join("old"), &dir.join("renamed")).unwrap();
        env.remove(&dir.join("renamed")).unwrap();
        env.sync_dir(dir).unwrap();
        assert_eq!(env.crash().list(dir).unwrap(), vec![]);
    }
    assert!(found > 10 && lost > 10 && (10..90).contains(&old_name));
}

#[test]
fn names_changed_on_a_ring_are_as_volatile_and_happen_when_they_complete() {
    let dir = Path::new(DIR);
    let (mut renamed, mut kept) = (0, 0);
    for seed in 0..100 {
        let env = machine(seed);
        settled_file(&env, "old", 10);
        let mut ring = env.ring().unwrap();
        ring.rename(1, &dir.join("old"), &dir.join("new"));
        assert!(env.exists(&dir.join("old")).unwrap(), "not before it completes");
        if seed % 2 == 0 {
            let events = turn_until_event(&mut ring);
            assert!(matches!(events[..], [Event::Named { token: 1, result: Ok(()) }]));
            assert!(env.exists(&dir.join("new")).unwrap());
        }
        let after = env.crash();
        let is_renamed = after.exists(&dir.join("new")).unwrap();
        assert_ne!(is_renamed, after.exists(&dir.join("old")).unwrap(), "a rename is atomic");
        renamed += usize::from(is_renamed);
        kept += usize::from(!is_renamed);

        let env = machine(seed);
        settled_file(&env, "old", 10);
        let mut ring = env.ring().unwrap();
        ring.remove(1, &dir.join("old"));
        turn_until_event(&mut ring);
        ring.sync_dir(2, dir);
        turn_until_event(&mut ring);
        assert_eq!(env.crash().list(dir).unwrap(), vec![]);
    }
    assert!(renamed > 10 && kept > 10, "{renamed} {kept}");
    let env = machine(1);
    let mut ring = env.ring().unwrap();
    env.fail(SimOp::SyncDir, 0);
    ring.sync_dir(1, dir);
    assert!(matches!(turn_until_event(&mut ring)[..], [Event::Named { result: Err(_), .. }]));
}

#[test]
fn rename_without_sync_of_the_file_may_leave_it_empty() {
    let lens: BTreeSet<usize> = (0..100)
        .map(|seed| {
            let env = machine(seed);
            let dir = Path::new(DIR);
            let file = env.open(&dir.join("temp"), OpenHow::CREATE).unwrap();
            file.write_all_at(&[9; 1000], 0).unwrap();
            env.rename(&dir.join("temp"), &dir.join("a")).unwrap();
            env.sync_dir(dir).unwrap();
            content(&env.crash(), "a").len()
        })
        .collect();
    assert!(lens.contains(&0) && lens.contains(&1000), "{lens:?}");
}

#[test]
fn ring_writes_are_durable_only_when_synchronous_and_complete() {
    let completed = outcomes(|env| {
        let file = settled_file(env, "a", 4096);
        let mut ring = env.ring().unwrap();
        ring.write(7, &file, 0, block(1, 1), true);
        let events = turn_until_event(&mut ring);
        assert!(matches!(&events[..], [Event::Written { token: 7, result: Ok(()), .. }]));
    });
    assert_eq!(completed, BTreeSet::from([vec![1; 4096]]));
    let in_flight = outcomes(|env| {
        let file = settled_file(env, "a", 4096);
        env.ring().unwrap().write(7, &file, 0, block(1, 1), true);
    });
    assert!(in_flight.contains(&vec![0; 4096]) && in_flight.contains(&vec![1; 4096]));
    let unsynced = outcomes(|env| {
        let file = settled_file(env, "a", 4096);
        let mut ring = env.ring().unwrap();
        ring.write(7, &file, 0, block(1, 1), false);
        turn_until_event(&mut ring);
    });
    assert!(unsynced.contains(&vec![0; 4096]) && unsynced.contains(&vec![1; 4096]));
}

#[test]
fn ring_sync_covers_only_writes_completed_before_it() {
    let left = outcomes(|env| {
        let file = settled_file(env, "a", 4096);
        let mut ring = env.ring().unwrap();
        ring.sync(1, &file);
        file.write_all_at(&[1; 4096], 0).unwrap();
        turn_until_event(&mut ring);
    });
    assert!(left.contains(&vec![0; 4096]), "a write after the sync's submission is not covered");
}

#[test]
fn durable_data_is_not_overwritten_by_an_older_unsynced_write() {
    let left = outcomes(|env| {
        let file = settled_file(env, "a", 8192);
        file.write_all_at(&[1; 8192], 0).unwrap();
        let mut ring = env.ring().unwrap();
        ring.write(1, &file, 4096, block(2, 1), true);
        turn_until_event(&mut ring);
    });
    assert!(left.iter().all(|content| content[4096..] == [2; 4096]));
    assert!(left.iter().any(|content| content[..4096] != [1; 4096]));
}

#[test]
fn a_lying_sync_loses_data() {
    let left = outcomes(|env| {
        let file = settled_file(env, "a", 4096);
        env.lie_sync(true);
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync_data().unwrap();
    });
    assert!(left.contains(&vec![0; 4096]));
}

#[test]
fn a_failed_sync_drops_data_that_cached_reads_still_show() {
    let mut dropped = 0;
    for seed in 0..50 {
        let env = machine(seed);
        let file = settled_file(&env, "a", 4096);
        file.write_all_at(&[1; 4096], 0).unwrap();
        env.fail(SimOp::Sync, 0);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        file.sync_data().unwrap();
        let mut cached = [0; 4096];
        file.read_at(&mut cached, 0).unwrap();
        assert_eq!(cached, [1; 4096]);
        let direct = env.open(Path::new("/data/a"), OpenHow::READ.direct()).unwrap();
        let mut device = AlignedBuf::zeroed(4096);
        direct.read_at(&mut device, 0).unwrap();
        assert_eq!(content(&env.crash(), "a"), device.as_slice());
        dropped += usize::from(device.as_slice() != [1; 4096]);
        assert_eq!(env.faults_injected(), 1);
    }
    assert!(dropped > 10);
}

#[test]
fn planted_faults_hit_the_named_operation_only() {
    let env = machine(1);
    let file = settled_file(&env, "a", 4096);
    env.fail(SimOp::Write, 1);
    file.write_all_at(&[1; 10], 0).unwrap();
    assert!(file.write_all_at(&[1; 10], 0).is_err());
    file.write_all_at(&[1; 10], 0).unwrap();
    env.fail(SimOp::Read, 0);
    assert!(file.read_at(&mut [0; 10], 0).is_err());
    env.fail_with(SimOp::Rename, 0, 13);
    let error = env.rename(Path::new("/data/a"), Path::new("/data/b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(env.exists(Path::new("/data/a")).unwrap());
    env.fail_randomly(SimOp::Read, 500_000);
    let failed = (0..100).filter(|_| file.read_at(&mut [0; 10], 0).is_err()).count();
    assert!((20..80).contains(&failed));
}

#[test]
fn unreadable_bytes_fail_every_read_that_touches_them_and_no_other() {
    let env = machine(1);
    let file = settled_file(&env, "a", 12_288);
    let other = settled_file(&env, "b", 12_288);
    env.set_unreadable(Path::new("/data/a"), 4096..4097).unwrap();
    for _ in 0..2 {
        assert_eq!(file.read_at(&mut [0; 10], 4090).unwrap_err().raw_os_error(), Some(5));
        file.read_at(&mut [0; 10], 4086).unwrap();
        file.read_at(&mut [0; 10], 4097).unwrap();
        other.read_at(&mut [0; 10], 4090).unwrap();
    }
    let mut ring = env.ring().unwrap();
    ring.read(1, &file, 4096, block(0, 1));
    let events = turn_until_event(&mut ring);
    assert!(matches!(&events[..], [Event::Read { result: Err(_), .. }]), "{events:?}");
    assert_eq!(env.faults_injected(), 3);
    env.set_unreadable(Path::new("/data/a"), 0..0).unwrap();
    file.read_at(&mut [0; 10], 4090).unwrap();
}

#[test]
fn a_full_disk_refuses_growth_and_nothing_else() {
    let env = machine(1);
    env.set_capacity_bytes(Some(10_000));
    let file = settled_file(&env, "a", 8000);
    assert_eq!(env.free_bytes(Path::new(DIR)).unwrap(), 2000);
    assert_eq!(file.allocate(10_001).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_all_at(&[1; 10], 9_995).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_all_at(&[1; 8000], 0).unwrap();
    assert_eq!(file.len_bytes().unwrap(), 8000);
    drop(file);
    env.remove(Path::new("/data/a")).unwrap();
    settled_file(&env, "b", 10_000);
}

#[test]
fn a_removed_file_stays_readable_and_takes_its_space_while_it_is_open() {
    let env = machine(1);
    env.set_capacity_bytes(Some(10_000));
    let file = settled_file(&env, "a", 8000);
    file.write_all_at(&[7; 8000], 0).unwrap();
    let clone = file.clone();
    env.remove(Path::new("/data/a")).unwrap();
    drop(file);
    let mut bytes = [0; 8000];
    assert_eq!((clone.read_at(&mut bytes, 0).unwrap(), bytes), (8000, [7; 8000]));
    assert_eq!(env.free_bytes(Path::new(DIR)).unwrap(), 2000);
    let after = env.kill();
    after.set_capacity_bytes(Some(10_000));
    let free_bytes = after.free_bytes(Path::new(DIR)).unwrap();
    assert_eq!(free_bytes, 10_000, "a process that is gone holds nothing");
    drop(clone);
    let env = machine(1);
    env.set_capacity_bytes(Some(10_000));
    settled_file(&env, "a", 8000);
    env.remove(Path::new("/data/a")).unwrap();
    assert_eq!(env.free_bytes(Path::new(DIR)).unwrap(), 10_000);
}

/// The directory, the file, its allocation, its sync, the directory's sync.
const SETUP_OPS: u64 = 5;

/// One run of a fixed program, stopped after `ops` operations.
fn stopped_run(seed: u64, ops: u64) -> (Vec<SimOp>, Vec<(String, Vec<u8>)>) {
    let env = machine(seed);
    let file = settled_file(&env, "a", 16_384);
    let mut ring = env.ring().unwrap();
    env.crash_after(ops);
    for i in 0..4 {
        ring.write(i, &file, i * 4096, block(1 + i as u8, 1), i % 2 == 0);
    }
    let mut events = Vec::new();
    while events.len() < 4 && ring.turn(Wait::Forever, &mut events).is_ok() {}
    let _ = env.open(&Path::new(DIR).join("b"), OpenHow::CREATE);
    let _ = env.sync_dir(Path::new(DIR));
    assert_eq!(env.is_frozen(), ops < 6);
    assert_eq!(events.len() as u64, ops.min(4));
    assert_eq!(ring.turn(Wait::Poll, &mut events).is_err(), ops < 6);
    let after = env.crash();
    let names = after.list(Path::new(DIR)).unwrap();
    (env.op_log(), names.into_iter().map(|e| (e.name.clone(), content(&after, &e.name))).collect())
}

#[test]
fn crash_points_are_hit_exactly_and_runs_repeat_by_seed() {
    for ops in 0..7 {
        for seed in 0..20 {
            let (log, left) = stopped_run(seed, ops);
            assert_eq!(log.len() as u64, SETUP_OPS + ops.min(6));
            assert_eq!((log, left), stopped_run(seed, ops));
        }
    }
    let distinct: BTreeSet<_> = (0..20).map(|seed| stopped_run(seed, 2).1).collect();
    assert!(distinct.len() > 5);
}

#[test]
fn completions_come_in_seeded_order_and_time_advances_to_them() {
    let order = |seed| {
        let env = machine(seed);
        let file = settled_file(&env, "a", 4096 * 8);
        let mut ring = env.ring().unwrap();
        let start = env.monotonic_ns();
        (0..8).for_each(|i| ring.write(i, &file, i * 4096, block(1, 1), true));
        let mut events = Vec::new();
        while events.len() < 8 {
            ring.turn(Wait::Until { monotonic_ns: u64::MAX }, &mut events).unwrap();
        }
        assert!(env.monotonic_ns() >= start + 10_000 && env.monotonic_ns() < start + 1_000_000);
        events
            .iter()
            .map(|e| if let Event::Written { token, .. } = e { *token } else { panic!() })
            .collect::<Vec<_>>()
    };
    assert_eq!(order(5), order(5));
    assert!((0..20).map(order).collect::<BTreeSet<_>>().len() > 10);
}

#[test]
fn waiting_stops_at_the_deadline_and_wakes_are_seen() {
    let env = machine(1);
    let mut ring = env.ring().unwrap();
    let mut events = Vec::new();
    let deadline = env.monotonic_ns() + 5_000_000;
    ring.turn(Wait::Until { monotonic_ns: deadline }, &mut events).unwrap();
    assert!(events.is_empty());
    assert_eq!(env.monotonic_ns(), deadline);
    let waker = ring.waker();
    waker.wake();
    waker.wake();
    ring.turn(Wait::Forever, &mut events).unwrap();
    assert!(matches!(&events[..], [Event::Woken]));
    let wall = env.now_us();
    env.jump_wall_us(-1_000_000);
    assert_eq!(env.now_us(), wall - 1_000_000);
    assert_eq!(env.monotonic_ns(), deadline + 1000);
}

#[test]
fn direct_access_must_be_aligned_and_locks_are_exclusive() {
    let env = machine(1);
    let path = Path::new("/data/a");
    let file = env.open(path, OpenHow::CREATE.direct().dsync()).unwrap();
    assert_eq!(file.write_all_at(&[0; 100], 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(file.write_all_at(&block(1, 1), 512).is_err());
    file.write_all_at(&block(1, 1), 0).unwrap();
    env.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(content(&env.crash(), "a"), vec![1; 4096]);

    let env = machine(1);
    let lock = env.lock(Path::new("/data/LOCK")).unwrap();
    assert_eq!(env.lock(Path::new("/data/LOCK")).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    env.lock(Path::new("/data/LOCK")).unwrap();
    env.open(path, OpenHow::CREATE).unwrap();
    assert_eq!(env.open(path, OpenHow::CREATE).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        env.open(Path::new("/x/a"), OpenHow::CREATE).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let read_only = env.open(path, OpenHow::READ).unwrap();
    assert!(read_only.write_all_at(&[1], 0).is_err());
}

#[test]
fn a_look_takes_time_where_that_is_asked_for() {
    let env = machine(1);
    assert_eq!(env.monotonic_ns(), env.monotonic_ns());
    env.set_look_us(3);
    let first = env.monotonic_ns();
    assert_eq!(env.monotonic_ns(), first + 3_000);
    assert_eq!(env.crash().monotonic_ns(), env.crash().monotonic_ns(), "not inherited");
}
