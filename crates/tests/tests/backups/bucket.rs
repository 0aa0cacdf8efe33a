//! A place in an object store: the same backups as in a directory, whatever becomes of its calls.

use std::path::Path;
use std::sync::Arc;

use thermae_engine::Error;
use thermae_engine::backup::{self, Place, Source, Taken, keep, list, verify};
use thermae_env::{Env, SimEnv};
use thermae_tests::campaign::{FailingObjects, PartitionHistory};
use thermae_tiering::cold::{MemoryObjects, Objects};

use super::support::{RESTORED, Small, at_once, digests_of};

const SCRATCH: &str = "/data/spill/backup";

fn place(env: &SimEnv, objects: Arc<dyn Objects>) -> Place<SimEnv> {
    Place::in_objects(env.clone(), objects, "s3://bucket/shop/", Path::new(SCRATCH))
}

fn take(place: &Place<SimEnv>, source: &Source<SimEnv>) -> Result<Taken, Error> {
    at_once(|work| backup::take(place, source, work))
}

fn sound(place: &Place<SimEnv>) -> bool {
    at_once(|work| verify(place, None, work)).unwrap().findings.is_empty()
}

/// Restores the newest backup on another machine; its digests are the store's.
fn restored(objects: &Arc<MemoryObjects>, histories: &[PartitionHistory], digests: &[(u16, u64)]) {
    let env = SimEnv::new(77);
    let place = place(&env, Arc::clone(objects) as _);
    at_once(|work| backup::restore(&place, None, Path::new(RESTORED), work)).unwrap();
    assert_eq!(digests_of(&env, 3, histories).unwrap(), digests);
}

#[test]
fn a_bucket_holds_what_a_directory_would_and_gives_it_back() {
    let mut small = Small::new(1);
    let env = small.world.env.clone();
    let objects = Arc::new(MemoryObjects::default());
    let place = place(&env, Arc::clone(&objects) as _);
    let none = list(&place).unwrap_err().to_string();
    assert!(none.contains("s3://bucket/shop is no place for backups"), "{none}");
    small.write(400);
    let first = take(&place, &small.source()).unwrap();
    assert!(first.new_files > 1 && sound(&place));
    small.write(400);
    small.write_on(30);
    let second = take(&place, &small.source()).unwrap();
    let third = take(&place, &small.source()).unwrap();
    assert!(third.new_files < third.files, "what the place has is not copied again");
    let digests = small.world.digests().unwrap();
    restored(&objects, &small.world.histories, &digests);
    assert!(env.list(Path::new(SCRATCH)).unwrap().is_empty());
    let removed = keep(&place, 1).unwrap();
    assert_eq!(removed.backups, [first.name, second.name]);
    assert!(removed.files > 0 && sound(&place));
    restored(&objects, &small.world.histories, &digests);
}

#[test]
fn damage_in_a_bucket_is_found_and_named() {
    let mut small = Small::new(2);
    small.write(400);
    let env = small.world.env.clone();
    let objects = Arc::new(MemoryObjects::default());
    let place = place(&env, Arc::clone(&objects) as _);
    take(&place, &small.source()).unwrap();
    for object in objects.list("", "").unwrap() {
        if object.path.starts_with("claims/") {
            continue;
        }
        let bytes = objects.get(&object.path).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 4;
            objects.replace(&object.path, flipped.into()).unwrap();
            let report = at_once(|work| verify(&place, None, work)).unwrap();
            let named = report.findings.iter().map(|found| found.file.display().to_string());
            let expected = format!("s3://bucket/shop/{}", object.path);
            assert!(named.clone().any(|named| named == expected), "{expected}: {report:?}");
            let restored = SimEnv::new(78);
            let from = self::place(&restored, Arc::clone(&objects) as _);
            let error = at_once(|work| backup::restore(&from, None, Path::new(RESTORED), work));
            assert!(matches!(error, Err(Error::Corrupt { .. })), "{expected}: {error:?}");
        }
        objects.replace(&object.path, bytes).unwrap();
    }
    assert!(sound(&place));
}

#[test]
fn a_bucket_that_fails_now_and_then_costs_a_backup_and_no_more() {
    let (mut failed, mut taken) = (0, 0);
    for seed in 0..20 {
        let mut small = Small::new(seed);
        small.write(300);
        let env = small.world.env.clone();
        let objects = Arc::new(MemoryObjects::default());
        take(&place(&env, Arc::clone(&objects) as _), &small.source()).unwrap();
        let digests = small.world.digests().unwrap();
        restored(&objects, &small.world.histories, &digests);
        small.write(200);
        let failing = FailingObjects::failing(Arc::clone(&objects), env.clone(), seed, 2 + seed);
        match take(&place(&env, Arc::new(failing)), &small.source()) {
            Err(_) => failed += 1,
            Ok(_) => taken += 1,
        }
        // Whatever is there is whole; the next one goes on from it.
        let place = place(&env, Arc::clone(&objects) as _);
        assert!(sound(&place), "seed {seed}");
        take(&place, &small.source()).unwrap();
        assert!(sound(&place), "seed {seed}");
        let digests = small.world.digests().unwrap();
        restored(&objects, &small.world.histories, &digests);
    }
    assert!(failed > 2 && taken > 2, "{failed} failed, {taken} did not");
}

#[test]
fn of_two_that_write_to_one_place_the_later_one_stays() {
    let mut small = Small::new(3);
    small.write(300);
    let env = small.world.env.clone();
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::default());
    let one = place(&env, Arc::clone(&objects));
    let scratch = Path::new("/other/spill/backup");
    let other = Place::in_objects(env.clone(), Arc::clone(&objects), "s3://bucket/shop", scratch);
    let source = small.source();
    // The other one comes while the first is at work.
    let mut is_first = true;
    let mut tell = |_: u64, _: u64| {
        if std::mem::take(&mut is_first) {
            take(&other, &source).unwrap();
        }
        true
    };
    let mut work = backup::Work { bytes_per_s: 0, tell: &mut tell };
    let error = backup::take(&one, &source, &mut work).unwrap_err().to_string();
    assert!(error.contains("another backup"), "{error}");
    assert_eq!(list(&other).unwrap().len(), 1);
    assert!(sound(&other));
}
