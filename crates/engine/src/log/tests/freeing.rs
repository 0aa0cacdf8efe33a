//! Segments given back once their records are in tables: under load, and with crashes at every step.

use super::tables::open_tables;
use super::*;
use thermae_env::SimOp;

#[test]
fn the_log_stays_short_while_it_is_flushed_and_its_files_are_used_again() {
    for durable in [true, false] {
        let env = SimEnv::new(1);
        let mut model = Model::open(&env, false);
        for round in 0..60 {
            assert!(model.put(20, durable || round % 7 == 0));
            model.settle();
            model.flush().unwrap();
            assert!(log_files(&env).len() <= 6, "{:?}", log_files(&env));
        }
        model.settle();
        let stats = model.rig.writer(0).stats();
        assert!(stats.freed > 20 && stats.recycled > 15, "{stats:?}");
        assert!(model.rig.writer(0).segments_kept() <= 2);
        assert!(model.put(5, true));
        model.settle();
        drop(model);
        let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
        assert!(report.is_sound(), "{report:?}");
        let again = Model::open(&env, false);
        assert_eq!((again.tables.held, again.tables.total()), (1200, 1205));
        assert!(
            again.tables.replayed.len() < 40,
            "only what the tables do not have, and little more"
        );
    }
}

#[test]
fn a_segment_is_kept_until_its_last_write_cannot_reach_it_any_more() {
    let env = SimEnv::new(2);
    let mut model = Model::open(&env, false);
    // Written, in several segments, and not durable: no time passes.
    assert!(model.put(70, false));
    let written = model.rig.writer(0).last_batch();
    for _ in 0..200 {
        assert!(model.turn());
    }
    let progress = model.rig.writer(0).progress();
    assert!(progress.written >= written && progress.durable == 0, "{progress:?}");
    let files = log_files(&env).len();
    model.flush().unwrap();
    assert!(model.store.durable_start(0).unwrap().start().segment >= 2);
    for _ in 0..200 {
        assert!(model.turn());
    }
    assert_eq!((model.rig.writer(0).stats().freed, log_files(&env).len()), (0, files));
    // The syncs that make it durable let it go.
    env.advance_us(100_000);
    model.settle();
    assert!(model.rig.writer(0).stats().freed >= 2);
    assert!(log_files(&env).len() < files);
}

#[test]
fn a_start_covers_what_is_in_the_tables_and_no_record_more() {
    let env = SimEnv::new(6);
    let mut model = Model::open(&env, false);
    assert!(model.put(150, true));
    for _ in 0..300 {
        assert!(model.turn());
    }
    assert!(model.starts.len() > 4);
    for (number, batch) in model.rig.sent[0].clone() {
        let last = model.rig.sent[0].iter().rfind(|(_, other)| *other <= batch).unwrap().0;
        let start = model.rig.writer(0).start_covering(batch);
        assert!(start.records <= last + 1, "{number}: {start:?} is behind record {last}");
        let later = model.starts.iter().filter(|other| other.segment > start.segment);
        assert!(later.map(|other| other.records).all(|records| records > last + 1), "{start:?}");
    }
    assert_eq!(model.rig.writer(0).start_covering(0), model.starts[0]);
}

#[test]
fn what_is_freed_makes_room_on_a_full_disk_at_once() {
    let env = SimEnv::new(3);
    let mut model = Model::open(&env, false);
    let used: u64 = log_files(&env).iter().map(|(_, bytes)| bytes).sum();
    env.set_capacity_bytes(Some(used + 2 * options().segment_bytes + 20_000));
    let mut number = 0;
    loop {
        match model.rig.append(0, number) {
            Ok(_) => number += 1,
            Err(error) if error.is_backpressure() => {
                model.rig.submit(0, true);
                assert!(model.turn());
            }
            Err(AppendError::DiskFull { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    model.rig.submit(0, true);
    // Without the time after which it would be tried again.
    for _ in 0..300 {
        assert!(model.turn());
    }
    model.flush().unwrap();
    for _ in 0..300 {
        assert!(model.turn());
    }
    assert!(model.put(30, true));
    model.settle();
    assert!(model.rig.writer(0).stats().recycled > 0);
    drop(model);
    env.set_capacity_bytes(None);
    assert_eq!(Model::open(&env, false).tables.total(), number + 30);
}

#[test]
fn a_closed_log_begins_where_the_manifest_says() {
    let env = SimEnv::new(4);
    let mut expected = 0;
    for (round, more) in [40, 0, 25, 0, 0].into_iter().enumerate() {
        let mut model = Model::open(&env, round == 3);
        assert_eq!(model.tables.total(), expected, "round {round}");
        assert_eq!(model.rig.recovered.report.was_closed, round > 0);
        assert!(model.put(60, true));
        model.settle();
        model.flush().unwrap();
        model.settle();
        assert!(model.put(more, true));
        expected += 60 + more;
        model.rig.stop();
        let ends = [model.rig.writer(0).end()];
        assert!(model.store.close(&ends).unwrap());
        assert!(model.store.current().sealed.iter().any(|log| log.start.segment > 0));
        drop(model);
        let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
    assert_eq!(Model::open(&env, false).tables.total(), expected);
}

/// Writes, flushes and gives back until the machine stops. Returns the records that were durable and
/// those that were sent.
fn run_until_the_crash(env: &SimEnv, seed: u64, covers: bool) -> (u64, u64) {
    let Ok(mut model) = Model::try_open(env, covers) else { return (0, u64::MAX) };
    let before = model.tables.total();
    for round in 0..40 {
        let is_alive = model.put(5, !(seed + round).is_multiple_of(3));
        if !is_alive || env.is_frozen() {
            break;
        }
        for _ in 0..8 {
            env.advance_us(500);
            model.turn();
        }
        if (seed + round).is_multiple_of(4) && model.flush().is_err() {
            break;
        }
    }
    (model.durable(), before + model.rig.sent[0].len() as u64)
}

/// Opens after the crash, with crashes while it does. Gives what is there.
fn reopen(env: &SimEnv, seed: u64, is_power_cut: bool) -> u64 {
    let stop = |env: &SimEnv| if is_power_cut { env.crash() } else { env.kill() };
    let mut env = stop(env);
    let mut first = None;
    for nested in 0..4 {
        if nested < 3 {
            env.crash_after((seed * 5 + nested * 7) % 29);
        }
        let (opened, tables) = open_tables(&env, (seed + nested).is_multiple_of(2));
        match opened {
            Ok(_) => {
                let total = tables.total();
                assert_eq!(*first.get_or_insert(total), total, "seed {seed}: another answer");
            }
            Err(error) => assert!(env.is_frozen(), "seed {seed}, open {nested}: {error}"),
        }
        env = stop(&env);
    }
    first.unwrap()
}

#[test]
fn a_crash_at_any_step_of_freeing_loses_nothing() {
    let mut freed = 0;
    for seed in 0..260_u64 {
        let env = SimEnv::new(seed);
        let mut model = Model::open(&env, false);
        // Some history first, so that the steps that crash are those of freeing.
        assert!(model.put(60, true));
        model.settle();
        if seed.is_multiple_of(2) {
            model.flush().unwrap();
        }
        let kept = model.durable();
        drop(model);
        let env = env.kill();
        env.crash_after(15 + seed * 2);
        let (durable, sent) = run_until_the_crash(&env, seed, seed.is_multiple_of(3));
        freed += u64::from(durable > kept);
        let total = reopen(&env, seed, seed % 4 < 2);
        assert!(total >= durable.max(kept), "seed {seed}: {total} of {durable} are there");
        assert!(total <= sent, "seed {seed}: {total} of {sent} sent");
    }
    assert!(freed > 150, "the crashes come too early: {freed}");
}

/// A kill between the rename of a manifest and the sync of its directory leaves one that the next open reads, and that
/// a power cut takes back. What only the older one names must not have gone meanwhile.
#[test]
fn a_manifest_that_a_kill_left_unsynced_is_durable_before_what_it_lets_go_is_gone() {
    for flushing in 0..14 {
        for opening in 0..20 {
            let env = SimEnv::new(7);
            let mut model = Model::open(&env, false);
            assert!(model.put(60, true));
            model.settle();
            env.crash_after(flushing);
            let _ = model.flush();
            drop(model);
            let env = env.kill();
            env.crash_after(opening);
            drop(open_tables(&env, true));
            let env = env.crash();
            let (opened, tables) = open_tables(&env, false);
            assert!(opened.is_ok(), "{flushing}, {opening}: {:?}", opened.err());
            assert_eq!(tables.total(), 60, "{flushing}, {opening}");
        }
    }
}

/// Files that could not be removed when they were given back, or whose removal is under way, may hold what is
/// erased: a purge ends when they are gone.
#[test]
fn a_purge_ends_when_files_are_gone_whose_removal_failed_or_is_under_way() {
    for failing in [true, false] {
        let env = SimEnv::new(8);
        let mut model = Model::open(&env, false);
        assert!(model.put(150, true));
        model.settle();
        if failing {
            env.fail(SimOp::Remove, 0);
        } else {
            // A removal takes longer than all the turns of the first look.
            env.set_delay_us(400_000, 400_000);
        }
        model.flush().unwrap();
        while model.rig.writer(0).stats().freed < 2 {
            env.advance_us(1000);
            assert!(model.turn());
        }
        if failing {
            model.settle();
            assert!(env.faults_injected() == 1, "no removal failed");
        }
        env.set_delay_us(10, 200);
        let before: Vec<_> = log_files(&env).into_iter().map(|(path, _)| path).collect();
        model.rig.writer(0).purge();
        let mut rounds = 0;
        while !model.rig.writer(0).end_purge() {
            rounds += 1;
            assert!(rounds < 50, "{:?}", log_files(&env));
            assert!(model.put(20, true));
            model.settle();
            model.flush().unwrap();
        }
        let left = log_files(&env.crash());
        assert!(left.iter().all(|(path, _)| !before.contains(path)), "{before:?} {left:?}");
    }
}

#[test]
fn an_old_manifest_put_back_loses_nothing_or_is_refused() {
    let env = SimEnv::new(5);
    let path = Path::new(DIR).join("MANIFEST");
    let mut old = Vec::new();
    for epoch in 0..2 {
        let mut model = Model::open(&env, epoch == 1);
        for _ in 0..12 {
            old.push(env.file_bytes(&path).unwrap());
            assert!(model.put(15, true));
            model.settle();
            model.flush().unwrap();
        }
        assert!(model.put(3, true));
        model.settle();
    }
    let now = env.file_bytes(&path).unwrap();
    let mut refused = 0;
    for manifest in old {
        let env = env.kill();
        env.set_file_bytes(&path, &manifest).unwrap();
        let (opened, tables) = open_tables(&env, false);
        match opened {
            Ok(_) => assert_eq!(tables.total(), 366),
            Err(error) => {
                let is_named = matches!(error, LogError::Missing { .. } | LogError::Extra { .. });
                assert!(is_named, "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 20, "{refused}");
    let env = env.kill();
    assert_eq!(env.file_bytes(&path).unwrap(), now);
    assert_eq!(open_tables(&env, false).1.total(), 366);
}
