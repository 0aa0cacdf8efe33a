//! A damaged byte on disk gives an error that names the file, never another answer. The whole campaign
//! is `cargo xtask damage`.

use std::ops::Range;
use std::path::Path;

use thermae_engine::planted::{Bug, plant};
use thermae_engine::verify::verify_directory;
use thermae_tests::damage::{
    DIR, Damage, DamageKind, Ending, FileKind, PAGE_BYTES, Place, Report, Sample, cases, machine,
    run,
};

/// Tries one of `every` damages to the kinds of files that are wanted.
fn slice(ending: Ending, preload: u64, every: usize, wanted: fn(FileKind) -> bool) -> Report {
    let sample = Sample::write(ending).unwrap();
    let kind = |damage: &Damage| FileKind::of(&sample.files[damage.file()].0);
    let cases: Vec<_> =
        cases(&sample, every).into_iter().filter(|damage| wanted(kind(damage))).collect();
    let report = run(&sample, cases.iter(), preload, || ());
    assert_eq!((report.broken, &report.first_broken[..]), (0, &[][..]));
    report
}

/// Tries flips of some bytes of a file.
fn flips(sample: &Sample, file: usize, bytes: Range<usize>) -> Report {
    let flips: Vec<_> = bytes.step_by(97).map(|at| Damage::Flip(Place { file, at })).collect();
    run(sample, flips.iter(), 0, || ())
}

fn is_warm(file: FileKind) -> bool {
    matches!(file, FileKind::Table | FileKind::Checkpoint)
}

#[test]
fn every_damage_to_tables_gives_the_same_answers_or_names_the_file() {
    let report = slice(Ending::Tables, 0, 149, is_warm);
    let flips = report.sum(|file, damage| is_warm(file) && damage == DamageKind::Flipped);
    assert!(flips.refused > 20 && flips.unreadable > 20 && flips.told > 5, "{report:?}");
    assert_eq!(flips.named(), flips.cases, "{report:?}");
    let rest = report.sum(|file, damage| is_warm(file) && damage != DamageKind::Flipped);
    assert!(rest.named() == rest.cases && rest.cases > 50, "{report:?}");
}

#[test]
fn a_small_store_opens_over_a_damaged_block_too() {
    let report = slice(Ending::Tables, 1 << 30, 149, is_warm);
    let flips = report.sum(|file, damage| file == FileKind::Table && damage == DamageKind::Flipped);
    assert!(flips.refused > 20 && flips.refused < flips.cases, "{report:?}");
    assert!(flips.unreadable > 20, "{report:?}");
}

#[test]
fn every_damage_to_logs_and_manifest_loses_nothing_or_names_the_file() {
    let report = slice(Ending::Rested, 0, 499, |file| !is_warm(file));
    let log = report.sum(|file, _| file == FileKind::Log);
    assert!(log.same > 100 && log.refused > 50 && log.last_batch == 0, "{report:?}");
    let manifest = report.sum(|file, _| file == FileKind::Manifest);
    assert!(manifest.refused > 3, "{report:?}");
}

#[test]
fn damage_to_the_last_batch_before_a_crash_is_a_torn_write_and_no_other_is() {
    let sample = Sample::write(Ending::CutOff).unwrap();
    let last = sample.last_batch.as_ref().unwrap();
    let seen = |bytes| {
        let report = flips(&sample, last.file, bytes);
        assert_eq!((report.broken, &report.first_broken[..]), (0, &[][..]));
        report.sum(|_, _| true)
    };
    let inside = seen(last.bytes.clone());
    assert_eq!((inside.last_batch, inside.cases > 40), (inside.cases, true), "{inside:?}");
    let before = seen(last.bytes.start - PAGE_BYTES..last.bytes.start);
    assert_eq!((before.refused, before.cases > 40), (before.cases, true), "{before:?}");
}

#[test]
fn a_recovery_that_takes_damage_for_the_end_of_a_log_is_found() {
    let sample = Sample::write(Ending::CutOff).unwrap();
    let last = sample.last_batch.as_ref().unwrap();
    plant(Some(Bug::CutAtFirstBadChecksum));
    let report = flips(&sample, last.file, last.bytes.start - PAGE_BYTES..last.bytes.start);
    plant(None);
    assert!(report.broken > 40, "{report:?}");
}

#[test]
fn a_whole_store_verifies_and_a_file_that_nothing_names_is_noted() {
    let mut image = Sample::write(Ending::Tables).unwrap().files;
    let stray = Path::new(DIR).join("warm/00000000000000ff.tbl");
    let foreign = Path::new(DIR).join("warm/notes.txt");
    image.extend([&stray, &foreign].map(|path| (path.clone(), b"text".to_vec())));
    let mut told = Vec::new();
    let env = machine(&image).unwrap();
    let verified = verify_directory(&env, Path::new(DIR), &mut |done, of| {
        told.push((done, of));
    });
    let report = verified.unwrap();
    assert!(report.is_sound() && report.tables > 0 && report.rows > 24, "{report:?}");
    assert_eq!(report.files, image.len() as u64 - 2, "{report:?}");
    let bytes: usize = image.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(report.bytes, bytes as u64 - 8);
    assert!(told.is_sorted() && told.iter().all(|(done, of)| done <= of), "{told:?}");
    assert!(told.last().is_some_and(|(done, of)| done == of));
    let noted = |path: &Path, what: &str| {
        let mut notes = report.findings.iter();
        notes.any(|found| found.file == path && found.what.contains(what))
    };
    assert!(noted(&stray, "the next open removes it") && noted(&foreign, "left alone"));
}
