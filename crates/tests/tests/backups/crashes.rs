//! The machine stops at every step of a backup, of removing some, of a restore.

use std::collections::BTreeSet;
use std::path::Path;

use thermae_engine::backup;
use thermae_env::{Env, SimEnv};

use super::support::{RESTORED, Small, digests_of, files, fork, place, restore, take, verify};

/// The names of the backups of a place.
fn names(env: &SimEnv) -> Vec<String> {
    let listed = backup::list(&place(env)).unwrap();
    listed.iter().map(|listed| listed.name.to_string()).collect()
}

/// Every named backup is whole, and no other file is there if `is_tidy`.
fn check_whole(env: &SimEnv, is_tidy: bool) {
    let report = verify(env);
    assert!(report.is_sound(), "{report:?}");
    if is_tidy {
        let mut named = BTreeSet::new();
        for listed in backup::list(&place(env)).unwrap() {
            named.insert(format!("{}.backup", listed.name));
            let files = listed.backup.unwrap().names();
            named.extend(files.iter().map(ToString::to_string));
        }
        let there = files(env).into_iter();
        let there: BTreeSet<_> =
            there.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(there, named);
    }
}

#[test]
fn a_backup_that_a_crash_ends_is_none_and_the_next_one_goes_on_from_it() {
    let mut small = Small::new(3);
    small.write(400);
    let origin = SimEnv::new(4);
    let source = small.source();
    take(&origin, &source).unwrap();
    small.write(400);
    let source = small.source();
    let (mut crashes, mut ends) = (0, BTreeSet::new());
    for operations in 0.. {
        let env = fork(&origin, operations);
        env.crash_after(operations);
        let taken = take(&env, &source);
        if taken.is_ok() && !env.is_frozen() {
            // What was reported stays, whatever happens right after it.
            let env = env.crash();
            assert_eq!(names(&env).len(), 2);
            check_whole(&env, false);
            break;
        }
        crashes += 1;
        let env = if operations % 3 == 0 { env.kill() } else { env.crash() };
        let backups = names(&env).len();
        assert!(taken.is_err() || backups == 2, "a backup that was reported is there");
        ends.insert(backups);
        check_whole(&env, false);
        let again = take(&env, &source).unwrap();
        assert_eq!(names(&env).len(), backups + 1);
        assert!(again.new_files <= again.files);
        check_whole(&env, true);
    }
    assert!(crashes > 40 && ends == BTreeSet::from([1, 2]), "{crashes} {ends:?}");
}

#[test]
fn removing_backups_never_breaks_one_that_is_named() {
    let mut small = Small::new(5);
    let origin = SimEnv::new(6);
    for _ in 0..4 {
        small.write(300);
        let source = small.source();
        take(&origin, &source).unwrap();
    }
    let mut crashes = 0;
    for operations in 0.. {
        let env = fork(&origin, operations);
        env.crash_after(operations);
        let kept = backup::keep(&place(&env), 1);
        if let Ok(removed) = kept
            && !env.is_frozen()
        {
            assert_eq!(removed.backups.len(), 3);
            let env = env.crash();
            assert_eq!(names(&env), names(&origin)[3..]);
            check_whole(&env, true);
            break;
        }
        crashes += 1;
        let env = if operations % 3 == 0 { env.kill() } else { env.crash() };
        assert!(names(&env).contains(&names(&origin)[3]));
        check_whole(&env, false);
        backup::keep(&place(&env), 1).unwrap();
        assert_eq!(names(&env).len(), 1);
        check_whole(&env, true);
    }
    assert!(crashes > 8, "{crashes}");
}

#[test]
fn a_restore_that_a_crash_ends_leaves_the_whole_store_or_nothing_that_opens() {
    let mut small = Small::new(7);
    small.write(600);
    let origin = SimEnv::new(8);
    let source = small.source();
    take(&origin, &source).unwrap();
    let digests = small.world.digests().unwrap();
    let histories = small.world.histories.clone();
    let (mut whole, mut refused, mut absent) = (0, 0, 0);
    for operations in 0.. {
        let env = fork(&origin, operations);
        env.crash_after(operations);
        if restore(&env).is_ok() && !env.is_frozen() {
            assert_eq!(digests_of(&env.crash(), 2, &histories).unwrap(), digests);
            break;
        }
        let env = if operations % 3 == 0 { env.kill() } else { env.crash() };
        let at = |name: &str| env.exists(&Path::new(RESTORED).join(name)).unwrap();
        if at("MANIFEST") {
            whole += 1;
            assert_eq!(digests_of(&env, 3, &histories).unwrap(), digests);
            let error = restore(&env).unwrap_err().to_string();
            assert!(error.contains("not empty"), "{error}");
            continue;
        }
        if at("MANIFEST.restoring") {
            refused += 1;
            let error = digests_of(&env, 1, &histories).unwrap_err().to_string();
            assert!(error.contains("has not ended"), "{error}");
        } else {
            // Not a byte of a row: whoever opens it knows that it is a new store.
            absent += 1;
            let warm = env.list(&Path::new(RESTORED).join("warm")).unwrap_or_default();
            assert!(warm.is_empty());
        }
        restore(&env).unwrap();
        assert_eq!(digests_of(&env, 1, &histories).unwrap(), digests);
    }
    assert!(whole > 0 && refused > 10 && absent > 1, "{whole} {refused} {absent}");
}
