//! Types: what goes into a view comes out of its column bit for bit, and what a spine's columns may be.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, Date32Array, DictionaryArray, FixedSizeBinaryArray, Int8Array,
    Int64Array, NullArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_schema::DataType;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value, ValueType};

use super::super::*;
use super::world::{World, value_at};

fn spine(columns: Vec<(&str, ArrayRef)>) -> MemorySpine {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    MemorySpine::new(batch.schema(), vec![batch]).unwrap()
}

fn times(times_us: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(times_us.to_vec()).with_timezone("UTC"))
}

fn request(views: &[&str]) -> Request {
    let joins = views.iter().map(|view| ViewJoin::new(*view)).collect();
    Request { time_column: "at".to_owned(), joins, ..Request::default() }
}

/// Values of a scalar that are easily lost.
fn corners(scalar: Scalar) -> Vec<Value> {
    match scalar {
        Scalar::Bool => vec![Value::Bool(false), Value::Bool(true)],
        Scalar::Int32 => [i32::MIN, 0, i32::MAX].map(Value::Int32).to_vec(),
        Scalar::Int64 => [i64::MIN, 0, i64::MAX, (1 << 53) + 1].map(Value::Int64).to_vec(),
        Scalar::Timestamp => [i64::MIN, 0, i64::MAX].map(Value::Timestamp).to_vec(),
        Scalar::Float32 => {
            let bits = [0, 0x8000_0000, 0x7FC0_0001, 0x7F80_0001, 0xFF80_0000, 1, 0x3DCC_CCCD];
            bits.map(|bits| Value::Float32(f32::from_bits(bits))).to_vec()
        }
        Scalar::Float64 => {
            let bits = [0, 1 << 63, 0x7FF8_0000_0000_0001, 0x7FF0_0000_0000_0001, 1];
            bits.map(|bits| Value::Float64(f64::from_bits(bits))).to_vec()
        }
        Scalar::String => ["", "é", "a\0b", "\u{10FFFF}"].map(Value::from).to_vec(),
        Scalar::Json => ["{}", "[1, 2.50]", "null"].map(|t| Value::Json(t.to_owned())).to_vec(),
        Scalar::Bytes => [&b""[..], &[0, 255]].map(|b| Value::Bytes(b.to_vec())).to_vec(),
        Scalar::Uuid => vec![Value::Uuid([0; 16]), Value::Uuid([255; 16])],
    }
}

#[test]
fn every_type_comes_out_bit_for_bit_with_its_nulls() {
    let vector = ValueType::Vector { dimension: 3 };
    let opaque = ValueType::Opaque { logical: "map<string, int64>".to_owned() };
    let mut cases = vec![
        (vector, vec![Value::Vector(vec![f32::from_bits(0x7FC0_0001), -0.0, 1.5])]),
        (opaque, vec![Value::Opaque(Vec::new()), Value::Opaque(vec![0, 1])]),
    ];
    for scalar in Scalar::ALL {
        cases.push((scalar.into(), corners(scalar)));
        let lists = [Vec::new(), corners(scalar), corners(scalar)[..1].to_vec()];
        cases.push((ValueType::List(scalar), lists.map(Value::List).to_vec()));
    }
    let features = (0..).zip(&cases).map(|(at, (t, _))| Feature::new(format!("f{at}"), t.clone()));
    let key = vec![JoinKey::new("id", KeyType::Int64)];
    let view = FeatureView::new("p", "all", key, features.collect());
    let mut world = World::new(&[view]);
    let rows = 9;
    let value = |values: &[Value], row: usize| match row % (values.len() + 1) {
        0 => Value::Null,
        at => values[at - 1].clone(),
    };
    for row in 0..rows {
        let values: Vec<_> = cases.iter().map(|(_, values)| value(values, row)).collect();
        world.put("all", &[KeyValue::Int(row as i64)], 1, 1, &values);
    }
    let ids: Int64Array = (0..rows as i64).collect();
    let spine = spine(vec![("id", Arc::new(ids)), ("at", times(&vec![1; rows]))]);
    let batches = world.read_all(&request(&["all"]), &spine).unwrap();
    assert_eq!(batches.len(), 1);
    for (at, (value_type, values)) in cases.iter().enumerate() {
        let column = batches[0].column_by_name(&format!("f{at}")).unwrap();
        assert_eq!(*column.data_type(), data_type(value_type));
        for row in 0..rows {
            let found = value_at(column, row, value_type);
            assert_eq!(found, value(values, row), "{value_type}, row {row}");
        }
    }
}

#[test]
fn uuids_and_json_are_marked_as_such() {
    for (scalar, extension) in [(Scalar::Uuid, Some("arrow.uuid")), (Scalar::String, None)] {
        let field = field("f", &scalar.into());
        let marked = field.metadata().get("ARROW:extension:name");
        assert_eq!((marked.map(String::as_str), field.is_nullable()), (extension, true));
    }
}

#[test]
fn rows_of_older_schemas_read_through_the_newest() {
    let key = || vec![JoinKey::new("id", KeyType::Int64)];
    let feature = |name: &str, scalar: Scalar| Feature::new(name, scalar);
    let old = vec![feature("n", Scalar::Int32), feature("x", Scalar::Float32)];
    let new = vec![
        feature("x", Scalar::Float64),
        feature("n", Scalar::Int64),
        feature("s", Scalar::String).with_default(Value::from("none")),
        feature("z", Scalar::Bool),
    ];
    let mut world = World::new(&[FeatureView::new("p", "v", key(), old)]);
    world.put("v", &[KeyValue::Int(1)], 10, 10, &[Value::Int32(-7), Value::Float32(0.5)]);
    world.define(FeatureView::new("p", "v", key(), new));
    let values = [Value::Float64(0.1), Value::Int64(1 << 40), Value::Null, Value::Bool(true)];
    world.put("v", &[KeyValue::Int(1)], 20, 20, &values);
    let ids: Int64Array = vec![1, 1].into();
    let spine = spine(vec![("id", Arc::new(ids)), ("at", times(&[15, 25]))]);
    let batches = world.read_all(&request(&["v"]), &spine).unwrap();
    let row = |row: usize| -> Vec<Value> {
        let types = [Scalar::Float64, Scalar::Int64, Scalar::String, Scalar::Bool];
        let columns = types.iter().enumerate();
        columns.map(|(at, t)| value_at(batches[0].column(2 + at), row, &(*t).into())).collect()
    };
    let widened = [Value::Float64(0.5), Value::Int64(-7), Value::from("none"), Value::Null];
    assert_eq!((row(0), row(1)), (widened.to_vec(), values.to_vec()));
}

/// The values of an int64 view at the row's time, for one column of join keys.
fn joined(
    key_type: KeyType,
    keys: ArrayRef,
    at: ArrayRef,
) -> Result<Vec<Option<i64>>, TrainingError> {
    let view = FeatureView::new(
        "p",
        "v",
        vec![JoinKey::new("id", key_type)],
        vec![Feature::new("n", Scalar::Int64)],
    );
    let mut world = World::new(&[view]);
    let key = match key_type {
        KeyType::Int32 | KeyType::Int64 => KeyValue::Int(7),
        KeyType::String => KeyValue::from("seven"),
        KeyType::Bytes => KeyValue::Bytes(vec![7; 16]),
        KeyType::Uuid => KeyValue::Uuid([7; 16]),
    };
    for (time, value) in [(-1, 1), (0, 2), (1_000_000, 3), (86_400_000_000, 4)] {
        world.put("v", std::slice::from_ref(&key), time, time, &[Value::Int64(value)]);
    }
    let batches = world.read_all(&request(&["v"]), &spine(vec![("id", keys), ("at", at)]))?;
    let found = |row| match value_at(batches[0].column(2), row, &Scalar::Int64.into()) {
        Value::Int64(value) => Some(value),
        _ => None,
    };
    Ok((0..batches[0].num_rows()).map(found).collect())
}

#[test]
fn join_keys_of_every_arrow_type_are_coerced_and_nulls_match_nothing() {
    let uuid = "07070707-0707-0707-0707-070707070707";
    let dictionary = |keys: &[Option<i8>]| -> ArrayRef {
        let values: StringArray = vec![Some("six"), None, Some("seven")].into();
        let keys: Int8Array = keys.iter().copied().collect();
        Arc::new(DictionaryArray::<Int8Type>::try_new(keys, Arc::new(values)).unwrap())
    };
    let fixed =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([7; 16]), None].into_iter(), 16);
    let fixed: ArrayRef = Arc::new(fixed.unwrap());
    let cases: Vec<(KeyType, ArrayRef)> = vec![
        (KeyType::Int64, Arc::new(Int64Array::from(vec![Some(7), None]))),
        (KeyType::Int32, Arc::new(Int64Array::from(vec![Some(7), None]))),
        (KeyType::Int64, Arc::new(UInt64Array::from(vec![Some(7), None]))),
        (KeyType::Int64, Arc::new(StringArray::from(vec![Some("7"), None]))),
        (KeyType::String, Arc::new(StringViewArray::from(vec![Some("seven"), None]))),
        (KeyType::String, dictionary(&[Some(2), None])),
        (KeyType::String, dictionary(&[Some(2), Some(1)])),
        (KeyType::Bytes, Arc::new(BinaryArray::from(vec![Some(&[7; 16][..]), None]))),
        (KeyType::Bytes, Arc::clone(&fixed)),
        (KeyType::Uuid, fixed),
        (KeyType::Uuid, Arc::new(StringArray::from(vec![Some(uuid), None]))),
    ];
    for (key_type, keys) in cases {
        let name = format!("{key_type} from {}", keys.data_type());
        assert_eq!(joined(key_type, keys, times(&[0, 0])).unwrap(), [Some(2), None], "{name}");
    }
    let nulls = Arc::new(NullArray::new(2));
    assert_eq!(joined(KeyType::Int64, nulls, times(&[0, 0])).unwrap(), [None, None]);
}

#[test]
fn keys_that_cannot_be_name_their_row_and_column() {
    let cases: Vec<(KeyType, ArrayRef, &str)> = vec![
        (KeyType::Int32, Arc::new(Int64Array::from(vec![7, 1 << 40])), "row 2"),
        (KeyType::Int64, Arc::new(UInt64Array::from(vec![u64::MAX, 7])), "row 1"),
        (KeyType::Int64, Arc::new(StringArray::from(vec!["7", "x"])), "row 2"),
        (KeyType::Int64, Arc::new(arrow_array::Float64Array::from(vec![7.0, 7.0])), "Float64"),
        (KeyType::String, Arc::new(Int64Array::from(vec![7, 7])), "Int64"),
        (KeyType::Uuid, Arc::new(BinaryArray::from(vec![&[7; 15][..], &[]])), "row 1"),
    ];
    for (key_type, keys, what) in cases {
        let error = joined(key_type, keys, times(&[0, 0])).unwrap_err().to_string();
        assert!(error.contains("\"id\"") && error.contains(what), "{error}");
    }
}

#[test]
fn times_of_every_unit_and_zone_are_microseconds_in_utc() {
    let keys = || Arc::new(Int64Array::from(vec![7, 7])) as ArrayRef;
    let seconds = TimestampSecondArray::from(vec![0, 1]);
    let cases: Vec<(ArrayRef, [Option<i64>; 2])> = vec![
        (Arc::new(seconds.clone()), [Some(2), Some(3)]),
        (Arc::new(seconds.with_timezone("+09:00")), [Some(2), Some(3)]),
        (Arc::new(TimestampMillisecondArray::from(vec![999, 1_000])), [Some(2), Some(3)]),
        (Arc::new(TimestampNanosecondArray::from(vec![-1, 999_999_999])), [Some(1), Some(2)]),
        (Arc::new(Date32Array::from(vec![0, 1])), [Some(2), Some(4)]),
        (times(&[-2, -1]), [None, Some(1)]),
        (times(&[i64::MIN, i64::MAX]), [None, Some(4)]),
    ];
    for (at, expected) in cases {
        let name = at.data_type().to_string();
        assert_eq!(joined(KeyType::Int64, keys(), at).unwrap(), expected, "{name}");
    }
    let refused: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(StringArray::from(vec!["2013-01-01", "x"])), "Utf8"),
        (Arc::new(Int64Array::from(vec![1, 2])), "Int64"),
        (Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None])), "row 2"),
        (Arc::new(TimestampSecondArray::from(vec![i64::MAX, 1])), "row 1"),
    ];
    for (at, what) in refused {
        let is_text = *at.data_type() == DataType::Utf8;
        let error = joined(KeyType::Int64, keys(), at).unwrap_err();
        assert_eq!(matches!(error, TrainingError::ColumnType { .. }), is_text || what == "Int64");
        let error = error.to_string();
        assert!(error.contains("\"at\"") && error.contains(what), "{error}");
    }
}
