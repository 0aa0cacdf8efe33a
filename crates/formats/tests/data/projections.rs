//! Projections: k features of rows of any schema of a view.

use thermae_formats::{
    Feature, FeatureView, Field, Projection, ProjectionError, RowError, RowLayout, Scalar,
    SchemaId, Value, ValueType,
};

use crate::samples::{rows, view};

const OLD: SchemaId = SchemaId(4);
const NEW: SchemaId = SchemaId(9);

fn schema(features: Vec<Feature>) -> FeatureView {
    FeatureView::new("p", "v", vec![], features)
}

fn old() -> FeatureView {
    schema(vec![
        Feature::new("name", Scalar::String),
        Feature::new("count", Scalar::Int32),
        Feature::new("speed", Scalar::Float32),
        Feature::new("tags", ValueType::List(Scalar::String)),
    ])
}

/// Widened, reordered, and with features that old rows lack.
fn new() -> FeatureView {
    let tags = Value::List(vec![Value::from("none")]);
    schema(vec![
        Feature::new("speed", Scalar::Float64),
        Feature::new("added", Scalar::Int64),
        Feature::new("level", Scalar::Int32).with_default(Value::Int32(-3)),
        Feature::new("count", Scalar::Int64),
        Feature::new("tags", ValueType::List(Scalar::String)),
        Feature::new("labels", ValueType::List(Scalar::String)).with_default(tags),
        Feature::new("name", Scalar::String),
    ])
}

fn row(view: &FeatureView, values: &[Value]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let dense = RowLayout::new(&view.features).unwrap().encode(values, &mut bytes).unwrap();
    (bytes, dense)
}

fn old_values() -> Vec<Value> {
    let tags = vec![Value::from("a"), Value::from("")];
    let speed = f32::from_bits(0xff80_0001); // signalling
    vec![Value::from("x\0y"), Value::Int32(-5), Value::Float32(speed), Value::List(tags)]
}

#[test]
fn any_choice_of_features_reads_as_the_whole_row_does() {
    let view = view();
    let names: Vec<&str> = view.features.iter().map(|f| f.name.as_str()).collect();
    let count = names.len();
    for (n, values) in rows().iter().enumerate() {
        let (bytes, dense) = row(&view, values);
        // A stride coprime to the count visits all; the last is asked twice.
        let order: Vec<usize> = (0..count).map(|i| (i * 11 + n) % count).chain([0, 0]).collect();
        let asked: Vec<&str> = order.iter().map(|&i| names[i]).collect();
        let projection = Projection::compile(&[(NEW, &view)], &asked).unwrap();
        assert_eq!(projection.names().collect::<Vec<_>>(), asked);
        let expected: Vec<Value> = order.iter().map(|&i| values[i].clone()).collect();
        let padded = [&bytes[..], &[0; 5]].concat();
        assert_eq!(projection.decode(NEW, &padded, dense).unwrap(), expected);
    }
}

#[test]
fn an_old_row_reads_widened_reordered_and_with_defaults() {
    let (old, new) = (old(), new());
    let all = ["speed", "added", "level", "count", "tags", "labels", "name"];
    let projection = Projection::compile(&[(OLD, &old), (NEW, &new)], &all).unwrap();
    assert!(projection.knows(OLD) && projection.knows(NEW) && !projection.knows(SchemaId(1)));
    let (bytes, dense) = row(&old, &old_values());
    let expected = [
        Value::Float64(f64::from_bits(0xfff0_0000_2000_0000)),
        Value::Null,
        Value::Int32(-3),
        Value::Int64(-5),
        Value::List(vec![Value::from("a"), Value::from("")]),
        Value::List(vec![Value::from("none")]),
        Value::from("x\0y"),
    ];
    assert_eq!(projection.decode(OLD, &bytes, dense).unwrap(), expected);
    let (bytes, dense) = row(&new, &expected);
    assert_eq!(projection.decode(NEW, &bytes, dense).unwrap(), expected);
    let (bytes, dense) = row(&old, &vec![Value::Null; 4]);
    let nulls = projection.decode(OLD, &bytes, dense).unwrap();
    assert_eq!(nulls.iter().filter(|v| v.is_null()).count(), 5);
    assert_eq!((&nulls[2], &nulls[5]), (&expected[2], &expected[5]));
}

#[test]
fn a_stored_null_is_null_and_not_the_default() {
    let new = new();
    let mut values = vec![Value::Null; 7];
    values[6] = Value::from("n");
    let (bytes, dense) = row(&new, &values);
    let projection = Projection::compile(&[(NEW, &new)], &["level", "labels"]).unwrap();
    assert_eq!(projection.decode(NEW, &bytes, dense).unwrap(), [Value::Null, Value::Null]);
}

#[test]
fn fields_are_borrowed_or_widened_inline() {
    let (old, new) = (old(), new());
    let asked = ["count", "name", "added", "level", "labels"];
    let projection = Projection::compile(&[(OLD, &old), (NEW, &new)], &asked).unwrap();
    let (bytes, dense) = row(&old, &old_values());
    let read = projection.row(OLD, &bytes, dense).unwrap();
    assert_eq!(read.field(0).unwrap(), Field::Widened((-5_i64).to_le_bytes()));
    assert_eq!(read.field(1).unwrap(), Field::Variable(b"x\0y"));
    assert_eq!(read.field(2).unwrap(), Field::Null);
    assert_eq!(read.field(3).unwrap(), Field::Fixed(&(-3_i32).to_le_bytes()));
    assert!(matches!(read.field(4).unwrap(), Field::Variable(bytes) if bytes.len() == 12));
    assert!(read.field(5).is_err());
    assert_eq!(projection.field(OLD, 1, &bytes, dense).unwrap().bytes(), Some(&b"x\0y"[..]));
    let widths: Vec<_> = (0..6).map(|c| projection.width_bytes(c)).collect();
    assert_eq!(widths, [Some(8), None, Some(8), Some(4), None, None]);
    assert_eq!(projection.value_type(0), Some(&ValueType::Scalar(Scalar::Int64)));
}

#[test]
fn fixed_columns_are_copied_and_nulls_are_zero() {
    let (old, new) = (old(), new());
    let asked = ["count", "added", "level", "name"];
    let projection = Projection::compile(&[(OLD, &old), (NEW, &new)], &asked).unwrap();
    let (bytes, dense) = row(&old, &old_values());
    let mut out = [9; 8];
    assert!(projection.copy_fixed(OLD, &bytes, dense, 0, &mut out).unwrap());
    assert_eq!(i64::from_le_bytes(out), -5);
    assert!(!projection.copy_fixed(OLD, &bytes, dense, 1, &mut out).unwrap());
    assert_eq!(out, [0; 8]);
    let mut four = [9; 4];
    assert!(projection.copy_fixed(OLD, &bytes, dense, 2, &mut four).unwrap());
    assert_eq!(i32::from_le_bytes(four), -3);
    for (column, width) in [(0, 8), (1, 8), (3, 0), (9, 0)] {
        let error = projection.copy_fixed(OLD, &bytes, dense, column, &mut four).unwrap_err();
        assert!(matches!(error, RowError::WrongWidth { width: w, .. } if w == width), "{error}");
    }
}

#[test]
fn unknown_schemas_and_short_rows_are_errors() {
    let new = new();
    let projection = Projection::compile(&[(NEW, &new)], &["speed"]).unwrap();
    let (bytes, dense) = row(&new, &vec![Value::Null; 7]);
    assert_eq!(projection.decode(OLD, &bytes, dense), Err(RowError::UnknownSchema(4)));
    for length in 0..bytes.len() {
        let error = projection.row(NEW, &bytes[..length], dense).unwrap_err();
        assert!(matches!(error, RowError::Truncated { .. }), "{error}");
    }
}

#[test]
fn a_variable_value_that_leaves_the_row_is_an_error_naming_it() {
    let old = old();
    let projection = Projection::compile(&[(OLD, &old)], &["name", "tags"]).unwrap();
    let (mut bytes, dense) = row(&old, &old_values());
    bytes[0] = 200;
    let error = projection.field(OLD, 0, &bytes, dense).unwrap_err().to_string();
    assert!(error.contains("name at offset 0: the end offset"), "{error}");
    let error = projection.decode(OLD, &bytes, dense).unwrap_err().to_string();
    assert!(error.contains("name at offset 0"), "{error}");
    let (mut bytes, dense) = row(&old, &old_values());
    let count_at = 16 + 3;
    bytes[count_at] = 99;
    let error = projection.decode(OLD, &bytes, dense).unwrap_err().to_string();
    assert!(error.contains("tags at offset 19: the list counts more"), "{error}");
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    let (old, new) = (old(), new());
    let compile = |versions: &[(SchemaId, &FeatureView)], features: &[&str]| {
        Projection::compile(versions, features).unwrap_err()
    };
    assert_eq!(compile(&[], &["name"]), ProjectionError::NoSchema);
    let unknown = compile(&[(NEW, &new)], &["name", "nope"]).to_string();
    assert_eq!(unknown, "feature view \"v\" has no feature \"nope\"");
    assert!(matches!(compile(&[(NEW, &new)], &[]), ProjectionError::WrongCount { found: 0, .. }));
    let many = vec!["name"; 4097];
    assert!(matches!(compile(&[(NEW, &new)], &many), ProjectionError::WrongCount { .. }));
    // Newest last: a narrowing is no change that rows can be read through.
    let narrowed = compile(&[(NEW, &new), (OLD, &old)], &["count"]).to_string();
    assert!(narrowed.contains("\"count\": rows of schema id 9 hold int64"), "{narrowed}");
}

#[test]
fn columns_side_by_side_are_one_slice() {
    let view = schema(vec![
        Feature::new("a", Scalar::Float32),
        Feature::new("b", Scalar::Int64),
        Feature::new("c", Scalar::Bool),
        Feature::new("text", Scalar::String),
        Feature::new("d", Scalar::Float32),
    ]);
    let mut newer = view.clone();
    newer.features[0] = Feature::new("a", Scalar::Float64);
    let values = [1.0_f32.into(), 2_i64.into(), true.into(), Value::from("x"), Value::Float32(4.0)];
    let (bytes, dense) = row(&view, &values);
    let slice = |versions: &[(SchemaId, &FeatureView)], asked: &[&str], row: &[u8], dense| {
        let projection = Projection::compile(versions, asked).unwrap();
        let read = projection.row(OLD, row, dense).unwrap();
        let slice = projection.run(OLD, row, dense).map(<[u8]>::to_vec);
        if let Some(slice) = &slice {
            let fields = (0..asked.len()).map(|c| read.field(c).unwrap().bytes().unwrap().to_vec());
            assert_eq!(*slice, fields.collect::<Vec<_>>().concat());
        }
        slice.map(|s| s.len())
    };
    let only = [(OLD, &view)];
    assert_eq!(slice(&only, &["a", "b", "c"], &bytes, dense), Some(13));
    assert_eq!(slice(&only, &["b", "c"], &bytes, dense), Some(9));
    assert_eq!(slice(&only, &["d"], &bytes, dense), Some(4));
    // A bitmap that marks no null is as good as none, and not worth a look.
    let spelt = [&[0][..], &bytes].concat();
    assert_eq!(slice(&only, &["b", "c"], &spelt, false), None);
    let projection = Projection::compile(&only, &["b", "c"]).unwrap();
    assert_eq!(projection.run(OLD, &bytes[..bytes.len() - 6], dense), None, "cut short");
    assert_eq!(projection.run(NEW, &bytes, dense), None, "another schema");
    assert!(!projection.run_is_float32());
    assert!(Projection::compile(&only, &["d"]).unwrap().run_is_float32());
    for asked in [&["b", "a"][..], &["a", "c"], &["a", "a"], &["c", "text"], &["c", "d"]] {
        assert_eq!(slice(&only, asked, &bytes, dense), None, "{asked:?}");
    }
    assert_eq!(slice(&[(OLD, &view), (NEW, &newer)], &["a", "b"], &bytes, dense), None);
    let mut holed = values.to_vec();
    holed[1] = Value::Null;
    let (bytes, dense) = row(&view, &holed);
    assert_eq!(slice(&only, &["b", "c"], &bytes, dense), None);
}
