//! What went in comes out.

use std::sync::Arc;

use thermae_formats::{Feature, Projection, Scalar, SchemaId, Value};

use super::rows::*;
use crate::cold::{ColdError, ColdScan, Columns, FileWriter, event_day};
use crate::testing::Rng;

#[test]
fn rows_of_every_type_come_back_bit_for_bit() {
    let view = view_of_all();
    let columns = columns(&view);
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(300);
        let rows = rows(&mut rng, &view, SchemaId(3), 15_000 + seed as i64, 9, count);
        let (file, bytes) = write(&columns, &rows);
        let objects = store_of(&file, bytes);
        let file = open(&objects, &file, &columns);
        assert_eq!(read_all(ColdScan::new(objects, file).unwrap()), rows, "seed {seed}");
    }
}

#[test]
fn many_rows_come_back_over_batches_pages_and_row_groups() {
    let view = small_view();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(1), &view, SchemaId(3), 15_000, 50_000, 150_000);
    let (file, bytes) = write(&columns, &rows);
    assert_eq!(file.rows, rows.len() as u64);
    let objects = store_of(&file, bytes);
    let file = open(&objects, &file, &columns);
    assert!(file.footer().metadata().num_row_groups() > 1);
    let found = read_all(ColdScan::new(objects, file).unwrap());
    assert_eq!(found.len(), rows.len());
    assert!(found == rows);
}

#[test]
fn rows_of_a_former_schema_are_written_as_the_newest_reads_them() {
    let former = small_view();
    let mut newest = former.clone();
    newest.features[1] = Feature::new("wide", Scalar::Float64);
    newest.features[1] = former.features[1].clone();
    newest.features.insert(0, Feature::new("d", Scalar::Int64).with_default(Value::Int64(8)));
    newest.features[1] = Feature::new("a", Scalar::Float64);
    let schemas = [(SchemaId(3), &former), (SchemaId(4), &newest)];
    let columns = Arc::new(Columns::new(VIEW, &schemas).unwrap());
    let names: Vec<_> = newest.features.iter().map(|f| f.name.as_str()).collect();
    let projection = Projection::compile(&schemas, &names).unwrap();
    let rows = rows(&mut Rng::new(5), &former, SchemaId(3), 15_000, 50, 500);
    let (file, bytes) = write(&columns, &rows);
    let objects = store_of(&file, bytes);
    let found =
        read_all(ColdScan::new(Arc::clone(&objects), open(&objects, &file, &columns)).unwrap());
    assert_eq!(found.len(), rows.len());
    for (found, row) in found.iter().zip(&rows) {
        assert_eq!((found.hash, found.sequence, found.times), (row.hash, row.sequence, row.times));
        if row.version().is_tombstone() {
            continue;
        }
        let decode = |row: &Owned| {
            let version = row.version();
            projection.decode(version.schema_id, version.value, version.is_dense()).unwrap()
        };
        assert_eq!(decode(found), decode(row));
    }
}

#[test]
fn features_that_are_not_asked_for_are_null_and_the_others_as_they_were() {
    let view = small_view();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(3), &view, SchemaId(3), 15_000, 100, 9_000);
    let (file, bytes) = write(&columns, &rows);
    let objects = store_of(&file, bytes);
    let file = open(&objects, &file, &columns);
    let found = read_all(ColdScan::of_features(objects, file, |index| index == 1).unwrap());
    for (found, row) in found.iter().zip(&rows).filter(|(_, row)| !row.version().is_tombstone()) {
        let decode = |row: &Owned| {
            let version = row.version();
            columns.layout().decode(version.value, version.is_dense()).unwrap()
        };
        assert_eq!(decode(found), [Value::Null, decode(row)[1].clone(), Value::Null]);
    }
}

#[test]
fn a_file_takes_sorted_rows_of_its_view_and_day_alone() {
    let view = small_view();
    let columns = columns(&view);
    let rows = rows(&mut Rng::new(4), &view, SchemaId(3), 15_000, 100, 100);
    let after = |first: &Owned, second: &Owned, view| {
        let mut writer = FileWriter::new(STORE, &columns, 15_000, Vec::new());
        writer.push(VIEW, first.hash, &first.version()).unwrap();
        writer.push(view, second.hash, &second.version())
    };
    assert!(after(&rows[0], &rows[1], VIEW).is_ok());
    let tomorrow = Owned { times: (15_001 * DAY_US, 0, 0), ..rows[1].clone() };
    for (first, second, view) in [
        (&rows[1], &rows[0], VIEW),
        (&rows[0], &rows[0], VIEW),
        (&rows[0], &rows[1], thermae_formats::ViewId(1)),
        (&rows[0], &tomorrow, VIEW),
    ] {
        assert!(matches!(after(first, second, view), Err(ColdError::Order(_))));
    }
    let empty = FileWriter::new(STORE, &columns, 15_000, Vec::new());
    assert!(matches!(empty.finish(), Err(ColdError::Order(_))));
}

#[test]
fn a_day_is_that_of_the_calendar_within_the_years_that_readers_know() {
    let cases = [
        (0, 0),
        (-1, -1),
        (DAY_US - 1, 0),
        (DAY_US, 1),
        (i64::MIN, -719_162),
        (i64::MAX, 2_932_896),
    ];
    for (time, day) in cases {
        assert_eq!(event_day(time), day, "{time}");
    }
    assert_eq!(crate::cold::write::day_text(-719_162), "0001-01-01");
    assert_eq!(crate::cold::write::day_text(2_932_896), "9999-12-31");
}

#[test]
fn names_are_unique_without_regard_to_case() {
    let mut view = small_view();
    view.features = ["sequence", "ID", "event_date", "x", "X", "x_2"]
        .map(|name| Feature::new(name, Scalar::Int32))
        .to_vec();
    let columns = columns(&view);
    let names: Vec<_> = columns.columns()[6..].iter().map(|column| &column.name[..]).collect();
    assert_eq!(names, ["id", "sequence_2", "ID_2", "event_date_2", "x", "X_2", "x_2_2"]);
}

#[test]
fn a_table_goes_on_while_each_of_its_columns_stays() {
    let former = small_view();
    let mut added = former.clone();
    added.features.insert(0, Feature::new("d", Scalar::Int64));
    let mut widened = former.clone();
    widened.features[0] = Feature::new("a", Scalar::Float64);
    assert!(columns(&added).continues(&columns(&former)));
    assert!(!columns(&widened).continues(&columns(&former)));
}
