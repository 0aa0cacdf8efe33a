//! What a manifest says beside where logs end: older versions, trees, epochs that are in the tables.

use thermae_env::SimOp;
use thermae_formats::manifest::Manifest;
use xxhash_rust::xxh3::xxh3_64;

use super::tables::{hold, open_tables};
use super::*;

fn manifest_path() -> PathBuf {
    Path::new(DIR).join("MANIFEST")
}

fn read(env: &SimEnv) -> Manifest {
    Manifest::parse(&env.file_bytes(&manifest_path()).unwrap()).unwrap()
}

/// The bytes that the writer of version 1 wrote.
fn version_1(manifest: &Manifest) -> Vec<u8> {
    let mut out = b"THRMMANI\x01\0".to_vec();
    out.extend(manifest.partitions.to_le_bytes());
    out.extend(manifest.epoch.to_le_bytes());
    out.extend(manifest.store_id);
    out.extend(manifest.hash_seed.to_le_bytes());
    out.extend(manifest.segment_bytes.to_le_bytes());
    out.extend((manifest.current.len() as u32).to_le_bytes());
    out.extend((manifest.sealed.len() as u32).to_le_bytes());
    for log in &manifest.current {
        out.extend(u64::from(log.shard).to_le_bytes());
        out.extend(log.start.salt.to_le_bytes());
    }
    for log in &manifest.sealed {
        out.extend(log.epoch.to_le_bytes());
        out.extend(u32::from(log.shard).to_le_bytes());
        out.extend(u64::from(log.segments).to_le_bytes());
        for word in [log.start.salt, log.end_offset, log.batches, log.records, log.chain] {
            out.extend(word.to_le_bytes());
        }
    }
    out.extend(xxh3_64(&out).to_le_bytes());
    out
}

#[test]
fn a_directory_of_version_1_opens_and_is_of_version_2_then() {
    for is_closed in [false, true] {
        let env = SimEnv::new(1);
        for round in 0..3_u64 {
            let mut rig = Rig::open(&env, 1);
            rig.put(round * 40..round * 40 + 40, true);
            match is_closed {
                true => close(rig),
                false => rig.stop(),
            }
        }
        env.set_file_bytes(&manifest_path(), &version_1(&read(&env))).unwrap();
        let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
        assert!(report.is_sound() && report.records == 120, "{report:?}");
        // A crash on the way leaves one or the other.
        let mut image = vec![(manifest_path(), env.file_bytes(&manifest_path()).unwrap())];
        for (path, _) in log_files(&env) {
            image.push((path.clone(), env.file_bytes(&path).unwrap()));
        }
        for operations in 0..40 {
            let env = super::damage::machine(&image);
            env.crash_after(operations);
            drop(open(&env, 1, &options()));
            let env = env.crash();
            assert_eq!(Rig::open(&env, 1).replayed.len(), 120, "after {operations}");
        }
        assert_eq!(numbers(&Rig::open(&env, 1).replayed), (0..120).collect::<Vec<_>>());
        assert_eq!(env.file_bytes(&manifest_path()).unwrap()[8], 2);
        let mut model = Model::open(&env, true);
        assert_eq!(model.tables.total(), 120);
        assert!(model.put(5, true) && model.store.current().sealed.is_empty());
    }
}

#[test]
fn an_epoch_that_is_in_the_tables_needs_no_logs() {
    let env = SimEnv::new(2);
    let mut rig = Rig::open(&env, 2);
    rig.put(0..100, true);
    rig.stop();
    drop(rig);
    let mut rig = Rig::open(&env, 1);
    rig.put(100..150, true);
    rig.stop();
    drop(rig);
    let old: Vec<(PathBuf, Vec<u8>)> = log_files(&env)
        .into_iter()
        .map(|(path, _)| (path.clone(), env.file_bytes(&path).unwrap()))
        .collect();
    let model = Model::open(&env, true);
    assert_eq!(model.tables.total(), 150);
    let manifest = read(&env);
    assert_eq!((manifest.covered_epoch, manifest.epoch), (2, 3));
    assert!(manifest.sealed.is_empty() && manifest.tables[0].rows == 150);
    assert!(log_files(&env).len() <= 2, "{:?}", log_files(&env));
    drop(model);
    // Files of those epochs that a crash kept from going are free; others are not.
    for (path, bytes) in &old {
        env.set_file_bytes(path, bytes).unwrap();
    }
    let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let model = Model::open(&env, false);
    assert_eq!((model.tables.total(), model.tables.replayed.len()), (150, 0));
    assert!(log_files(&env).len() <= 2, "{:?}", log_files(&env));
    drop(model);
    let foreign = old.iter().map(|(path, bytes)| {
        let mut bytes = bytes.clone();
        bytes[16] ^= 1;
        let checksum = xxh3_64(&bytes[..4088]).to_le_bytes();
        bytes[4088..4096].copy_from_slice(&checksum);
        (path, bytes)
    });
    let (path, bytes) = foreign.into_iter().next().unwrap();
    env.set_file_bytes(path, &bytes).unwrap();
    let error = open_tables(&env, false).0.err().expect("not ours to remove");
    assert!(matches!(&error, LogError::Foreign { path: p } if p == path), "{error}");
}

#[test]
fn a_crash_at_every_step_of_an_open_that_covers_leaves_the_same_records() {
    for operations in 0..80 {
        let env = SimEnv::new(operations);
        let mut model = Model::open(&env, false);
        for _ in 0..4 {
            assert!(model.put(30, true));
            model.settle();
        }
        model.flush().unwrap();
        assert!(model.put(30, true));
        model.settle();
        drop(model);
        let env = env.kill();
        env.crash_after(operations);
        drop(open_tables(&env, true));
        let was_cut = env.is_frozen();
        let env = env.crash();
        assert_eq!(open_tables(&env, operations % 2 == 0).1.total(), 150, "after {operations}");
        let env = env.crash();
        assert_eq!(open_tables(&env, false).1.total(), 150, "after {operations}");
        if !was_cut {
            return;
        }
    }
    panic!("the open has more than 80 steps");
}

#[test]
fn trees_of_another_number_of_shards_are_refused_while_the_epoch_is_open() {
    let env = SimEnv::new(3);
    let mut model = Model::open(&env, true);
    assert!(model.put(5, true));
    model.settle();
    drop(model);
    let before = env.file_bytes(&manifest_path()).unwrap();
    let error = open(&env, 2, &options()).0.err().expect("two shards, one tree");
    assert!(matches!(&error, LogError::Manifest(what) if what.contains("trees")), "{error}");
    assert_eq!(env.file_bytes(&manifest_path()).unwrap(), before);
    let mut tables = Tables { covers: true, shards: 2, ..Tables::default() };
    open_directory_with(&env, Path::new(DIR), 2, &options(), &mut tables).unwrap();
    assert_eq!((tables.total(), read(&env).trees.len()), (5, 2));
}

#[test]
fn a_receiver_that_fails_at_the_end_leaves_the_directory_as_it_was() {
    struct Fails;
    impl Replay for Fails {
        fn begin(&mut self, _: &Manifest) -> Result<(), String> {
            Ok(())
        }
        fn record(&mut self, _: &Record<'_>) -> Result<(), String> {
            Ok(())
        }
        fn finish(&mut self, _: &Manifest) -> Result<Trees, String> {
            Err("no room for tables".to_owned())
        }
    }
    let env = SimEnv::new(4);
    let mut rig = Rig::open(&env, 1);
    rig.put(0..30, true);
    rig.stop();
    drop(rig);
    let before = env.file_bytes(&manifest_path()).unwrap();
    let refused = open_directory_with(&env, Path::new(DIR), 1, &options(), &mut Fails).err();
    assert!(matches!(refused, Some(LogError::Refused(why)) if why == "no room for tables"));
    assert_eq!(env.file_bytes(&manifest_path()).unwrap(), before);
    assert_eq!(Rig::open(&env, 1).replayed.len(), 30);
}

#[test]
fn a_commit_that_fails_changes_nothing_and_the_next_one_writes_all() {
    for op in [SimOp::Create, SimOp::Write, SimOp::Sync, SimOp::Rename, SimOp::SyncDir] {
        let env = SimEnv::new(5);
        let model = Model::open(&env, false);
        let before = model.store.current();
        let file_id = model.store.next_file_id();
        env.fail(op, 0);
        let failed = model.store.commit(|manifest| hold(manifest, 3, file_id, 1));
        assert!(matches!(failed, Err(LogError::Io { .. })), "{op:?}: {failed:?}");
        assert_eq!(model.store.current(), before, "{op:?}");
        let file_id = model.store.next_file_id();
        model.store.commit(|manifest| hold(manifest, 4, file_id, 1)).unwrap();
        assert_eq!(read(&env), *model.store.current());
        assert_eq!(read(&env).tables[0].rows, 4);
    }
}

#[test]
fn commits_that_take_something_back_are_refused_without_a_write() {
    let env = SimEnv::new(6);
    let mut model = Model::open(&env, false);
    assert!(model.put(70, true));
    model.settle();
    model.flush().unwrap();
    let before = model.store.current();
    assert!(before.current[0].start.segment > 0);
    let first = model.starts[0];
    let edits: [&dyn Fn(&mut Manifest); 8] = [
        &|m| m.current[0].start = first,
        &|m| m.current[0].start.records -= 1,
        &|m| m.current[0].start.salt ^= 1,
        &|m| m.partitions += 1,
        &|m| m.epoch += 1,
        &|m| m.current.clear(),
        &|m| m.covered_epoch += 1,
        &|m| m.tables[0].file_id = u64::MAX,
    ];
    for (case, edit) in edits.into_iter().enumerate() {
        let refused = model.store.commit(|manifest| edit(manifest));
        assert!(matches!(refused, Err(LogError::Manifest(_))), "case {case}: {refused:?}");
        assert_eq!((read(&env), model.store.current()), ((*before).clone(), before.clone()));
    }
}

#[test]
fn file_ids_are_given_once_whatever_lies_in_the_directory() {
    let env = SimEnv::new(7);
    let model = Model::open(&env, false);
    let warm = Path::new(DIR).join("warm");
    env.create_dir_all(&warm).unwrap();
    let names = ["0000000000000009.tbl", "000000000000000b.ckp.tmp", "00000000000000ff.txt"];
    for name in names.into_iter().chain(["ffffffffffffffff.tbl", "ff.tbl"]) {
        env.set_file_bytes(&warm.join(name), b"").unwrap();
    }
    let manifest = (*model.store.current()).clone();
    let store = ManifestStore::new(env.clone(), Path::new(DIR), manifest.clone()).unwrap();
    assert_eq!((store.next_file_id(), store.next_file_id()), (12, 13));
    store.commit(|_| ()).unwrap();
    assert_eq!(read(&env).next_file_id, 14);
    let later = Manifest { next_file_id: 40, ..manifest };
    assert_eq!(first_file_id(&env, Path::new(DIR), &later).unwrap(), 40);
}

#[test]
fn commits_of_several_threads_follow_each_other() {
    let env = SimEnv::new(8);
    let model = Model::open(&env, false);
    let file_id = model.store.next_file_id();
    model.store.commit(|manifest| hold(manifest, 0, file_id, 1)).unwrap();
    let store = &model.store;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..25 {
                    store.commit(|manifest| manifest.tables[0].rows += 1).unwrap();
                }
            });
        }
    });
    assert_eq!((read(&env).tables[0].rows, read(&env)), (100, (*store.current()).clone()));
}
