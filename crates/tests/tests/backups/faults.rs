//! Full disks, failing reads, bytes that are not what was written.

use std::path::{Path, PathBuf};

use thermae_engine::{Error, backup};
use thermae_env::{Env, SimEnv, SimOp};

use super::support::{
    PLACE, RESTORED, Small, at_once, digests_of, files, fork, place, restore, take, verify,
};

fn backed_up(seed: u64) -> (Small, SimEnv) {
    let mut small = Small::new(seed);
    small.write(600);
    let env = SimEnv::new(seed + 1);
    let source = small.source();
    take(&env, &source).unwrap();
    (small, env)
}

/// No restore has left anything.
fn is_vacant(env: &SimEnv) -> bool {
    let entries = env.list(Path::new(RESTORED)).unwrap_or_default();
    entries.iter().all(|entry| match entry.name.as_str() {
        "LOCK" => true,
        "warm" | "log" => env.list(&Path::new(RESTORED).join(&entry.name)).unwrap().is_empty(),
        _ => false,
    })
}

#[test]
fn a_flipped_byte_of_any_file_is_named_with_its_place_and_nothing_is_restored() {
    let (_small, origin) = backed_up(20);
    for (number, path) in files(&origin).into_iter().enumerate() {
        let bytes = origin.file_bytes(&path).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let env = fork(&origin, number as u64);
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            env.set_file_bytes(&path, &broken).unwrap();
            let offset = at as u64 / (1 << 20) * (1 << 20);
            let error = restore(&env).unwrap_err();
            let Error::Corrupt { file, offset: told, .. } = &error else { panic!("{error}") };
            assert_eq!((Path::new(file), *told), (&*path, offset));
            assert!(is_vacant(&env), "{path:?}");
            let report = verify(&env);
            let [finding] = &report.findings[..] else { panic!("{report:?}") };
            assert_eq!((&finding.file, finding.offset), (&path, offset));
            // The place is as it was.
            assert_eq!(env.file_bytes(&path).unwrap(), broken);
        }
        for wrong in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()[..]] {
            let env = fork(&origin, 1);
            env.set_file_bytes(&path, wrong).unwrap();
            assert!(matches!(restore(&env), Err(Error::Corrupt { .. })));
            assert!(is_vacant(&env) && !verify(&env).is_sound());
        }
    }
}

#[test]
fn a_file_that_is_missing_or_of_another_backup_is_named() {
    let (_small, origin) = backed_up(30);
    let shared: Vec<PathBuf> =
        files(&origin).into_iter().filter(|path| path.starts_with("/backups/files")).collect();
    let env = fork(&origin, 1);
    env.remove(&shared[0]).unwrap();
    let error = restore(&env).unwrap_err().to_string();
    assert!(error.contains(&*shared[0].to_string_lossy()) && error.contains("missing"), "{error}");
    assert!(is_vacant(&env));
    let env = fork(&origin, 1);
    env.set_file_bytes(&shared[0], &origin.file_bytes(&shared[1]).unwrap()).unwrap();
    assert!(restore(&env).is_err() && is_vacant(&env));
}

#[test]
fn a_damaged_table_of_the_store_is_not_backed_up_and_is_named() {
    let mut small = Small::new(40);
    small.write(600);
    let data = Path::new("/data/warm");
    let env = small.world.env.clone();
    let table = env.list(data).unwrap().into_iter().find(|entry| entry.name.ends_with(".tbl"));
    let table = data.join(table.unwrap().name);
    let mut bytes = env.file_bytes(&table).unwrap();
    bytes[4096 + 100] ^= 1;
    // The same file, not a new one of its name: the store has it open.
    let file = env.open(&table, thermae_env::OpenHow::WRITE).unwrap();
    thermae_env::File::write_all_at(&file, &bytes, 0).unwrap();
    let source = small.source();
    let other = SimEnv::new(41);
    let error = take(&other, &source).unwrap_err();
    let Error::Corrupt { file, offset: 4096, .. } = &error else { panic!("{error}") };
    assert_eq!(Path::new(file), table);
    assert!(backup::list(&place(&other)).unwrap().is_empty());
}

#[test]
fn a_store_that_cannot_flush_is_backed_up_with_the_rows_of_all_its_memtables() {
    let mut small = Small::new(45);
    let env = small.world.env.clone();
    // The log has its segment already: only tables cannot be made.
    env.fail_randomly(SimOp::Create, 1_000_000);
    (0..3).for_each(|_| small.write_on(50));
    let source = small.source();
    let digests = small.world.digests().unwrap();
    let other = SimEnv::new(46);
    take(&other, &source).unwrap();
    let listed = backup::list(&place(&other)).unwrap();
    let trees = &listed[0].backup.as_ref().unwrap().manifest.trees;
    assert!(trees.iter().any(|tree| tree.latest.len() > 1), "{trees:?}");
    restore(&other).unwrap();
    assert_eq!(digests_of(&other, 1, &small.world.histories).unwrap(), digests);
}

#[test]
fn a_full_disk_and_a_failing_one_end_a_backup_and_the_one_before_stays() {
    let (mut small, env) = backed_up(50);
    small.write(900);
    let source = small.source();
    let used: u64 = files(&env).iter().map(|path| env.file_bytes(path).unwrap().len() as u64).sum();
    for free in [0, 5_000, 20_000, 60_000] {
        env.set_capacity_bytes(Some(used + free));
        let error = take(&env, &source).unwrap_err();
        let is_full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
        let is_told = match &error {
            Error::Io { source, .. } => is_full(source),
            error => error.to_string().contains("no space"),
        };
        assert!(is_told, "{error}");
        env.set_capacity_bytes(None);
        assert_eq!(backup::list(&place(&env)).unwrap().len(), 1);
        assert!(verify(&env).is_sound());
    }
    for op in [SimOp::Write, SimOp::Sync, SimOp::SyncDir, SimOp::Create, SimOp::Rename, SimOp::Read]
    {
        for after in 0..4 {
            let env = fork(&env, after);
            env.fail(op, after);
            let taken = take(&env, &source);
            let backups = backup::list(&place(&env)).unwrap().len();
            assert_eq!(backups, if taken.is_ok() { 2 } else { 1 }, "{op:?} {after}: {taken:?}");
            assert!(verify(&env).is_sound());
        }
    }
    let taken = take(&env, &source).unwrap();
    assert!(verify(&env).is_sound() && taken.name.number == 2);
}

#[test]
fn a_full_disk_and_a_failing_one_end_a_restore_and_leave_nothing() {
    let (mut small, origin) = backed_up(60);
    let used: u64 =
        files(&origin).iter().map(|path| origin.file_bytes(path).unwrap().len() as u64).sum();
    let files_bytes = backup::list(&place(&origin)).unwrap()[0].backup.as_ref().unwrap().bytes();
    for free in [0, files_bytes / 2, files_bytes - 1, files_bytes] {
        let env = fork(&origin, free);
        env.set_capacity_bytes(Some(used + free));
        let error = restore(&env).unwrap_err().to_string();
        assert!(error.contains("free") || error.contains("no storage space"), "{error}");
        assert!(is_vacant(&env));
    }
    for op in [SimOp::Write, SimOp::Sync, SimOp::Create, SimOp::Rename, SimOp::Read] {
        for after in 0..6 {
            let env = fork(&origin, after);
            env.fail(op, after);
            if restore(&env).is_err() {
                assert!(is_vacant(&env), "{op:?} {after}");
                restore(&env).unwrap();
            }
            // A fault that nothing met is not for the store.
            let digests = digests_of(&env.kill(), 1, &small.world.histories).unwrap();
            assert_eq!(digests, small.world.digests().unwrap());
        }
    }
    let env = fork(&origin, 1);
    let bad = files(&env).into_iter().find(|path| path.starts_with("/backups/files")).unwrap();
    env.set_unreadable(&bad, 0..10).unwrap();
    let error = restore(&env).unwrap_err().to_string();
    assert!(error.contains(&*bad.to_string_lossy()) && is_vacant(&env), "{error}");
}

#[test]
fn what_is_there_is_not_restored_over_and_other_stores_keep_their_places() {
    let (mut small, env) = backed_up(70);
    env.create_dir_all(Path::new(RESTORED)).unwrap();
    env.set_file_bytes(&Path::new(RESTORED).join("notes"), b"mine").unwrap();
    let error = restore(&env).unwrap_err().to_string();
    assert!(error.contains("not empty (notes is there)"), "{error}");
    let mut other = Small::new(71);
    other.write(50);
    let error = take(&env, &other.source()).unwrap_err().to_string();
    assert!(error.contains("another store"), "{error}");
    let lock = env.lock(&Path::new(PLACE).join("LOCK")).unwrap();
    let error = take(&env, &small.source()).unwrap_err().to_string();
    assert!(error.contains("another backup"), "{error}");
    drop(lock);
    let mut left = 3;
    let mut tell = |_, _| {
        left -= 1;
        left > 0
    };
    let mut work = backup::Work { bytes_per_s: 0, tell: &mut tell };
    small.write(300);
    let error = backup::take(&place(&env), &small.source(), &mut work).unwrap_err().to_string();
    assert!(error.contains("stopped before its end"), "{error}");
    assert_eq!(backup::list(&place(&env)).unwrap().len(), 1);
    assert!(at_once(|work| backup::verify(&place(&env), None, work)).unwrap().is_sound());
}
