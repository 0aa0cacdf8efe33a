//! A registry whose file is damaged is refused with its name, or read as it was: never otherwise.

use std::path::Path;
use std::sync::{Arc, Mutex};

use thermae_engine::Catalogue;
use thermae_env::{Env, SimEnv};
use thermae_features::Error;
use thermae_features::definitions::read;
use thermae_features::registry::{ApplyOptions, FILE, Registry, ViewStore};
use thermae_formats::FeatureView;

use super::SHOP;

#[derive(Clone, Default)]
struct Views(Arc<Mutex<Catalogue>>);

impl ViewStore for Views {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(self.0.lock().unwrap().clone())
    }

    fn define(&self, views: &[FeatureView]) -> Result<(), thermae_engine::Error> {
        let mut catalogue = self.0.lock().unwrap();
        let (entries, _) = catalogue.plan(views)?;
        entries.iter().try_for_each(|entry| catalogue.add(entry))
    }
}

fn file() -> std::path::PathBuf {
    Path::new("/d").join(FILE)
}

/// A machine with a registry that was closed in order, and its views.
fn machine() -> (SimEnv, Views) {
    let env = SimEnv::new(1);
    env.create_dir_all(Path::new("/d")).unwrap();
    let views = Views::default();
    let registry = Registry::open(env.clone(), Path::new("/d"), views.clone()).unwrap();
    registry.apply(&read("f", SHOP).unwrap(), &ApplyOptions::default()).unwrap();
    (env, views)
}

#[test]
fn a_byte_of_the_file_that_flips_is_found_or_without_effect() {
    let (env, views) = machine();
    let good = env.file_bytes(&file()).unwrap();
    let registry = Registry::open(env.clone(), Path::new("/d"), views.clone()).unwrap();
    let whole: Vec<_> = registry.published().state.objects().cloned().collect();
    drop(registry);
    let (mut refused, mut same) = (0, 0);
    // The header whole, and some of what follows.
    let holds =
        |at: usize| at < 512 || (good[at] != 0 && at.is_multiple_of(7)) || at.is_multiple_of(1_021);
    for at in (0..good.len()).filter(|at| holds(*at)) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        env.set_file_bytes(&file(), &bad).unwrap();
        match Registry::open(env.clone(), Path::new("/d"), views.clone()) {
            Ok(registry) => {
                let state = &registry.published().state;
                assert!(state.objects().eq(&whole), "byte {at}: another registry");
                assert_eq!(state.version(), 1, "byte {at}");
                same += 1;
            }
            Err(Error::Database { file, what }) => {
                assert!(file.ends_with(FILE) && what.contains("restore"), "{file}: {what}");
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 300 && same > 50, "{refused} refused, {same} without effect");
}

#[test]
fn a_file_that_is_none_is_refused_and_left_alone() {
    let (env, views) = machine();
    let good = env.file_bytes(&file()).unwrap();
    let texts: [&[u8]; 3] = [b"", b"not a database", &[0; 8192]];
    for bytes in texts.into_iter().chain([&good[..good.len() / 2], &good[..512]]) {
        env.set_file_bytes(&file(), bytes).unwrap();
        let opened = Registry::open(env.clone(), Path::new("/d"), views.clone());
        let Err(Error::Database { .. }) = opened else { panic!("{} bytes", bytes.len()) };
        assert_eq!(env.file_bytes(&file()).unwrap(), bytes, "it was changed");
    }
}
