//! Files in the directory that are not what their name says, and files that nobody asked for.

use std::path::{Path, PathBuf};

use thermae_engine::verify::verify_directory;
use thermae_engine::{Error, log::Severity};
use thermae_env::{Env, SimEnv};
use thermae_tests::campaign::World;
use thermae_tests::damage::{DIR, Ending, FileKind, Image, Sample, machine, tiers};

fn open(env: &SimEnv, sample: &Sample) -> Result<World, Error> {
    World::open(env.clone(), 1, tiers(0), sample.past.clone())
}

/// Opens a directory that must be refused; the file that is named, and why.
fn refused(files: &Image, sample: &Sample) -> (PathBuf, String) {
    let env = machine(files).unwrap();
    let verified = verify_directory(&env, Path::new(DIR), &mut |_, _| ());
    let is_sound = verified.is_ok_and(|report| report.is_sound());
    assert!(!is_sound, "a check of the directory misses it");
    match open(&env, sample) {
        Err(Error::Corrupt { file, what, .. }) => (file.into(), what),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it opens"),
    }
}

/// The places of all files of a kind.
fn places(sample: &Sample, kind: FileKind) -> Vec<usize> {
    (0..sample.files.len()).filter(|&file| FileKind::of(&sample.files[file].0) == kind).collect()
}

#[test]
fn files_that_took_each_others_names_are_refused_by_name() {
    let sample = Sample::write(Ending::Rested).unwrap();
    for kind in [FileKind::Table, FileKind::Log] {
        let places = places(&sample, kind);
        let [one, other] = places[..2] else { panic!("{kind:?}: one file") };
        let mut files = sample.files.clone();
        files[one].1.clone_from(&sample.files[other].1);
        files[other].1.clone_from(&sample.files[one].1);
        let (named, why) = refused(&files, &sample);
        assert!([one, other].iter().any(|&file| named == files[file].0), "{why}");
    }
}

#[test]
fn files_of_another_store_are_refused_by_name() {
    let sample = Sample::write(Ending::Rested).unwrap();
    // Another store of the same history, in which files have the same names.
    let other = another_store(&sample);
    for kind in [FileKind::Table, FileKind::Checkpoint, FileKind::Log] {
        for file in places(&sample, kind) {
            let mut files = sample.files.clone();
            let path = &files[file].0;
            let Some((_, bytes)) = other.iter().find(|(name, _)| name == path) else { continue };
            files[file].1.clone_from(bytes);
            let (named, why) = refused(&files, &sample);
            assert_eq!(named, files[file].0, "{why}");
        }
    }
}

/// The files of the sample with another store id wherever a header has it: what another store of the
/// same history would have, but for the checksums, which tell first.
fn another_store(sample: &Sample) -> Image {
    let mut files = sample.files.clone();
    for (_, bytes) in &mut files {
        bytes[16..32].reverse();
    }
    files
}

#[test]
fn files_that_nothing_names_are_left_alone_and_those_of_a_crash_are_removed() {
    let sample = Sample::write(Ending::Rested).unwrap();
    let path = |name: &str| Path::new(DIR).join(name);
    let mine = ["notes.txt", "MANIFEST.bak", "warm/notes.txt", "warm/7.tbl", "log/notes.txt"];
    let left_over = ["warm/00000000000000ff.tbl", "warm/00000000000000fe.ckp.tmp", "MANIFEST.tmp"];
    let env = machine(&sample.files).unwrap();
    for name in mine.iter().chain(&left_over) {
        env.set_file_bytes(&path(name), b"anything").unwrap();
    }
    env.create_dir_all(&path("warm/00000000000000fd.tbl")).unwrap();
    let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
    assert!(report.findings.iter().all(|found| found.severity == Severity::Note), "{report:?}");
    let mut world = open(&env, &sample).unwrap();
    world.check_rows().unwrap();
    for name in mine {
        assert_eq!(env.file_bytes(&path(name)).unwrap(), b"anything", "{name}");
    }
    for name in left_over {
        let bytes = env.file_bytes(&path(name)).ok();
        assert_ne!(bytes.as_deref(), Some(&b"anything"[..]), "{name} is there still");
    }
}

#[test]
fn an_empty_file_in_the_place_of_any_is_refused_by_name() {
    let sample = Sample::write(Ending::Rested).unwrap();
    for file in 0..sample.files.len() {
        let mut files = sample.files.clone();
        files[file].1.clear();
        let (named, why) = refused(&files, &sample);
        assert_eq!(named, files[file].0, "{why}");
    }
}
