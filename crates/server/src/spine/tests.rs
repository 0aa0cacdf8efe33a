#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};

use super::*;
use crate::ingest::csv::CsvOptions;

fn open(dir: &Path, name: &str, content: &str, keeps_text: bool) -> Result<SpineFile, SpineError> {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    let source = Source::new(&path, None, CsvOptions::default()).unwrap();
    let keys = vec![("id".to_owned(), KeyType::Int32), ("id".to_owned(), KeyType::Int64)];
    SpineFile::open(source, &SpineUse { keys, keeps_text, ..SpineUse::default() })
}

fn read(spine: &SpineFile) -> Result<Vec<RecordBatch>, Cause> {
    spine.read().unwrap().collect()
}

#[test]
fn columns_of_text_get_the_narrowest_type_that_all_their_values_have() {
    let dir = tempfile::tempdir().unwrap();
    let content = "id,event_time,count,part,zip,mixed,none\n1,2024-01-01,1,1.5,007,1,\n,2024-01-02T00:00:00Z,-2,2,120,x,\n";
    let spine = open(dir.path(), "s.csv", content, false).unwrap();
    let types: Vec<String> =
        spine.schema().fields().iter().map(|f| f.data_type().to_string()).collect();
    let time = "Timestamp(µs, \"UTC\")";
    assert_eq!(types, ["Int64", time, "Int64", "Float64", "Utf8", "Utf8", "Utf8"]);
    assert_eq!((spine.rows(), spine.time()), (Some(2), "event_time"));
    let batches = read(&spine).unwrap();
    let columns = batches[0].columns();
    assert!(columns[0].is_null(1) && columns[6].null_count() == 2);
    assert_eq!(
        columns[1].as_primitive::<TimestampMicrosecondType>().value(0),
        1_704_067_200_000_000
    );
    assert_eq!(columns[2].as_primitive::<Int64Type>().values(), &[1, -2]);
    assert_eq!(columns[3].as_primitive::<Float64Type>().values(), &[1.5, 2.0]);
    assert_eq!(columns[4].as_string::<i32>().value(0), "007");
    // Read again it is the same, and what the join needs is a part of it.
    assert_eq!(read(&spine).unwrap(), batches);
    let needed = spine.needed();
    assert_eq!(needed.names().collect::<Vec<_>>(), ["id", "event_time"]);
    assert_eq!(spine.needed_places(), [0, 1]);
    assert_eq!(read(&needed).unwrap()[0].columns(), &columns[..2]);
    // A CSV that becomes one again keeps its texts.
    let spine = open(dir.path(), "t.csv", content, true).unwrap();
    assert_eq!(read(&spine).unwrap()[0].column(3).as_string::<i32>().value(1), "2");
}

#[test]
fn what_cannot_be_a_time_or_a_key_is_named_with_its_row_beyond_the_first_batch_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = "id,event_time\n".to_owned();
    for row in 0..9_999 {
        content.push_str(&format!("{row},2024-01-01\n"));
    }
    let spine = open(dir.path(), "s.csv", &format!("{content}7.5,2024-01-01\n"), false).unwrap();
    let error = read(&spine).unwrap_err().to_string();
    for words in ["s.csv", "row 10000", "\"id\"", "7.5"] {
        assert!(error.contains(words), "{error}");
    }
    let lines = "{\"id\": 1, \"event_time\": \"2024-01-01\"}\n{\"id\": 1, \"event_time\": true}\n";
    let spine = open(dir.path(), "s.ndjson", lines, false).unwrap();
    let error = read(&spine).unwrap_err().to_string();
    for words in ["s.ndjson", "row 2", "\"event_time\""] {
        assert!(error.contains(words), "{error}");
    }
    for (name, content) in [("k.csv", "event_time\n1\n"), ("t.ndjson", "{\"id\": 1}\n")] {
        let error = open(dir.path(), name, content, false).unwrap_err();
        assert!(matches!(error, SpineError::MissingColumn { .. }), "{error}");
    }
}
