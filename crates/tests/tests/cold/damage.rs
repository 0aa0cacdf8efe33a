//! One damaged table or file does not hold up the archive: it is named, everything else goes on, and it is tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thermae_engine::{Error, Scan, ScanOptions};
use thermae_env::{Env, SimEnv};
use thermae_tests::model::Rng;
use thermae_tiering::cold::{MemoryObjects, Objects};

use super::attach::{KEYS, Small, VERSIONS, filled, paths};

const OTHER: &str = "others";
/// Where the first block of a table lies.
const BLOCK_AT: usize = 4096;

/// Text that hardly compresses, so that a view has several blocks in a table.
fn noise(id: i64, event_time: i64) -> String {
    let mut rng = Rng::new((event_time * KEYS + id) as u64);
    (0..600).map(|_| char::from(b'!' + rng.below(90) as u8)).collect()
}

/// Versions of a view that a scan shows.
fn rows_of(small: &mut Small, view: &str) -> Result<usize, Error> {
    let snapshot = small.snapshot()?;
    let rows = Scan::open(&snapshot, view, &[], &ScanOptions::default())?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.len())
}

/// The largest table of a directory.
fn table(env: &SimEnv) -> PathBuf {
    let entries = env.list(Path::new("/data/warm")).unwrap();
    let tables = entries.into_iter().filter(|entry| entry.name.ends_with(".tbl"));
    Path::new("/data/warm").join(tables.max_by_key(|entry| entry.len_bytes).unwrap().name)
}

#[test]
fn what_a_damaged_block_holds_waits_and_all_else_is_archived() {
    let (env, objects) = (SimEnv::new(11), Arc::new(MemoryObjects::default()));
    let mut small = Small::open_idle(&env, Some(&objects));
    small.define(OTHER);
    for event_time in 0..VERSIONS {
        small.put_in("notes", event_time, |id| noise(id, event_time));
        small.put_in(OTHER, event_time, |id| noise(id, event_time));
    }
    (0..500).for_each(|_| small.turn());
    let path = table(&env);
    let sound = env.file_bytes(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[BLOCK_AT + 100] ^= 1;
    env.set_file_bytes(&path, &damaged).unwrap();
    small.is_archiving = true;
    // Everything of the view whose blocks are sound, and some of the other.
    let all = (KEYS * VERSIONS) as u64;
    let figures = small.turn_until(|small| {
        let figures = small.figures();
        (figures.archived_rows > all && figures.lag_us > 0).then_some(figures)
    });
    let [named] = &figures.damaged[..] else { panic!("{figures:?}") };
    assert!(named.contains(&path.display().to_string()) && named.contains("4096"), "{named}");
    assert_eq!(figures.failures, 0, "{figures:?}");
    assert!(figures.archived_rows < 2 * all, "{figures:?}");
    small.turn_until(|small| small.trouble().filter(|what| what.contains("set aside: 1")));
    // It is looked at again, and what was damaged is archived.
    env.set_file_bytes(&path, &sound).unwrap();
    small.turn_until(|small| (small.figures().archived_rows == 2 * all).then_some(()));
    small.turn_until(|small| (small.trouble().is_none()).then_some(()));
    assert!(small.figures().damaged.is_empty());
    assert_eq!(rows_of(&mut small, "notes").unwrap() as u64, all);
}

#[test]
fn a_damaged_file_of_the_archive_is_not_merged_and_rows_go_on_to_be_archived() {
    let (env, objects) = filled();
    let is_file = |path: &&String| path.ends_with(".parquet") && !path.contains("_delta_log");
    let named: Vec<String> = paths(&objects).iter().filter(is_file).cloned().collect();
    for path in &named {
        let mut bytes = objects.get(path).unwrap().to_vec();
        bytes[20] ^= 1;
        objects.replace(path, bytes.into()).unwrap();
    }
    let mut small = Small::open(&env, Some(&objects));
    let before = small
        .turn_until(|small| small.stepped.handle.is_archive_attached().then(|| small.figures()));
    for batch in 1..=20 {
        small.put(VERSIONS + batch);
        let wanted = (KEYS * batch) as u64;
        small.turn_until(|small| (small.figures().archived_rows >= wanted).then_some(()));
    }
    let figures = small.turn_until(|small| {
        let figures = small.figures();
        (figures.merges > before.merges && !figures.damaged.is_empty()).then_some(figures)
    });
    assert_eq!(figures.failures, 0, "{figures:?}");
    assert!(figures.damaged.iter().all(|what| named.iter().any(|path| what.contains(path))));
}

#[test]
fn a_view_whose_table_log_is_damaged_is_refused_and_the_others_go_on() {
    let (env, objects) = (SimEnv::new(13), Arc::new(MemoryObjects::default()));
    let mut small = Small::open(&env, Some(&objects));
    small.define(OTHER);
    for event_time in 0..VERSIONS {
        small.put(event_time);
        small.put_in(OTHER, event_time, |id| noise(id, event_time));
    }
    let all = (2 * KEYS * VERSIONS) as u64;
    small.turn_until(|small| {
        let history = small.stepped.handle.stats().shards[0].tiers.history.rows;
        (small.figures().archived_rows == all && history == 0).then_some(())
    });
    drop(small);
    let is_log = |path: &&String| path.contains("notes") && path.contains("_delta_log");
    let logs: Vec<String> = paths(&objects).iter().filter(is_log).cloned().collect();
    let sound: Vec<_> = logs.iter().map(|path| objects.get(path).unwrap()).collect();
    let last = logs.iter().filter(|path| path.ends_with(".json")).max().unwrap();
    objects.replace(last, b"no commit".as_slice().into()).unwrap();
    let mut small = Small::open(&env.kill(), Some(&objects));
    small.define(OTHER);
    small.turn_until(|small| small.stepped.handle.is_archive_attached().then_some(()));
    let refused = rows_of(&mut small, "notes").unwrap_err();
    assert!(matches!(&refused, Error::Archive(why) if why.contains("_delta_log")), "{refused}");
    assert_eq!(rows_of(&mut small, OTHER).unwrap() as u64, all / 2);
    small.put_in(OTHER, VERSIONS, |id| noise(id, VERSIONS));
    let figures = small.turn_until(|small| {
        let figures = small.figures();
        (figures.archived_rows == KEYS as u64).then_some(figures)
    });
    assert_eq!((figures.failures, figures.damaged.len()), (0, 1), "{figures:?}");
    // Put right again, it is found by itself.
    for (path, bytes) in logs.iter().zip(sound) {
        objects.replace(path, bytes).unwrap();
    }
    small.turn_until(|small| small.figures().damaged.is_empty().then_some(()));
    assert_eq!(rows_of(&mut small, "notes").unwrap() as u64, all / 2);
}
