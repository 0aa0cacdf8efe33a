//! Backups of a store whose rows have left for its archive: they name what they need of it, and a restore goes on
//! with that or with a copy, wherever it is interrupted.

use std::path::Path;
use std::sync::Arc;

use thermae_engine::Error;
use thermae_engine::backup::{self, ArchiveRoots, Place, Restored, Source, restore_with_archive};
use thermae_env::{Env, SimEnv};
use thermae_tests::campaign::FailingObjects;
use thermae_tiering::cold::{MemoryObjects, Objects};

use super::attach::{KEYS, Small, VERSIONS, filled, paths};
use crate::backups::support::at_once;

const RESTORED: &str = "/restored";

fn place(env: &SimEnv) -> Place<SimEnv> {
    Place::new(env.clone(), Path::new("/backups"))
}

fn take(env: &SimEnv, small: &mut Small) -> Result<(), Error> {
    let mut ticket = Some(small.stepped.handle.submit_backup().unwrap());
    let snapshot = small.turn_until(|_| {
        let answer = ticket.take()?.poll().unwrap();
        answer.map_err(|waiting| ticket = Some(waiting)).ok()
    });
    let source = Source::new(&small.stepped.handle, snapshot, 1_000_000)?;
    at_once(|work| backup::take(&place(env), &source, work)).map(|_| ())
}

/// A machine with a backup of a store whose rows have left, and its archive.
fn backed_up() -> (SimEnv, Arc<MemoryObjects>) {
    let (env, objects) = filled();
    let mut small = Small::open(&env, Some(&objects));
    small.turn_until(|small| small.stepped.handle.is_archive_attached().then_some(()));
    take(&env, &mut small).unwrap();
    drop(small);
    (env.kill(), objects)
}

fn restore(
    env: &SimEnv,
    from: &Arc<MemoryObjects>,
    to: Option<Arc<dyn Objects>>,
) -> Result<Restored, Error> {
    let roots = ArchiveRoots { from: Arc::clone(from) as _, to };
    let place = place(env);
    at_once(|work| restore_with_archive(&place, None, Path::new(RESTORED), &roots, work))
}

fn empty() -> Arc<MemoryObjects> {
    Arc::new(MemoryObjects::default())
}

/// What a restored directory shows with its archive.
fn rows(env: &SimEnv, objects: &Arc<MemoryObjects>) -> usize {
    let mut small = Small::open_at(env, RESTORED, Some(objects));
    small.is_archiving = true;
    small.turn_until(|small| {
        assert_eq!(small.trouble(), None);
        small.stepped.handle.is_archive_attached().then_some(())
    });
    let rows = small.rows().unwrap();
    // And it goes on: what is written now is archived, and what is superseded leaves.
    small.fill_on(VERSIONS);
    rows
}

#[test]
fn a_restored_store_goes_on_with_its_archive_if_that_has_not_gone_on_itself() {
    let (env, objects) = backed_up();
    let before = paths(&objects);
    let refused = at_once(|work| backup::restore(&place(&env), None, Path::new(RESTORED), work));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("--archive ROOT"), "{refused}");
    let other = restore(&env, &empty(), None).unwrap_err().to_string();
    assert!(other.contains("not the root of the archive"), "{other}");
    restore(&env, &objects, None).unwrap();
    assert_eq!(paths(&objects), before);
    let mut small = Small::open_at(&env, RESTORED, Some(&objects));
    small.is_archiving = true;
    small.turn_until(|small| small.stepped.handle.is_archive_attached().then_some(()));
    assert_eq!(small.rows().unwrap(), (KEYS * VERSIONS) as usize);
}

#[test]
fn an_archive_that_has_gone_on_is_copied_as_it_was() {
    let (env, objects) = backed_up();
    let mut small = Small::open(&env, Some(&objects));
    small.fill_on(VERSIONS);
    drop(small);
    let env = env.kill();
    let refused = restore(&env, &objects, None).unwrap_err().to_string();
    assert!(refused.contains("has gone on since"), "{refused}");
    let (before, copy) = (paths(&objects), empty());
    restore(&env, &objects, Some(Arc::clone(&copy) as _)).unwrap();
    assert_eq!(paths(&objects), before, "the archive is as it was");
    assert_eq!(rows(&env, &copy), (KEYS * VERSIONS) as usize);
    // Its root is not given to another one.
    let env = env.kill();
    env_remove(&env);
    let refused = restore(&env, &objects, Some(copy)).unwrap_err().to_string();
    assert!(refused.contains("an archive already"), "{refused}");
}

/// Takes the restored directory away.
fn env_remove(env: &SimEnv) {
    for dir in ["/restored/warm", "/restored/log", RESTORED] {
        for entry in env.list(Path::new(dir)).unwrap().into_iter().filter(|entry| !entry.is_dir) {
            env.remove(&Path::new(dir).join(entry.name)).unwrap();
        }
    }
}

#[test]
fn a_damaged_or_missing_object_is_named_and_nothing_opens() {
    let (env, objects) = backed_up();
    let file = paths(&objects).into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let bytes = objects.get(&file).unwrap();
    let mut flipped = bytes.to_vec();
    flipped[100] ^= 1;
    objects.replace(&file, flipped.into()).unwrap();
    for to in [None, Some(empty())] {
        let copy = to.clone().map(|to| to as Arc<dyn Objects>);
        let error = restore(&env, &objects, copy).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { file: named, .. } if *named == file), "{error}");
        assert!(to.is_none_or(|to| to.get("thermae.archive").is_err()));
    }
    objects.delete(&file).unwrap();
    let error = restore(&env, &objects, None).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    objects.put_new(&file, bytes).unwrap();
    restore(&env, &objects, None).unwrap();
}

#[test]
fn a_restore_that_dies_at_any_call_is_harmless_and_comes_to_its_end_when_repeated() {
    let mut calls = 0;
    loop {
        let (env, objects) = backed_up();
        let copy = empty();
        let dying = FailingObjects::dying(Arc::clone(&copy), env.clone(), calls);
        let died = restore(&env, &objects, Some(Arc::new(dying)));
        if died.is_ok() {
            break;
        }
        let env = env.kill();
        // The directory is whole if the last name was given, or does not open.
        if !env.exists(Path::new("/restored/MANIFEST")).unwrap() {
            restore(&env, &objects, Some(Arc::clone(&copy) as _)).unwrap();
        }
        assert_eq!(rows(&env, &copy), (KEYS * VERSIONS) as usize, "after {calls} calls");
        calls += 1;
    }
    assert!(calls > 8, "{calls}");
}

#[test]
fn a_bucket_is_looked_through_for_an_entity_as_a_directory_is() {
    let env = SimEnv::new(9);
    let mut small = Small::open_idle(&env, None);
    small.put(0);
    let bucket = Place::in_objects(env.clone(), empty(), "s3://bucket/shop", Path::new("/scratch"));
    for place in [&place(&env), &bucket] {
        let mut ticket = Some(small.stepped.handle.submit_backup().unwrap());
        let snapshot = small.turn_until(|_| {
            let answer = ticket.take()?.poll().unwrap();
            answer.map_err(|waiting| ticket = Some(waiting)).ok()
        });
        let source = Source::new(&small.stepped.handle, snapshot, 1_000_000).unwrap();
        let name = at_once(|work| backup::take(place, &source, work)).unwrap().name;
        let handle = &small.stepped.handle;
        let view = handle.catalogue().resolve("notes").unwrap().id;
        let holders = |id: i64| {
            let key = id.to_le_bytes().to_vec();
            backup::holders(place, handle, view, &[key]).unwrap()
        };
        let held = holders(3);
        let [holder] = &held.backups[..] else { panic!("{held:?}") };
        assert_eq!((&holder.name, holder.keys), (&name, 1));
        assert!(held.unread.is_empty() && !held.has_unfinished, "{held:?}");
        assert!(holders(KEYS).backups.is_empty());
    }
}
