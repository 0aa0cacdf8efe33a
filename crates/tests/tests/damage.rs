//! A damaged byte on disk gives an error that names the file, never another answer.

use std::path::{Path, PathBuf};

use thermae_engine::Ack;
use thermae_engine::log::Severity;
use thermae_engine::verify::verify_directory;
use thermae_env::{Env, SimEnv};
use thermae_tests::campaign::{PartitionHistory, Tiers, World};
use thermae_tests::model::{Operation, Rng};

const DIR: &str = "/data";
/// Every so manieth byte is flipped, of which every bit comes up.
const STRIDE: usize = 149;

type Image = Vec<(PathBuf, Vec<u8>)>;

/// The files of a store that has everything in tables, and what was written to it.
fn written() -> (Image, Vec<PartitionHistory>) {
    let tiers = Tiers { flush_bytes: 16 << 10, preload_bytes: 0 };
    let mut world = World::open(SimEnv::new(21), 1, tiers, World::no_history()).unwrap();
    assert!(world.define().unwrap());
    let mut rng = Rng::new(3);
    for n in 0..20 {
        let rows: Vec<_> = (0..20).map(|at| Operation::draw(&mut rng, 20 * n + at, 24)).collect();
        world.send(&rows, None, Ack::Durable);
        assert!(world.settle().unwrap());
    }
    assert!(world.rest().unwrap());
    let env = world.env.clone();
    let (histories, _) = world.into_past();
    // The next open puts the rest of the log into tables.
    let env = env.kill();
    drop(World::open(env.clone(), 1, tiers, histories.clone()).unwrap());
    (image(&env.kill()), histories)
}

fn image(env: &SimEnv) -> Image {
    let mut files = vec![PathBuf::from(DIR).join("MANIFEST")];
    for dir in ["log", "warm"].map(|name| Path::new(DIR).join(name)) {
        files.extend(env.list(&dir).unwrap().into_iter().map(|entry| dir.join(entry.name)));
    }
    let bytes = |path: PathBuf| (path.clone(), env.file_bytes(&path).unwrap());
    files.into_iter().map(bytes).collect()
}

fn machine(image: &Image) -> SimEnv {
    let env = SimEnv::new(5);
    for dir in ["log", "warm"] {
        env.create_dir_all(&Path::new(DIR).join(dir)).unwrap();
    }
    for (path, bytes) in image {
        env.set_file_bytes(path, bytes).unwrap();
    }
    env
}

/// What became of a damaged store.
#[derive(Debug, Default)]
struct Report {
    cases: u64,
    refused: u64,
    unreadable: u64,
    scrubbed: u64,
}

impl Report {
    /// Opens a store whose file `name` is damaged.
    fn judge(&mut self, image: &Image, path: &Path, preload_bytes: u64, past: &[PartitionHistory]) {
        let name = path.file_name().unwrap().to_str().unwrap();
        self.cases += 1;
        let env = machine(image);
        let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ()).unwrap();
        let mut found = report.findings.iter().filter(|found| found.severity == Severity::Damage);
        assert!(found.any(|finding| finding.file == path), "{name}: {report:?}");
        let tiers = Tiers { flush_bytes: 16 << 10, preload_bytes };
        let mut world = match World::open(env, 1, tiers, past.to_vec()) {
            Ok(world) => world,
            Err(error) => {
                assert!(error.to_string().contains(name), "{name}: {error}");
                self.refused += 1;
                return;
            }
        };
        let unreadable = world.unreadable_rows().unwrap();
        self.unreadable += unreadable.len() as u64;
        assert!(unreadable.iter().all(|why| why.contains(name)), "{name}: {unreadable:?}");
        assert!(world.rest().unwrap());
        // Whoever met it first: a look-up, a merge or the scrub.
        let damaged = world.damaged_tables();
        let is_named = damaged.iter().all(|table| table.path == path) && !damaged.is_empty();
        assert!(is_named, "{name}: {damaged:?}");
        self.scrubbed += u64::from(unreadable.is_empty());
        let unreadable = world.unreadable_rows().unwrap();
        assert!(unreadable.iter().all(|why| why.contains(name)), "{name}: {unreadable:?}");
    }
}

fn flipped_bytes(preload_bytes: u64) -> Report {
    let (image, past) = written();
    let mut report = Report::default();
    for (file, (path, bytes)) in image.iter().enumerate() {
        if !path.starts_with(Path::new(DIR).join("warm")) {
            continue;
        }
        for at in (0..bytes.len()).step_by(STRIDE) {
            let mut image = image.clone();
            image[file].1[at] ^= 1 << (at % 8);
            report.judge(&image, path, preload_bytes, &past);
        }
    }
    report
}

#[test]
fn every_flipped_byte_of_the_tables_gives_the_same_answers_or_names_the_file() {
    let report = flipped_bytes(0);
    assert!(report.refused > 20 && report.unreadable > 20 && report.scrubbed > 5, "{report:?}");
}

#[test]
fn a_small_store_opens_over_a_damaged_block_too() {
    let report = flipped_bytes(1 << 30);
    assert!(report.refused > 20 && report.refused < report.cases, "{report:?}");
    assert!(report.unreadable > 20, "{report:?}");
}

#[test]
fn a_missing_or_cut_file_of_the_tables_is_named() {
    let (image, past) = written();
    let mut report = Report::default();
    for file in 0..image.len() {
        let (path, bytes) = image[file].clone();
        if !path.starts_with(Path::new(DIR).join("warm")) {
            continue;
        }
        let mut image = image.clone();
        image.remove(file);
        report.judge(&image, &path, 0, &past);
        for part in [0, bytes.len() / 2, bytes.len() - 1] {
            image.push((path.clone(), bytes[..part].to_vec()));
            report.judge(&image, &path, 0, &past);
            image.pop();
        }
    }
    assert_eq!((report.refused, report.cases > 8), (report.cases, true));
}

#[test]
fn a_whole_store_verifies_and_a_file_that_nothing_names_is_noted() {
    let (mut image, _) = written();
    let stray = Path::new(DIR).join("warm/00000000000000ff.tbl");
    let foreign = Path::new(DIR).join("warm/notes.txt");
    image.extend([&stray, &foreign].map(|path| (path.clone(), b"text".to_vec())));
    let mut told = Vec::new();
    let verified = verify_directory(&machine(&image), Path::new(DIR), &mut |done, of| {
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
