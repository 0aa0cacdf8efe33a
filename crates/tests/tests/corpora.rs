//! The fuzz corpora as ordinary tests: every target over its committed seeds, and over seeded mutations of
//! them. What a fuzzer once found is kept there and never comes back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use thermae_tests::house::sources;
use thermae_tests::mutate::{Dice, mutate};

/// Mutations of each seed; `THERMAE_MUTATIONS` asks for more.
fn rounds() -> usize {
    let asked = std::env::var("THERMAE_MUTATIONS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(300)
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = sources::root().join("fuzz/corpus").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{target} has no corpus ({error}): cargo xtask fuzz-seeds"))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_target_takes_its_corpus_and_mutations_of_it() {
    let mut dice = Dice::new(1);
    let mut runs = 0usize;
    for (name, target) in thermae_fuzz::TARGETS {
        let seeds = corpus(name);
        assert!(seeds.len() >= 2, "{name} has {} seeds", seeds.len());
        for (path, seed) in &seeds {
            target(seed);
            for round in 0..rounds() {
                let mut bytes = seed.clone();
                mutate(&mut bytes, &mut dice);
                let outcome = std::panic::catch_unwind(|| target(&bytes));
                assert!(outcome.is_ok(), "{name}: {} round {round}: {bytes:02x?}", path.display());
                runs += 1;
            }
        }
    }
    assert!(runs >= 10_000, "only {runs} runs: the corpora are missing");
}

/// The committed seeds are the encoders' present output: a format cannot change silently.
#[test]
fn seeds_are_what_the_encoders_write() {
    for (target, name, bytes) in thermae_fuzz::seeds::all() {
        let path = sources::root().join("fuzz/corpus").join(target).join(&name);
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(
            kept == bytes,
            "{target}/{name} differs from its encoder: a format changed. If it was meant to, raise its version and run cargo xtask fuzz-seeds"
        );
    }
}

#[test]
fn every_target_has_a_binary_and_every_binary_a_target() {
    let folder = sources::root().join("fuzz/fuzz_targets");
    let binaries: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let targets: BTreeSet<String> =
        thermae_fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(binaries, targets);
    assert!(thermae_fuzz::target("key").is_some() && thermae_fuzz::target("none").is_none());
}
