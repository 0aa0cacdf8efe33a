#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::testing::Rng;

/// A stack of tables that plans are carried out on at once, rows being nothing but sizes.
struct World {
    latest: Vec<TableRef>,
    history: Vec<TableRef>,
    next_id: u64,
    flushed: u64,
    compacted: u64,
    /// Bytes that all distinct keys take: merging beyond them drops what is superseded.
    distinct: u64,
    most_runs: usize,
}

fn table(file_id: u64, kind: TableKind, bytes: u64, times: (i64, i64)) -> TableRef {
    let (min_event_time, max_event_time) = times;
    let (rows, tombstones, checksum) = (bytes / 100, 0, 0);
    TableRef { file_id, kind, bytes, rows, tombstones, min_event_time, max_event_time, checksum }
}

impl World {
    fn new(distinct: u64) -> Self {
        let (latest, history) = (Vec::new(), Vec::new());
        let (next_id, flushed, compacted, most_runs) = (1, 0, 0, 0);
        Self { latest, history, next_id, flushed, compacted, distinct, most_runs }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn flush(&mut self, bytes: u64, times: (i64, i64)) {
        let id = self.id();
        self.flushed += bytes;
        self.latest.insert(0, table(id, TableKind::Latest, bytes, times));
    }

    fn state(&self) -> TreeState<'_> {
        TreeState {
            latest: &self.latest,
            history: &self.history,
            in_work: &[],
            damaged: &[],
            suspects: &[],
            merges: 0,
            expired_before: None,
            departing: &[],
            free_bytes: u64::MAX,
        }
    }

    /// Carries out plans until there is nothing to do; the steps that took.
    fn settle(&mut self, policy: &CompactionPolicy) -> usize {
        for step in 0..10_000 {
            self.most_runs = self.most_runs.max(self.latest.len());
            match plan(&self.state(), policy) {
                Plan::Nothing => return step,
                Plan::Merge(merge) if merge.kind == TableKind::Latest => self.merge(&merge),
                Plan::Merge(merge) => self.split(&merge),
                other => panic!("{other:?}"),
            }
        }
        panic!("never settles: {} {}", self.latest.len(), self.history.len());
    }

    fn merge(&mut self, merge: &Compaction) {
        let first = merge.inputs[0].file_id;
        let from = self.latest.iter().position(|run| run.file_id == first).unwrap();
        let to = from + merge.inputs.len();
        assert_eq!(&self.latest[from..to], &merge.inputs[..], "neighbours in order");
        assert_eq!(merge.is_last_run, to == self.latest.len());
        let bytes = merge.input_bytes().min(self.distinct);
        let (id, times) = (self.id(), span(&merge.inputs));
        self.compacted += bytes;
        self.latest.splice(from..to, [table(id, TableKind::Latest, bytes, times)]);
    }

    /// History is split as if each input's bytes lay evenly over its time.
    fn split(&mut self, merge: &Compaction) {
        self.history.retain(|table| !merge.inputs.contains(table));
        let (min, max) = span(&merge.inputs);
        let window = Window::around(min, max);
        assert!(merge.inputs.iter().all(|table| Window::of(table) == window));
        self.compacted += merge.input_bytes();
        let mut parts = std::collections::BTreeMap::new();
        for step in 0..64 {
            let time = min + (max - min) / 63 * step;
            let part = parts.entry(window.part_of(time)).or_insert((time, time, 0));
            *part = (part.0.min(time), part.1.max(time), part.2 + merge.input_bytes() / 64);
        }
        for (min, max, bytes) in parts.into_values() {
            let id = self.id();
            self.history.push(table(id, TableKind::History, bytes, (min, max)));
        }
    }
}

fn span(tables: &[TableRef]) -> (i64, i64) {
    let min = tables.iter().map(|table| table.min_event_time).min().unwrap();
    (min, tables.iter().map(|table| table.max_event_time).max().unwrap())
}

#[test]
fn a_million_flushes_stay_within_the_bounds_of_runs_and_space() {
    let policy = CompactionPolicy::default();
    let mut rng = Rng::new(6);
    for (flushes, distinct) in [(400_000, 4 << 30), (400_000, 100 << 20), (200_000, 1 << 20)] {
        let mut world = World::new(distinct);
        for _ in 0..flushes {
            // From the odd small one to full memtables.
            let bytes = (64 << 20 >> rng.below(12).saturating_sub(6)).min(distinct);
            world.flush(bytes, (0, 0));
            world.settle(&policy);
            assert!(world.latest.len() <= policy.settled_runs);
            assert!(space_amplification(&world.latest) < 2.0 + 1e-9);
        }
        assert!(world.most_runs <= policy.settled_runs + 1);
        let amplification = write_amplification(world.flushed, world.compacted);
        assert!(amplification < 6.0, "{distinct} distinct bytes: {amplification:.2}");
    }
}

#[test]
fn what_a_load_costs_grows_slowly_with_its_size() {
    let cost = |flushes| {
        let mut world = World::new(u64::MAX);
        for _ in 0..flushes {
            world.flush(64 << 20, (0, 0));
            world.settle(&CompactionPolicy::default());
        }
        write_amplification(world.flushed, world.compacted)
    };
    let costs = [80, 1_000, 10_000].map(cost);
    assert!(costs[0] < 4.5 && costs[1] < 8.0 && costs[2] < 15.0, "{costs:.2?}");
}

/// Merges take their time here: one unit of it for each flush's worth of bytes, and a flush comes each
/// `every` units.
#[test]
fn runs_stay_bounded_while_large_merges_go_on() {
    let policy = CompactionPolicy::default();
    let mut world = World::new(u64::MAX);
    let mut at_work: Vec<(Compaction, u64)> = Vec::new();
    for tick in 0..400_000_u64 {
        if tick % 24 == 0 {
            world.flush(1_000, (0, 0));
        }
        let in_work: Vec<u64> =
            at_work.iter().flat_map(|(merge, _)| &merge.inputs).map(|run| run.file_id).collect();
        let state = TreeState { in_work: &in_work, merges: at_work.len(), ..world.state() };
        if let Plan::Merge(merge) = plan(&state, &policy) {
            let left = merge.input_bytes();
            at_work.push((merge, left));
        }
        if let Some((_, left)) = at_work.last_mut() {
            *left = left.saturating_sub(1_000);
        }
        if let Some((merge, _)) = at_work.pop_if(|(_, left)| *left == 0) {
            world.merge(&merge);
        }
        assert!(world.latest.len() <= policy.most_runs(), "tick {tick}: {}", world.latest.len());
    }
    assert!(world.latest.len() <= 3 * policy.settled_runs);
}

#[test]
fn history_goes_into_windows_and_settles() {
    let policy = CompactionPolicy::default();
    let mut rng = Rng::new(7);
    let day = 86_400_000_000_i64;
    let mut world = World::new(u64::MAX);
    for flush in 0..5_000_i64 {
        // Mostly the last hours, sometimes years at once.
        let max = flush * day / 50;
        let min =
            if rng.one_in(100) { max - 800 * day } else { max - rng.below(4) as i64 * day / 24 };
        let id = world.id();
        world.history.push(table(id, TableKind::History, 1 << 20, (min, max)));
        world.flushed += 1 << 20;
        world.settle(&policy);
    }
    assert!(world.history.len() < 5_000 / 2, "{} history tables", world.history.len());
    let amplification = write_amplification(world.flushed, world.compacted);
    assert!(amplification < 8.0, "{amplification:.2}");
}

#[test]
fn expired_tables_go_unread_but_never_uncover_older_ones() {
    let latest: Vec<_> = [(1, 5), (2, 50), (3, 5), (4, 5)]
        .map(|(id, max)| table(id, TableKind::Latest, 1 << (10 + 2 * id), (0, max)))
        .to_vec();
    let history: Vec<_> =
        [(5, 9), (6, 10)].map(|(id, max)| table(id, TableKind::History, 1, (0, max))).to_vec();
    let mut state = TreeState {
        latest: &latest,
        history: &history,
        in_work: &[],
        damaged: &[],
        suspects: &[],
        merges: 0,
        expired_before: Some(10),
        departing: &[],
        free_bytes: 0,
    };
    let policy = CompactionPolicy::default();
    let gone = |file_ids| Plan::Drop { file_ids };
    assert_eq!(plan(&state, &policy), gone(vec![4, 3, 5]));
    state.in_work = &[3, 5];
    assert_eq!(plan(&state, &policy), gone(vec![4]));
    state.expired_before = None;
    assert_eq!(plan(&state, &policy), Plan::Nothing);
}

#[test]
fn a_mostly_expired_oldest_run_is_rewritten_and_a_full_disk_pauses_with_a_reason() {
    let latest =
        [table(1, TableKind::Latest, 100, (80, 100)), table(2, TableKind::Latest, 1_000, (0, 100))];
    let policy = CompactionPolicy { reserve_bytes: 50, ..CompactionPolicy::default() };
    let mut state = TreeState {
        latest: &latest,
        history: &[],
        in_work: &[],
        damaged: &[],
        suspects: &[],
        merges: 0,
        expired_before: Some(50),
        departing: &[],
        free_bytes: 1_050,
    };
    let inputs = vec![latest[1]];
    let rewrite = Compaction { kind: TableKind::Latest, inputs, is_last_run: true };
    assert_eq!(plan(&state, &policy), Plan::Merge(rewrite));
    state.free_bytes = 1_049;
    let Plan::Paused(pause) = plan(&state, &policy) else { panic!("not paused") };
    assert!(pause.to_string().contains("the disk has 1049"), "{pause}");
    state.expired_before = Some(49);
    assert_eq!(plan(&state, &policy), Plan::Nothing);
}

#[test]
fn nothing_is_merged_over_a_damaged_run_and_both_sides_of_it_are_merged() {
    let policy = CompactionPolicy::default();
    let mut world = World::new(u64::MAX);
    (0..8).for_each(|n| world.flush(1_000 + n, (0, 1)));
    let ids = |runs: &[TableRef]| runs.iter().map(|run| run.file_id).collect::<Vec<_>>();
    let damaged = [world.latest[4].file_id];
    // Newer ones only when there are too many; older ones are three of at most five, and at the last of
    // all no rows are left behind.
    let Plan::Merge(merge) = plan(&TreeState { damaged: &damaged, ..world.state() }, &policy)
    else {
        panic!("nothing planned");
    };
    assert_eq!((ids(&merge.inputs), merge.is_last_run), (ids(&world.latest[5..]), true));
    let damaged = [world.latest[7].file_id, world.latest[3].file_id];
    let Plan::Nothing = plan(&TreeState { damaged: &damaged, ..world.state() }, &policy) else {
        panic!("three and three are not too many");
    };
    (0..3).for_each(|n| world.flush(2_000 + n, (0, 1)));
    let Plan::Merge(merge) = plan(&TreeState { damaged: &damaged, ..world.state() }, &policy)
    else {
        panic!("nothing planned");
    };
    assert!(!merge.is_last_run, "a damaged run lies below");
    assert!(ids(&merge.inputs).iter().all(|id| ids(&world.latest[..6]).contains(id)));
    // Damaged throughout: nothing can be rewritten, but what is past its time goes unread.
    let all = ids(&world.latest);
    let state = TreeState { damaged: &all, ..world.state() };
    assert_eq!(plan(&state, &policy), Plan::Nothing);
    let state = TreeState { expired_before: Some(2), ..state };
    assert_eq!(plan(&state, &policy), Plan::Drop { file_ids: all.iter().rev().copied().collect() });
}

#[test]
fn a_table_that_departs_is_rewritten_alone_when_nothing_else_is_wanted() {
    let (policy, mut world) = (CompactionPolicy::default(), World::new(1_000));
    world.history =
        (1..=3).map(|id| table(id, TableKind::History, 1 << (8 * id), (0, 1))).collect();
    let departing = |departing, damaged, in_work| {
        let state = TreeState { departing, damaged, in_work, ..world.state() };
        match plan(&state, &policy) {
            Plan::Merge(merge) => merge.inputs.iter().map(|table| table.file_id).collect(),
            _ => Vec::new(),
        }
    };
    assert_eq!(departing(&[], &[], &[]), [0; 0]);
    assert_eq!(departing(&[2, 9], &[], &[]), [2]);
    assert_eq!(departing(&[2], &[2], &[]), [0; 0], "damaged");
    let newest = [table(7, TableKind::Latest, 100, (0, 1))];
    let state = TreeState { latest: &newest, departing: &[7, 2], ..world.state() };
    let alone = Compaction { kind: TableKind::Latest, inputs: newest.to_vec(), is_last_run: true };
    assert_eq!(plan(&state, &policy), Plan::Merge(alone));
    assert_eq!(departing(&[2], &[], &[2]), [0; 0], "at work");
}

#[test]
fn a_table_that_may_hold_what_was_erased_is_rewritten_alone_and_before_all_others() {
    let latest: Vec<_> = (1..=8).map(|id| table(id, TableKind::Latest, 100, (0, 9))).collect();
    let history = [table(9, TableKind::History, 100, (0, 9))];
    let policy = CompactionPolicy { reserve_bytes: 0, ..CompactionPolicy::default() };
    let alone = |table: &TableRef, kind, is_last_run| {
        Plan::Merge(Compaction { kind, inputs: vec![*table], is_last_run })
    };
    let mut state = TreeState {
        latest: &latest,
        history: &history,
        in_work: &[],
        damaged: &[],
        suspects: &[4, 8, 9],
        departing: &[],
        merges: 0,
        expired_before: None,
        free_bytes: u64::MAX,
    };
    assert_eq!(plan(&state, &policy), alone(&latest[3], TableKind::Latest, false));
    (state.in_work, state.merges) = (&[4], 1);
    assert_eq!(plan(&state, &policy), alone(&latest[7], TableKind::Latest, true));
    (state.in_work, state.merges) = (&[4, 8], 2);
    assert_eq!(plan(&state, &policy), alone(&history[0], TableKind::History, false));
    // A damaged one cannot be: it waits.
    (state.suspects, state.damaged) = (&[8, 9], &[8, 9]);
    (state.in_work, state.merges) = (&[], 0);
    let Plan::Merge(other) = plan(&state, &policy) else { panic!("nothing is merged") };
    assert!(other.inputs.len() > 1, "{other:?}");
}
