//! Writing and reading back, without any fault.

use super::*;

#[test]
fn what_was_appended_comes_back_in_order_over_many_segments() {
    let env = SimEnv::new(1);
    let mut rig = Rig::open(&env, 1);
    assert!(rig.recovered.report.created && rig.replayed.is_empty());
    rig.put(0..400, true);
    rig.stop();
    let stats = rig.writer(0).stats();
    assert!(stats.segments > 5 && stats.records == 400, "{stats:?}");
    drop(rig);
    let again = Rig::open(&env, 1);
    assert_eq!(numbers(&again.replayed), (0..400).collect::<Vec<_>>());
    let report = &again.recovered.report;
    assert_eq!((report.records, report.logs, report.cuts.len()), (400, 1, 1));
    assert!(report.cuts[0].is_clean_stop && !report.cuts[0].is_torn, "{:?}", report.cuts);
    assert_eq!((report.batches, report.cuts[0].batch), (stats.batches, stats.batches));
}

#[test]
fn epochs_are_replayed_in_order_under_any_number_of_shards() {
    let env = SimEnv::new(2);
    let mut expected = Vec::new();
    for (round, shards) in [1_u16, 2, 3, 1, 2].into_iter().enumerate() {
        let mut rig = Rig::open(&env, shards);
        assert_eq!(numbers(&rig.replayed), expected, "round {round}");
        let from = round as u64 * 30;
        rig.put(from..from + 30, round % 2 == 0);
        rig.stop();
        expected.extend(from..from + 30);
    }
}

#[test]
fn shards_are_replayed_one_after_the_other() {
    let env = SimEnv::new(3);
    let mut rig = Rig::open(&env, 2);
    // The second shard's log gets a ring of its own.
    for number in 0..5 {
        rig.append(1, number).unwrap();
    }
    let mut ring = env.ring().unwrap();
    let writer = &mut rig.recovered.writers[1];
    writer.stop(&mut ring);
    while !writer.is_stopped() {
        let mut events = Vec::new();
        ring.turn(Wait::Poll, &mut events).unwrap();
        for event in events {
            writer.on_event(LogEvent::from_event(event).unwrap(), &mut ring);
        }
    }
    rig.put(5..9, true);
    rig.stop();
    drop(rig);
    let again = Rig::open(&env, 1);
    let expected: Vec<Seen> = (5..9)
        .map(|number| Seen { shard: 0, number })
        .chain((0..5).map(|number| Seen { shard: 1, number }))
        .collect();
    assert_eq!(again.replayed, expected);
}

#[test]
fn a_durable_batch_is_durable_when_the_progress_says_so() {
    let env = SimEnv::new(4);
    let mut rig = Rig::open(&env, 1);
    let batch = rig.append(0, 1).unwrap();
    assert_eq!((batch, rig.writer(0).open_records()), (1, 1));
    rig.submit(0, true);
    assert_eq!((rig.writer(0).progress().durable, rig.writer(0).in_flight()), (0, 1));
    rig.run(|progress| progress.durable >= batch);
    let env = env.crash();
    assert_eq!(numbers(&Rig::open(&env, 1).replayed), [1]);
}

#[test]
fn a_logged_batch_is_synced_soon_and_the_horizon_is_stated_when_idle() {
    let env = SimEnv::new(5);
    let mut rig = Rig::open(&env, 1);
    rig.put([1], false);
    let start = env.monotonic_ns();
    rig.run(|progress| progress.written == 1);
    assert_eq!(rig.writer(0).progress().durable, 0);
    while rig.writer(0).progress().durable == 0 {
        let deadline = {
            let Rig { recovered, ring, env, .. } = &mut rig;
            recovered.writers[0].tick(env.monotonic_ns(), ring)
        };
        assert!(rig.turn(deadline));
    }
    assert!(env.monotonic_ns() - start < 100_000_000, "the flush is late");
    let synced = env.monotonic_ns();
    while rig.writer(0).progress().durable < 2 {
        assert!(rig.turn(Some(synced + 11_000_000)));
    }
    assert_eq!(rig.writer(0).stats().horizon_batches, 1);
    assert!(env.monotonic_ns() - synced < 12_000_000);
    // Idle for good: nothing more is written.
    env.advance_us(1_000_000);
    for _ in 0..100 {
        assert!(rig.turn(None));
    }
    assert_eq!(rig.writer(0).progress().assigned, 2);
}

#[test]
fn mixed_modes_over_a_roll_become_durable_in_order() {
    for seed in 0..20 {
        let env = SimEnv::new(seed);
        let mut rig = Rig::open(&env, 1);
        for number in 0..120 {
            rig.put([number], number % 3 == 0);
            if number % 4 == 0 {
                rig.turn(None);
            }
        }
        rig.put([120], true);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.durable >= last);
        assert!(rig.writer(0).stats().segments > 2);
        let env = env.crash();
        assert_eq!(numbers(&Rig::open(&env, 1).replayed), (0..=120).collect::<Vec<_>>());
    }
}

#[test]
fn while_writes_are_in_flight_the_next_batch_collects() {
    let env = SimEnv::new(6);
    let mut rig = Rig::open(&env, 1);
    for number in 0..10 {
        rig.append(0, number).unwrap();
        rig.submit(0, true);
    }
    assert_eq!(rig.writer(0).in_flight(), 3, "the bound of the options");
    let batches: Vec<u64> = rig.sent[0].iter().map(|(_, batch)| *batch).collect();
    assert_eq!(batches, [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]);
    rig.run(|progress| progress.durable == 4);
    assert_eq!(rig.writer(0).stats().syncs, 0, "synchronous writes need none");
}

#[test]
fn limits_are_refused_without_touching_anything() {
    let env = SimEnv::new(7);
    let mut rig = Rig::open(&env, 1);
    let value = vec![0; 9000];
    let (writer, before) = (rig.writer(0), 0);
    let refused = with_record(0, 1, |r| writer.append(&Record { value: &value, ..*r }));
    assert_eq!(refused, Err(AppendError::TooLarge { bytes: 12_288, limit: 8192 }));
    assert_eq!(rig.writer(0).open_records(), before);
    let full = (0..100).find_map(|number| rig.append(0, number).err());
    assert_eq!(full, Some(AppendError::BatchFull));
    assert!(AppendError::BatchFull.is_backpressure());
    rig.stop();
    assert_eq!(rig.append(0, 1), Err(AppendError::Stopping));
}

#[test]
fn bad_options_are_refused() {
    let env = SimEnv::new(8);
    let broken: [fn(&mut LogOptions); 5] = [
        |o| o.partitions = 0,
        |o| o.segment_bytes = 10_000,
        |o| o.max_batch_bytes = 100,
        |o| o.max_in_flight = 0,
        |o| o.partitions = 5000,
    ];
    for breaks in broken {
        let mut options = options();
        breaks(&mut options);
        assert!(matches!(open(&env, 1, &options).0, Err(LogError::Options(_))));
    }
    assert!(matches!(open(&env, 0, &options()).0, Err(LogError::Options(_))));
    assert!(!env.exists(Path::new(DIR)).unwrap());
}

#[test]
fn opening_again_and_again_needs_no_more_space() {
    let env = SimEnv::new(9);
    let mut rig = Rig::open(&env, 2);
    rig.put(0..60, true);
    rig.stop();
    drop(rig);
    drop(Rig::open(&env, 2));
    let before: u64 = log_files(&env).iter().map(|(_, bytes)| bytes).sum();
    for _ in 0..20 {
        assert_eq!(Rig::open(&env, 2).replayed.len(), 60);
    }
    let after: u64 = log_files(&env).iter().map(|(_, bytes)| bytes).sum();
    assert!(after <= before + 2 * options().segment_bytes, "{before} -> {after}");
}

#[test]
fn a_sealed_log_gives_its_unused_end_back() {
    let env = SimEnv::new(10);
    let mut rig = Rig::open(&env, 1);
    rig.put(0..2, true);
    rig.stop();
    drop(rig);
    drop(Rig::open(&env, 1));
    let first = log_files(&env)[0].clone();
    assert!(first.0.ends_with("00000001-0000-00000000.log"), "{first:?}");
    assert_eq!(first.1, 12_288, "header, one batch, the final one");
    assert_eq!(Rig::open(&env, 1).replayed.len(), 2);
}

#[test]
fn unused_files_serve_the_next_epoch_and_do_not_bring_old_batches_back() {
    let env = SimEnv::new(11);
    for round in 0..12_u64 {
        let mut rig = Rig::open(&env, 1);
        assert_eq!(rig.replayed.len() as u64, round * 30);
        rig.put(round * 30..round * 30 + 30, true);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.durable >= last);
        // Not stopped: what was made ahead stays behind, in whatever state.
    }
}

#[test]
fn only_one_opens_a_directory() {
    let env = SimEnv::new(12);
    let rig = Rig::open(&env, 1);
    let (second, _) = open(&env, 1, &options());
    let locked = second.err().unwrap();
    assert!(matches!(&locked, LogError::Locked { path } if path.ends_with("LOCK")), "{locked}");
    assert!(matches!(
        verify_directory(&env, Path::new(DIR), &mut |_, _| ()),
        Err(LogError::Locked { .. })
    ));
    drop(rig);
    drop(Rig::open(&env, 1));
}

#[test]
fn the_receiver_of_the_records_may_end_the_open() {
    let env = SimEnv::new(13);
    let mut rig = Rig::open(&env, 1);
    rig.put(0..3, true);
    rig.stop();
    drop(rig);
    let refuse = &mut |_: &Record<'_>| Err("no memory".to_owned());
    let refused = open_directory(&env, Path::new(DIR), 1, &options(), refuse).err().unwrap();
    assert!(matches!(&refused, LogError::Refused(why) if why == "no memory"));
    assert_eq!(Rig::open(&env, 1).replayed.len(), 3);
}

#[test]
fn a_closed_directory_knows_every_end_and_opens_again_and_again() {
    let env = SimEnv::new(14);
    for round in 0..6_u64 {
        let mut rig = Rig::open(&env, 1);
        assert_eq!(numbers(&rig.replayed), (0..round / 2 * 25).collect::<Vec<_>>());
        let report = &rig.recovered.report;
        assert_eq!((report.was_closed, report.cuts.len()), (round > 0, 0));
        if round % 2 == 1 {
            let from = round / 2 * 25;
            rig.put(from..from + 25, round == 3);
        }
        close(rig);
        let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
    // Without the end of every log the epoch stays open.
    let rig = Rig::open(&env, 2);
    let ends: Vec<_> = rig.recovered.writers.iter().map(LogWriter::end).collect();
    assert_eq!(ends, [None, None]);
    assert!(!close_directory(&env, Path::new(DIR), &rig.recovered.manifest, &ends).unwrap());
}
