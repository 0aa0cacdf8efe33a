//! Sectors of tables that can not be read: an error for the rows in them alone, never "not found".

use std::path::Path;

use thermae_engine::Error;
use thermae_env::SimEnv;
use thermae_tests::campaign::World;
use thermae_tests::damage::{Ending, FileKind, PAGE_BYTES, Sample, machine, tiers};

fn open(sample: &Sample, env: &SimEnv, cores: usize) -> Result<World, Error> {
    World::open(env.clone(), cores, tiers(0), sample.past.clone())
}

/// Every page of every table, as (file, offset).
fn pages(sample: &Sample) -> Vec<(&Path, u64)> {
    let tables = sample.files.iter().filter(|(path, _)| FileKind::of(path) == FileKind::Table);
    let pages = |bytes: &Vec<u8>| (0..bytes.len() as u64).step_by(PAGE_BYTES);
    tables.flat_map(|(path, bytes)| pages(bytes).map(move |at| (path.as_path(), at))).collect()
}

#[test]
fn an_unreadable_block_fails_its_own_rows_and_no_others() {
    let sample = Sample::write(Ending::Tables).unwrap();
    let (mut refused, mut failed, mut untouched) = (0, 0, 0);
    for (path, at) in pages(&sample) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let env = machine(&sample.files).unwrap();
        env.set_unreadable(path, at..at + PAGE_BYTES as u64).unwrap();
        let mut world = match open(&sample, &env, 1) {
            Ok(world) => world,
            Err(error) => {
                // Header, index, filter or footer: nothing of the table is to be had.
                assert!(matches!(error, Error::Io { .. }), "{error}");
                assert!(error.to_string().contains(name), "{error}");
                refused += 1;
                continue;
            }
        };
        // Rows that are there are told apart from rows that are not: another answer is an error here.
        let unreadable = world.unreadable_rows().unwrap();
        let names_it = |why: &String| why.contains(name) && why.contains("os error 5");
        assert!(unreadable.iter().all(names_it), "{name} at {at}: {unreadable:?}");
        // A block of so small a store holds all rows of one view.
        let is_of_one_view = |view| unreadable.iter().all(|why| why.starts_with(view));
        assert!(is_of_one_view("view 0") || is_of_one_view("view 1"), "{unreadable:?}");
        assert_eq!(world.applied(), applied(&sample));
        failed += usize::from(!unreadable.is_empty());
        untouched += usize::from(unreadable.is_empty());
        // It was the disk, not the bytes: what can be read again is served again.
        env.set_unreadable(path, 0..0).unwrap();
        world.check_rows().unwrap();
    }
    assert!(refused > 5 && failed > 1 && untouched > 3, "{refused} {failed} {untouched}");
}

fn applied(sample: &Sample) -> Vec<u64> {
    sample.past.iter().map(|history| history.accepted.len() as u64).collect()
}

#[test]
fn another_number_of_shards_over_an_unreadable_block_is_refused_until_it_can_be_read() {
    let sample = Sample::write(Ending::Tables).unwrap();
    for (path, at) in pages(&sample) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let env = machine(&sample.files).unwrap();
        env.set_unreadable(path, at..at + PAGE_BYTES as u64).unwrap();
        let Err(error) = open(&sample, &env, 2) else { panic!("{name} at {at}: it opens") };
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        env.set_unreadable(path, 0..0).unwrap();
        let mut world = open(&sample, &env, 2).unwrap();
        assert_eq!(world.applied(), applied(&sample));
        world.check_rows().unwrap();
    }
}
