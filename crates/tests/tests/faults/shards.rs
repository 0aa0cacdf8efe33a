//! Another number of shards over a damaged directory: every table is written anew then, and what is
//! damaged must not be left out of that in silence.

use std::path::{Path, PathBuf};

use thermae_engine::Error;
use thermae_engine::verify::verify_directory;
use thermae_env::SimEnv;
use thermae_tests::campaign::World;
use thermae_tests::damage::{
    DIR, Damage, DamageKind, Ending, FileKind, Image, Place, Sample, cases, machine, tiers,
};

/// One of so many damages is tried.
const EVERY: usize = 211;

fn open(env: &SimEnv, cores: usize, sample: &Sample) -> Result<World, Error> {
    World::open(env.clone(), cores, tiers(0), sample.past.clone())
}

/// Whether all files of the image are there still, as they were.
fn is_untouched(env: &SimEnv, files: &Image) -> bool {
    files.iter().all(|(path, bytes)| env.file_bytes(path).is_ok_and(|now| now == *bytes))
}

/// Opens a damaged store under two shards; it must refuse, name the file and leave all as it was.
fn refuses(sample: &Sample, damage: &Damage) {
    let Some(files) = damage.done_to(sample) else { return };
    let name = sample.name(damage.file());
    let env = machine(&files).unwrap();
    let Err(error) = open(&env, 2, sample) else { panic!("{name}, {damage:?}: it opens") };
    let is_named = matches!(&error, Error::Corrupt { file, .. } if file.ends_with(name))
        || matches!(&error, Error::Io { .. }) && error.to_string().contains(name);
    assert!(is_named, "{damage:?}: {error}");
    assert!(is_untouched(&env, &files), "{name}, {damage:?}: something was changed");
}

#[test]
fn a_damaged_table_or_checkpoint_is_named_and_nothing_is_changed() {
    let sample = Sample::write(Ending::Tables).unwrap();
    let is_wanted = |damage: &Damage| {
        let kind = FileKind::of(&sample.files[damage.file()].0);
        let is_of_the_file = !matches!(damage.kind(), DamageKind::Copied | DamageKind::Old);
        matches!(kind, FileKind::Table | FileKind::Checkpoint) && is_of_the_file
    };
    let damages: Vec<_> = cases(&sample, EVERY).into_iter().filter(is_wanted).collect();
    assert!(damages.len() > 300, "{}", damages.len());
    damages.iter().for_each(|damage| refuses(&sample, damage));
}

#[test]
fn once_the_file_is_restored_every_row_is_there_under_the_new_number() {
    let sample = Sample::write(Ending::Rested).unwrap();
    let is_table = |(path, _): &(PathBuf, Vec<u8>)| FileKind::of(path) == FileKind::Table;
    let file = sample.files.iter().position(is_table).unwrap();
    let (path, bytes) = &sample.files[file];
    // The first block: the file would open under one shard.
    let damage = Damage::Flip(Place { file, at: 4096 + 100 });
    let env = machine(&damage.done_to(&sample).unwrap()).unwrap();
    let Err(error) = open(&env, 2, &sample) else { panic!("it opens") };
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    // As it was, it serves what is not damaged, and says what is.
    let mut world = open(&env, 1, &sample).unwrap();
    let unreadable = world.unreadable_rows().unwrap();
    assert!(unreadable.iter().all(|why| why.contains("offset 4096")), "{unreadable:?}");
    drop(world);
    let env = env.kill();
    env.set_file_bytes(path, bytes).unwrap();
    for cores in [2, 1] {
        let mut world = open(&env, cores, &sample).unwrap();
        let applied: Vec<u64> = sample.past.iter().map(|p| p.accepted.len() as u64).collect();
        assert_eq!(world.applied(), applied);
        world.check_rows().unwrap();
    }
    assert!(verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap().is_sound());
}
