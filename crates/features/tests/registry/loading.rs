//! Loading from sources: windows of event time, and what has come since the last time.

use thermae_features::store::{Ask, EntityRows, RowSource, SourceRow};
use thermae_formats::{KeyValue, Value};

use super::{HOUR, T, activity, open, shop};

/// Rows in the order of their arrival; each is one user's, so that none hides another.
#[derive(Clone, Default)]
struct Arrived {
    rows: Vec<(i64, i64)>,
    /// Cannot be read behind this sequence.
    broken_after: Option<u64>,
}

impl RowSource for Arrived {
    fn name(&self) -> &str {
        "events"
    }

    fn read(&mut self, after: u64) -> Result<Vec<SourceRow>, Box<dyn std::error::Error>> {
        if self.broken_after.is_some_and(|broken| after >= broken) {
            return Err("the connection is lost".into());
        }
        let rows = self.rows.iter().zip(1..).skip(after as usize).take(3);
        let row = |(&(user, at), sequence)| SourceRow {
            sequence,
            row: activity(user, at, sequence as i64, 0.5),
        };
        Ok(rows.map(row).collect())
    }
}

fn clicks(store: &thermae_features::FeatureStore, user: i64) -> Value {
    let rows = EntityRows::new().with("uid", vec![KeyValue::Int(user)]);
    let ask = Ask::features(&["activity:clicks"]).at(T);
    store.get_online_features(&ask, &rows).unwrap().columns.remove(0).values.remove(0)
}

#[test]
fn only_what_is_new_comes_and_late_rows_are_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let mut source = Arrived { rows: (1..=8).map(|user| (user, T)).collect(), broken_after: None };
    let report = store.materialize_incremental("activity", &mut source).unwrap();
    assert_eq!((report.rows, report.written, report.reached), (8, 8, 8));
    let report = store.materialize_incremental("activity", &mut source).unwrap();
    assert_eq!((report.rows, report.reached), (0, 8));
    // Its event time is before everything that was loaded.
    source.rows.push((9, T - 20 * HOUR));
    let report = store.materialize_incremental("activity", &mut source).unwrap();
    assert_eq!((report.rows, report.written, report.reached), (1, 1, 9));
    assert_eq!(clicks(&store, 9), Value::Int64(9));
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.load_watermark("activity", "events").unwrap(), 9);
    assert_eq!(store.materialize_incremental("activity", &mut source).unwrap().rows, 0);
}

#[test]
fn a_load_that_broke_goes_on_and_a_lost_mark_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let rows = (1..=8).map(|user| (user, T)).collect();
    let mut source = Arrived { rows, broken_after: Some(6) };
    let failed = store.materialize_incremental("activity", &mut source).unwrap_err();
    assert!(failed.to_string().contains("the connection is lost"), "{failed}");
    assert_eq!(store.load_watermark("activity", "events").unwrap(), 6);
    source.broken_after = None;
    let report = store.materialize_incremental("activity", &mut source).unwrap();
    assert_eq!((report.rows, report.written), (2, 2));
    let digests = store.handle().digests().unwrap();
    // As if the mark had not been kept: the rows come again under the same numbers.
    let key = "shop/activity@1 events";
    store.registry().set_watermark(key, 0).unwrap();
    let report = store.materialize_incremental("activity", &mut source).unwrap();
    assert_eq!((report.rows, report.written, report.duplicate), (8, 0, 8));
    assert_eq!(store.handle().digests().unwrap(), digests);
}

#[test]
fn a_window_is_inclusive_and_repeating_it_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let times = [T - 2, T - 1, T, T + 1, T + 2];
    // Of one user, hence of one partition: producers are told apart there.
    let rows = times.map(|at| (1, at)).to_vec();
    let mut source = Arrived { rows, broken_after: None };
    let load =
        |source: &mut Arrived, from, to| store.materialize("activity", source, from, to).unwrap();
    let report = load(&mut source, T - 1, T + 1);
    assert_eq!((report.rows, report.written, report.outside), (5, 3, 2));
    let report = load(&mut source, T - 1, T + 1);
    assert_eq!((report.written, report.duplicate, report.outside), (0, 3, 2));
    // Rows of another window lie before those that are there, and come all the same.
    let report = load(&mut source, T - 2, T - 2);
    assert_eq!((report.written, report.duplicate), (1, 0));
    assert_eq!(clicks(&store, 1), Value::Int64(4));
}

#[test]
fn a_source_whose_order_is_broken_is_refused() {
    struct Falling;
    impl RowSource for Falling {
        fn name(&self) -> &str {
            "falling"
        }
        fn read(&mut self, _: u64) -> Result<Vec<SourceRow>, Box<dyn std::error::Error>> {
            let row = |sequence| SourceRow { sequence, row: activity(1, T, 1, 1.0) };
            Ok(vec![row(2), row(2)])
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let refused = store.materialize_incremental("activity", &mut Falling).unwrap_err();
    assert!(refused.to_string().contains("row 2 after row 2"), "{refused}");
    assert_eq!(clicks(&store, 1), Value::Null, "nothing of the batch was written");
}
