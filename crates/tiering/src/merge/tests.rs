use std::collections::BTreeMap;

use thermae_formats::SchemaId;

use super::*;
use crate::testing::Rng;

type Row = (ViewId, u64, Vec<u8>, i64);

struct Rows(Vec<Row>, usize);

impl Source for Rows {
    type Error = ();

    fn peek(&self) -> Option<Entry<'_>> {
        self.0.get(self.1).map(|(view, hash, key, time)| (*view, *hash, version(key, *time)))
    }

    fn advance(&mut self) -> Result<(), ()> {
        self.1 += 1;
        Ok(())
    }
}

fn version(key: &[u8], event_time: i64) -> Version<'_> {
    Version {
        schema_id: SchemaId(1),
        flags: 0,
        sequence: 0,
        event_time,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        key,
        value: b"",
    }
}

fn random_row(rng: &mut Rng) -> Row {
    let key = rng.below(3).to_le_bytes().to_vec();
    (ViewId(rng.below(2) as u32), rng.below(4), key, rng.below(20) as i64)
}

#[test]
fn a_merge_of_latest_tables_is_what_overwriting_one_map_gives() {
    let mut rng = Rng::new(1);
    for sources in 0..7 {
        for _ in 0..200 {
            let mut expected: BTreeMap<_, Vec<i64>> = BTreeMap::new();
            let mut tables = Vec::new();
            for _ in 0..sources {
                let rows: BTreeMap<_, _> = (0..rng.below(12))
                    .map(|_| random_row(&mut rng))
                    .map(|(view, hash, key, time)| ((view, hash, key), time))
                    .collect();
                for (key, time) in &rows {
                    expected.entry(key.clone()).or_default().push(*time);
                }
                let rows =
                    rows.into_iter().map(|((view, hash, key), time)| (view, hash, key, time));
                tables.push(Rows(rows.collect(), 0));
            }
            let mut merge = Merge::new(tables, Together::Keys);
            let mut found = Vec::new();
            while merge.next_group() == Ok(true) {
                let group: Vec<_> = merge.group().collect();
                let key = (group[0].0, group[0].1, group[0].2.key.to_vec());
                found.push((key, group.iter().map(|row| row.2.event_time).collect::<Vec<_>>()));
            }
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_merge_of_history_is_all_versions_in_order_and_equal_ones_together() {
    let mut rng = Rng::new(2);
    for _ in 0..500 {
        let mut expected: BTreeMap<_, usize> = BTreeMap::new();
        let mut tables = Vec::new();
        for _ in 0..rng.below(5) {
            let mut rows: Vec<_> = (0..rng.below(20)).map(|_| random_row(&mut rng)).collect();
            rows.sort_by_key(|(view, hash, key, time)| (*view, *hash, key.clone(), -time));
            rows.dedup();
            for (view, hash, key, time) in &rows {
                *expected.entry((*view, *hash, key.clone(), -time)).or_default() += 1;
            }
            tables.push(Rows(rows, 0));
        }
        let mut merge = Merge::new(tables, Together::Versions);
        let mut found = Vec::new();
        while merge.next_group() == Ok(true) {
            let group: Vec<_> = merge.group().collect();
            let first = &group[0];
            found
                .push(((first.0, first.1, first.2.key.to_vec(), -first.2.event_time), group.len()));
        }
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_fate_never_uncovers_what_an_older_table_may_hold() {
    let full = TierPolicy { keep_for_us: 10, history: History::Full, ..TierPolicy::default() };
    let latest = TierPolicy { history: History::Latest, ..full };
    let forever = TierPolicy { keep_for_us: 0, ..full };
    // Of event time, policy, newest, last run: at watermark 100 the limit is 90.
    let cases = [
        (89, full, true, true, Fate::Drop),
        (89, full, true, false, Fate::Keep),
        (90, full, true, true, Fate::Keep),
        (89, forever, true, true, Fate::Keep),
        (89, latest, true, false, Fate::Keep),
        (89, full, false, false, Fate::Drop),
        (90, full, false, false, Fate::ToHistory),
        (90, latest, false, true, Fate::Drop),
        (i64::MIN + 1, forever, false, true, Fate::ToHistory),
    ];
    for (time, policy, is_newest, is_last, expected) in cases {
        let row = version(b"k", time);
        let found = fate(&row, is_newest, &policy, Some(100), true, is_last);
        assert_eq!(found, expected, "{time} {policy:?} newest {is_newest} last {is_last}");
        assert_eq!(fate(&row, is_newest, &policy, Some(100), false, is_last), Fate::Drop);
        let unknown = fate(&row, is_newest, &policy, None, true, is_last);
        assert!(unknown != Fate::Drop || policy.history == History::Latest, "without a watermark");
    }
}
