#![allow(clippy::unwrap_used)]

use thermae_formats::SchemaId;

use super::*;
use crate::testing::Rng;

const POLICY: ArchivePolicy = ArchivePolicy {
    lag_us: 100,
    batch_bytes: 1_000,
    small_file_bytes: 50,
    file_bytes: 200,
    merge_files: 3,
    grace_us: 10,
    log: LogPolicy { checkpoint_commits: 1, keep_us: 0, removed_us: 0 },
};

fn progress(archived: u64, flushed: u64, waiting_bytes: u64, waiting_since_us: i64) -> Progress {
    Progress { archived, flushed, waiting_bytes, waiting_since_us }
}

#[test]
fn a_batch_is_due_when_its_rows_have_waited_or_fill_it() {
    // Of the bytes that wait, since when, at which time: whether a batch is due.
    let cases = [
        (10, 900, 999, false),
        (10, 900, 1_000, true),
        (999, 900, 900, false),
        (1_000, 900, 900, true),
    ];
    for (bytes, since_us, now_us, is_due) in cases {
        let state = BTreeMap::from([((ViewId(1), 4), progress(5, 9, bytes, since_us))]);
        let plan = next_batch(&state, &POLICY, now_us);
        let expected = BatchPlan { view: ViewId(1), advances: [(4, (5, 9))].into() };
        assert_eq!(plan, is_due.then_some(expected), "{bytes} bytes since {since_us} at {now_us}");
        assert_eq!(lag_us(&state, now_us), now_us - since_us);
    }
    let done = BTreeMap::from([((ViewId(1), 4), progress(9, 9, 0, 0))]);
    assert_eq!(next_batch(&done, &POLICY, i64::MAX), None);
    assert_eq!(lag_us(&done, 1_000), 0);
}

#[test]
fn the_view_that_waited_longest_comes_first_and_a_batch_ends_where_it_is_full() {
    let state = BTreeMap::from([
        ((ViewId(1), 0), progress(0, 5, 10, 500)),
        ((ViewId(2), 0), progress(1, 5, 600, 400)),
        ((ViewId(2), 1), progress(5, 5, 0, 0)),
        ((ViewId(2), 2), progress(2, 6, 400, 450)),
        ((ViewId(2), 3), progress(3, 7, 1, 450)),
    ]);
    let plan = next_batch(&state, &POLICY, 2_000).map(|plan| (plan.view, plan.advances));
    assert_eq!(plan, Some((ViewId(2), [(0, (1, 5)), (2, (2, 6))].into())));
    let large = BTreeMap::from([((ViewId(1), 0), progress(0, 5, 9_999, 500))]);
    assert!(next_batch(&large, &POLICY, 500).is_some(), "one partition alone may have more");
}

/// Carried out again and again, the plans archive everything, each sequence once and in its order.
#[test]
fn batches_archive_all_and_each_row_once() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut state = BTreeMap::new();
        for _ in 0..rng.below(20) {
            let place = (ViewId(rng.below(3) as u32), rng.below(6) as u16);
            let (archived, flushed) = (rng.below(3), 3 + rng.below(9));
            state.insert(place, progress(archived, flushed, rng.below(700), rng.below(50) as i64));
        }
        while let Some(plan) = next_batch(&state, &POLICY, 200) {
            assert!(!plan.advances.is_empty());
            for (partition, (from, to)) in plan.advances {
                let progress = state.get_mut(&(plan.view, partition)).unwrap();
                assert_eq!((progress.archived, progress.flushed), (from, to));
                assert!(from < to);
                (progress.archived, progress.waiting_bytes) = (to, 0);
            }
        }
        assert!(state.values().all(|progress| progress.archived == progress.flushed));
    }
}

fn file(day: i32, bytes: u64, name: &str) -> FileRef {
    let last = i64::from(day) * DAY_US + 7;
    FileRef {
        path: name.to_owned(),
        bytes,
        day,
        schema_id: SchemaId(1),
        rows: 1,
        tail_bytes: 1,
        tail_checksum: 0,
        hashes: (0, 0),
        event_times: (last - 7, last),
        sequences: (0, 0),
    }
}

#[test]
fn small_files_of_one_day_are_merged_when_they_are_many() {
    let two = [file(1, 10, "a"), file(1, 10, "b"), file(1, 50, "large"), file(2, 10, "c")];
    assert_eq!(next_merge(two.iter(), &POLICY), None);
    let three = [
        file(1, 30, "a"),
        file(1, 10, "b"),
        file(1, 50, "large"),
        file(1, 20, "c"),
        file(2, 1, "d"),
    ];
    assert_eq!(
        next_merge(three.iter(), &POLICY),
        Some(["b", "c", "a"].map(str::to_owned).to_vec())
    );
    let many: Vec<_> = (0..9).map(|number| file(1, 49, &number.to_string())).collect();
    let merged = next_merge(many.iter(), &POLICY);
    assert_eq!(merged.map(|paths| paths.len()), Some(4), "of 200 bytes at most");
}

/// Merging until nothing is to be merged ends, and moves a byte a few times only.
#[test]
fn merges_come_to_an_end() {
    let mut rng = Rng::new(1);
    let mut files: Vec<FileRef> = Vec::new();
    let (mut written, mut moved) = (0, 0);
    for number in 0..2_000 {
        let bytes = 1 + rng.below(20);
        files.push(file(rng.below(3) as i32, bytes, &format!("{number}")));
        written += bytes;
        while let Some(paths) = next_merge(files.iter(), &POLICY) {
            let day = files.iter().find(|file| file.path == paths[0]).map_or(0, |file| file.day);
            let is_merged = |file: &FileRef| paths.contains(&file.path);
            assert!(files.iter().filter(|file| is_merged(file)).all(|file| file.day == day));
            let bytes = files.iter().filter(|file| is_merged(file)).map(|file| file.bytes).sum();
            files.retain(|file| !is_merged(file));
            files.push(file(day, bytes, &format!("{number}+{}", paths.len())));
            moved += bytes;
        }
    }
    assert!(moved <= 4 * written, "{moved} of {written}");
}

#[test]
fn a_file_ends_when_its_last_row_is_past_keep_for() {
    let files = [file(1, 1, "a"), file(2, 1, "b")];
    let last = DAY_US + 7;
    let cases: [(i64, Option<i64>, &[&str]); 5] = [
        (100, Some(last + 100), &[]),
        (100, Some(last + 101), &["a"]),
        (100, Some(last + DAY_US + 101), &["a", "b"]),
        (0, Some(i64::MAX), &[]),
        (100, None, &[]),
    ];
    for (keep_for_us, watermark, gone) in cases {
        assert_eq!(
            expired(files.iter(), keep_for_us, watermark),
            gone,
            "{keep_for_us} at {watermark:?}"
        );
    }
}

#[test]
fn an_object_that_nothing_names_goes_after_the_grace() {
    // Of written, removed, now: whether it may go.
    let cases = [
        (100, None, 110, false),
        (100, None, 111, true),
        (100, Some(200), 210, false),
        (100, Some(200), 211, true),
        (300, Some(200), 310, false),
    ];
    for (modified_us, removed_us, now_us, goes) in cases {
        assert_eq!(
            may_sweep(modified_us, removed_us, &POLICY, now_us),
            goes,
            "{modified_us} {removed_us:?} {now_us}"
        );
    }
}
