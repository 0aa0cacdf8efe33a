//! Failing writes and syncs, full disks.

use std::sync::Arc;

use thermae_env::SimOp;

use super::*;

/// Segments so long that none is made ahead in these tests.
fn long() -> LogOptions {
    LogOptions { segment_bytes: 256 << 10, ..options() }
}

fn failure(rig: &mut Rig) -> Arc<LogFailure> {
    for _ in 0..10_000 {
        if let Some(failure) = rig.writer(0).progress().failed {
            return failure;
        }
        assert!(rig.turn(None));
    }
    panic!("no failure was seen");
}

#[test]
fn a_failed_write_is_final_and_recovery_reads_what_is_there() {
    for seed in 0..30 {
        let env = SimEnv::new(seed);
        let mut rig = Rig::open_with(&env, 1, &long());
        rig.put(0..10, true);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.durable >= last);
        env.fail(SimOp::Write, 0);
        rig.put([10], true);
        let failure = failure(&mut rig);
        assert!(failure.file.to_string_lossy().contains("/log/00000001-0000-"), "{failure}");
        assert!(failure.offset >= 8192 && env.faults_injected() == 1, "{failure}");
        let writes = |env: &SimEnv| {
            env.op_log().iter().filter(|op| matches!(op, SimOp::Write | SimOp::Sync)).count()
        };
        let before = (rig.writer(0).progress(), writes(&env));
        assert!(matches!(rig.append(0, 11), Err(AppendError::ReadOnly(_))));
        rig.submit(0, true);
        env.advance_us(1_000_000);
        for _ in 0..100 {
            rig.turn(None);
        }
        assert!(rig.writer(0).is_stopped());
        assert_eq!((rig.writer(0).progress(), writes(&env)), before, "nothing is tried again");
        drop(rig);
        let seen = numbers(&Rig::open_with(&env, 1, &long()).replayed);
        let (whole, part): (Vec<u64>, Vec<u64>) = ((0..11).collect(), (0..10).collect());
        assert!(seen == whole || seen == part, "in doubt is either: {seen:?}");
    }
}

#[test]
fn a_failed_sync_is_final_and_its_batches_never_count() {
    for seed in 0..30 {
        let env = SimEnv::new(seed);
        let mut rig = Rig::open_with(&env, 1, &long());
        rig.put(0..5, true);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.durable >= last);
        rig.put(5..8, false);
        env.fail(SimOp::Sync, 0);
        env.advance_us(60_000);
        let failure = failure(&mut rig);
        assert_eq!(failure.what, "syncing");
        let progress = rig.writer(0).progress();
        assert!(progress.durable == last && progress.written > last, "{progress:?}");
        let syncs = env.op_log().iter().filter(|op| **op == SimOp::Sync).count();
        env.advance_us(1_000_000);
        for _ in 0..100 {
            rig.turn(None);
        }
        let after = env.op_log().iter().filter(|op| **op == SimOp::Sync).count();
        assert_eq!(syncs, after, "never synced again");
        drop(rig);
        let env = env.crash();
        let seen = numbers(&Rig::open_with(&env, 1, &long()).replayed);
        assert!(seen.len() >= 5 && seen == (0..seen.len() as u64).collect::<Vec<_>>(), "{seen:?}");
    }
}

#[test]
fn a_full_disk_refuses_before_touching_anything_and_goes_on_by_itself() {
    let env = SimEnv::new(1);
    let mut rig = Rig::open_with(&env, 1, &long());
    rig.put([0], true);
    rig.run(|progress| progress.durable >= 1);
    env.set_capacity_bytes(Some(600 << 10));
    // Everything so far took 256 KiB and a manifest; one more segment fits, then no more.
    let mut number = 1;
    let refused = loop {
        match rig.append(0, number) {
            Ok(_) => number += 1,
            Err(error) if error.is_backpressure() => {
                rig.submit(0, true);
                assert!(rig.turn(None));
            }
            Err(error) => break error,
        }
        assert!(number < 5000);
    };
    assert!(
        matches!(&refused, AppendError::DiskFull { needed_bytes, .. } if *needed_bytes == 256 << 10)
    );
    assert!(!refused.is_backpressure() && env.faults_injected() > 0, "{refused}");
    rig.submit(0, true);
    let last = rig.sent[0].last().unwrap().1;
    rig.run(|progress| progress.durable >= last);
    // Puts are refused, a tombstone still finds room.
    let put = with_record(0, number, |r| {
        rig.recovered.writers[0].append(&Record { kind: RecordKind::Put, ..*r })
    });
    assert!(matches!(put, Err(AppendError::DiskFull { .. })), "{put:?}");
    with_record(0, 0, |r| {
        let small = Record { key: b"", value: b"", kind: RecordKind::Tombstone, ..*r };
        rig.recovered.writers[0].append(&small).unwrap();
    });
    drop(rig);
    let env = env.kill();
    let mut rig = Rig::open_with(&env, 1, &long());
    assert_eq!(numbers(&rig.replayed), (0..number).collect::<Vec<_>>());
    // A full disk that gets room again while the log is open.
    let used: u64 = log_files(&env).iter().map(|(_, bytes)| bytes).sum();
    env.set_capacity_bytes(Some(used + 5000));
    while !matches!(rig.append(0, number), Err(AppendError::DiskFull { .. })) {
        number += 1;
        rig.submit(0, true);
        rig.turn(None);
    }
    env.set_capacity_bytes(None);
    env.advance_us(1_100_000);
    for _ in 0..2000 {
        rig.turn(None);
    }
    rig.append(0, number).unwrap();
    rig.stop();
}

#[test]
fn a_segment_that_cannot_be_made_is_tried_again_and_the_log_lives() {
    for op in [SimOp::Create, SimOp::Rename, SimOp::SyncDir] {
        let env = SimEnv::new(3);
        let mut rig = Rig::open(&env, 1);
        env.fail(op, 0);
        rig.put(0..8, true);
        let mut number = 8;
        let refused = loop {
            match rig.append(0, number) {
                Ok(_) => number += 1,
                Err(error) if error.is_backpressure() => {
                    rig.submit(0, true);
                    assert!(rig.turn(None));
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::NoSegment { .. }), "{op:?}: {refused}");
        assert_eq!(env.faults_injected(), 1);
        env.advance_us(1_100_000);
        rig.submit(0, true);
        rig.turn(None);
        rig.put(number..number + 50, true);
        rig.stop();
        assert!(rig.writer(0).progress().failed.is_none());
        drop(rig);
        assert_eq!(Rig::open(&env, 1).replayed.len() as u64, number + 50);
    }
}

#[test]
fn a_read_error_is_an_error_and_not_the_end_of_the_log() {
    let env = SimEnv::new(4);
    let mut rig = Rig::open(&env, 1);
    rig.put(0..40, true);
    rig.stop();
    drop(rig);
    for after in 0..20 {
        let before = env.faults_injected();
        env.fail(SimOp::Read, after);
        let (opened, _) = open(&env, 1, &options());
        if env.faults_injected() == before {
            break;
        }
        let error = opened.err().expect("the read failed");
        assert!(matches!(error, LogError::Io { .. }), "{error}");
        assert!(error.location().is_some());
    }
    assert!(env.faults_injected() > 2);
}
