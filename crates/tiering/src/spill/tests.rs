use std::path::{Path, PathBuf};

use thermae_env::{Env, File, OpenHow, SimEnv, SimOp};

use super::*;
use crate::testing::Rng;

const DIR: &str = "/spill";
const EVERYTHING: std::ops::RangeInclusive<u64> = 0..=u64::MAX;

fn limits(memory_bytes: usize, fan_in: usize) -> Limits {
    Limits { memory_bytes, block_bytes: 64, fan_in }
}

fn any_record(rng: &mut Rng) -> Vec<u8> {
    let length = if rng.one_in(50) { 300 } else { rng.below(14) };
    (0..length).map(|_| rng.below(3) as u8 * 120).collect()
}

fn sort(dir: &SpillDir<SimEnv>, records: &[Vec<u8>], limits: Limits) -> Sorted<SimEnv> {
    let mut sorter = Sorter::new(dir, limits);
    records.iter().for_each(|record| sorter.push(record).unwrap());
    sorter.finish().unwrap()
}

fn read(sorted: &Sorted<SimEnv>, leads: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    let mut reader = sorted.read(leads).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.peek() {
        records.push(record.to_vec());
        reader.advance().unwrap();
    }
    records
}

fn files(env: &SimEnv) -> Vec<String> {
    match env.list(Path::new(DIR)) {
        Ok(entries) => entries.into_iter().map(|entry| entry.name).collect(),
        Err(_) => Vec::new(),
    }
}

#[test]
fn whatever_the_memory_records_come_back_sorted_whole_and_by_ranges() {
    let mut rng = Rng::new(5);
    let env = SimEnv::new(5);
    let dir = SpillDir::new(env.clone(), Path::new(DIR));
    for records in [0, 1, 2, 40, 700] {
        let records: Vec<_> = (0..records).map(|_| any_record(&mut rng)).collect();
        let mut expected = records.clone();
        expected.sort();
        for limits in [limits(0, 2), limits(200, 2), limits(900, 5), limits(1 << 20, 2)] {
            let sorted = sort(&dir, &records, limits);
            assert!(sorted.runs() <= limits.fan_in, "{} runs", sorted.runs());
            assert_eq!(sorted.is_spilled(), !files(&env).is_empty());
            assert_eq!(read(&sorted, EVERYTHING), expected);
            for _ in 0..20 {
                let mut ends = [lead_of(&any_record(&mut rng)), lead_of(&any_record(&mut rng))];
                ends.sort_unstable();
                let range = ends[0]..=ends[1];
                let inside = expected.iter().filter(|record| range.contains(&lead_of(record)));
                assert_eq!(read(&sorted, range.clone()), inside.cloned().collect::<Vec<_>>());
            }
        }
    }
    assert_eq!(files(&env), [""; 0], "no file outlives its reader");
}

#[test]
fn several_sorts_read_as_one() {
    let mut rng = Rng::new(6);
    let dir = SpillDir::new(SimEnv::new(6), Path::new(DIR));
    let records: Vec<_> = (0..300).map(|_| any_record(&mut rng)).collect();
    let parts = records.chunks(70).zip([200, 1 << 20, 500, 0, 90]);
    let parts: Vec<_> = parts.map(|(some, memory)| sort(&dir, some, limits(memory, 4))).collect();
    let all = Sorted::union(parts, &dir, limits(0, 3)).unwrap();
    let mut expected = records;
    expected.sort();
    assert_eq!((all.runs() <= 3, read(&all, EVERYTHING)), (true, expected));
}

#[test]
fn sorts_of_nothing_are_nothing_together_and_beside_others() {
    let env = SimEnv::new(7);
    let dir = SpillDir::new(env.clone(), Path::new(DIR));
    let limits = limits(1_000, 2);
    let nothing = || (0..5).map(|_| sort(&dir, &[], limits));
    let union = Sorted::union(nothing(), &dir, limits).unwrap();
    assert!(read(&union, EVERYTHING).is_empty() && files(&env).is_empty());
    let one = sort(&dir, &[b"one".to_vec()], limits);
    let union = Sorted::union(nothing().chain([one]), &dir, limits).unwrap();
    assert_eq!(read(&union, EVERYTHING), [b"one"]);
}

#[test]
fn memory_stays_within_the_limit() {
    let dir = SpillDir::new(SimEnv::new(7), Path::new(DIR));
    for memory_bytes in [1_000, 5_000, 70_000] {
        let mut sorter = Sorter::new(&dir, limits(memory_bytes, 2));
        for at in 0..5_000_u64 {
            sorter.push(&at.to_be_bytes()).unwrap();
            assert!(sorter.memory_bytes() <= memory_bytes, "{}", sorter.memory_bytes());
        }
        sorter.push(&vec![7; 2 * memory_bytes]).unwrap();
        sorter.push(&[8]).unwrap();
        assert!(sorter.memory_bytes() <= memory_bytes, "a large record keeps no memory");
    }
}

#[test]
fn a_full_disk_names_the_file_and_leaves_none() {
    let env = SimEnv::new(8);
    let dir = SpillDir::new(env.clone(), Path::new(DIR));
    env.set_capacity_bytes(Some(10_000));
    let mut sorter = Sorter::new(&dir, limits(2_000, 2));
    let error = (0..10_000_u64).find_map(|at| sorter.push(&at.to_be_bytes()).err());
    match error {
        Some(SpillError::DiskFull { path, needed_bytes }) => {
            assert!(path.starts_with(DIR) && needed_bytes > 0, "{path:?} {needed_bytes}");
        }
        other => panic!("{other:?}"),
    }
    drop(sorter);
    assert_eq!(files(&env), [""; 0]);
}

#[test]
fn a_flipped_byte_and_a_failing_read_are_errors() {
    let env = SimEnv::new(9);
    let dir = SpillDir::new(env.clone(), Path::new(DIR));
    let records: Vec<_> = (0..40_u64).map(|at| at.to_be_bytes().to_vec()).collect();
    let sorted = sort(&dir, &records, limits(1, 64));
    let first: PathBuf = Path::new(DIR).join(&files(&env)[0]);
    env.fail(SimOp::Read, 3);
    assert!(matches!(sorted.read(EVERYTHING), Err(SpillError::Io { what: "read", .. })));
    let file = env.open(&first, OpenHow::WRITE).unwrap();
    file.write_all_at(&[9], 5).unwrap();
    let error = sorted.read(EVERYTHING).err();
    let is_named = matches!(&error, Some(SpillError::Damaged { path, .. }) if *path == first);
    assert!(is_named, "{error:?}");
}

#[test]
fn what_a_killed_process_left_is_cleared_and_nothing_else() {
    let env = SimEnv::new(10);
    let dir = Path::new(DIR);
    SpillDir::clear(&env, dir).unwrap();
    env.create_dir_all(dir).unwrap();
    for name in ["spill-00-0", "other"] {
        env.open(&dir.join(name), OpenHow::CREATE).unwrap();
    }
    SpillDir::clear(&env, dir).unwrap();
    assert_eq!(files(&env), ["other"]);
}
