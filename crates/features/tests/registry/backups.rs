//! A backup holds the registry: what is restored has its entities, services and switches, of the version that its rows
//! were written under.

use std::path::Path;
use std::sync::Arc;

use thermae_engine::backup::{self, Place, Restored, Work};
use thermae_env::{Env, RealEnv, SimEnv};
use thermae_features::registry::{ApplyOptions, Registry, ViewStore};
use thermae_features::store::{Ask, EntityRows};
use thermae_formats::{FeatureView, KeyValue, Value};

use super::crashes::{SteppedViews, definitions, objects};
use super::{SHOP, T, activity, open, put, shop};

const PLACE: &str = "/backups";
const DATA: &str = "/data";
const RESTORED: &str = "/restored";

fn at_once<T>(work: impl FnOnce(&mut Work<'_>) -> T) -> T {
    work(&mut Work { bytes_per_s: 0, tell: &mut |_, _| true })
}

#[test]
fn a_restored_store_has_its_entities_services_and_switches() {
    let folder = tempfile::tempdir().unwrap();
    let (data, restored) = (folder.path().join("data"), folder.path().join("restored"));
    let store = shop(&data);
    put(&store, "activity", &[activity(1, T, 10, 0.5)]);
    let second = SHOP.replace("ttl = \"1d\"", "version = 2\nlifecycle = \"staged\"\nttl = \"1d\"");
    store.apply_toml(&second[..second.find("[views.weather]").unwrap()]).unwrap();
    put(&store, "activity@2", &[activity(1, T, 20, 0.5)]);
    store.switch("activity@2").unwrap();
    store.registry().set_watermark("shop/activity@2 events", 42).unwrap();
    let place = Place::new(RealEnv, &folder.path().join("backups"));
    let source = store.backup_source().unwrap();
    at_once(|work| backup::take(&place, &source, work)).unwrap();
    let then = store.registry().published();
    // What comes later is not in it.
    store.switch_back("activity").unwrap();
    store.apply_toml(&SHOP.replace("owner = \"bob\"", "owner = \"eve\"")).unwrap();
    store.close().unwrap();

    at_once(|work| backup::restore(&place, None, &restored, work)).unwrap();
    let store = open(&restored);
    let now = store.registry().published();
    assert_eq!(now.state.version(), then.state.version(), "nothing was taken over or changed");
    assert_eq!(objects(&now.state), objects(&then.state));
    assert_eq!(now.state.switch("shop", "activity"), then.state.switch("shop", "activity"));
    assert_eq!(store.registry().log(100).len() as u64, then.state.version());
    assert_eq!(store.registry().watermark("shop/activity@2 events"), 42);
    let rows = EntityRows::new().with("uid", vec![KeyValue::Int(1)]);
    let answer = store.get_online_features(&Ask::service("rank").at(T), &rows).unwrap();
    assert_eq!(answer.columns[1].values, [Value::Int64(20)], "the version that was switched to");
    store.switch_back("activity").unwrap();
    store.apply_toml(&SHOP.replace("owner = \"bob\"", "owner = \"eve\"")).unwrap();
}

/// Registry and engine of one simulated machine.
fn machine(
    env: &SimEnv,
    dir: &str,
) -> Result<(Registry<SimEnv, Shared>, Arc<SteppedViews>), String> {
    let views = Arc::new(SteppedViews::open(env, Path::new(dir)).map_err(|e| e.to_string())?);
    let shared = Shared(Arc::clone(&views));
    let registry =
        Registry::open(env.clone(), Path::new(dir), shared).map_err(|e| e.to_string())?;
    Ok((registry, views))
}

struct Shared(Arc<SteppedViews>);

impl ViewStore for Shared {
    fn catalogue(&self) -> Arc<thermae_engine::Catalogue> {
        self.0.catalogue()
    }

    fn define(&self, views: &[FeatureView]) -> Result<(), thermae_engine::Error> {
        self.0.define(views)
    }
}

fn restore(env: &SimEnv) -> Result<Restored, thermae_engine::Error> {
    let place = Place::new(env.clone(), Path::new(PLACE));
    at_once(|work| backup::restore(&place, None, Path::new(RESTORED), work))
}

/// Another machine with the same backups.
fn fork(env: &SimEnv, seed: u64) -> SimEnv {
    let copy = SimEnv::new(seed);
    for sub in ["files", "backups", "making"] {
        let dir = Path::new(PLACE).join(sub);
        copy.create_dir_all(&dir).unwrap();
        for entry in env.list(&dir).unwrap_or_default() {
            let path = dir.join(entry.name);
            copy.set_file_bytes(&path, &env.file_bytes(&path).unwrap()).unwrap();
        }
    }
    copy
}

#[test]
fn a_restore_that_a_crash_ends_leaves_store_and_registry_or_nothing_that_opens() {
    let env = SimEnv::new(1);
    let (registry, views) = machine(&env, DATA).unwrap();
    for n in 0..7 {
        registry.apply(&definitions(n), &ApplyOptions::default()).unwrap();
    }
    let (image, source) = registry.copy_with(|| views.source()).unwrap();
    let source = source.unwrap().attach("registry.redb", image).unwrap();
    let origin = SimEnv::new(2);
    let place = Place::new(origin.clone(), Path::new(PLACE));
    at_once(|work| backup::take(&place, &source, work)).unwrap();
    let then = registry.published();
    let check = |env: &SimEnv| {
        let (registry, _) = machine(env, RESTORED)?;
        let now = registry.published();
        assert_eq!(now.state.version(), then.state.version());
        assert_eq!(objects(&now.state), objects(&then.state));
        registry.apply(&definitions(7), &ApplyOptions::default()).map_err(|e| e.to_string())
    };
    let (mut whole, mut refused, mut absent) = (0, 0, 0);
    for operations in 0.. {
        let env = fork(&origin, operations);
        env.crash_after(operations);
        if restore(&env).is_ok() && !env.is_frozen() {
            check(&env.crash()).unwrap();
            break;
        }
        let env = if operations % 3 == 0 { env.kill() } else { env.crash() };
        let at = |name: &str| env.exists(&Path::new(RESTORED).join(name)).unwrap();
        if at("MANIFEST") {
            whole += 1;
            check(&env).unwrap();
            continue;
        }
        if at("MANIFEST.restoring") {
            refused += 1;
            let error = check(&env).unwrap_err();
            assert!(error.contains("has not ended"), "{error}");
        } else {
            absent += 1;
            assert!(!at("registry.redb"), "a registry without its store");
        }
        restore(&env).unwrap();
        check(&env).unwrap();
    }
    assert!(whole > 0 && refused > 5 && absent > 1, "{whole} {refused} {absent}");
}

#[test]
fn a_restore_that_fails_takes_the_registry_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = shop(&folder.path().join("data"));
    put(&store, "activity", &[activity(1, T, 10, 0.5)]);
    let backups = folder.path().join("backups");
    let place = Place::new(RealEnv, &backups);
    let source = store.backup_source().unwrap();
    at_once(|work| backup::take(&place, &source, work)).unwrap();
    let table = std::fs::read_dir(backups.join("files")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let restored = folder.path().join("restored");
    at_once(|work| backup::restore(&place, None, &restored, work)).unwrap_err();
    let left: Vec<_> =
        std::fs::read_dir(&restored).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "registry.redb"), "{left:?}");
}
