//! Rows as float32 matrices.

use thermae_formats::{
    Feature, FeatureView, Projection, ProjectionError, RowError, RowLayout, Scalar, SchemaId, Value,
};

const OLD: SchemaId = SchemaId(1);
const NEW: SchemaId = SchemaId(2);

fn schema(features: &[(&str, Scalar)]) -> FeatureView {
    let features = features.iter().map(|(name, scalar)| Feature::new(*name, *scalar)).collect();
    FeatureView::new("p", "v", vec![], features)
}

fn row(view: &FeatureView, values: &[Value]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let dense = RowLayout::new(&view.features).unwrap().encode(values, &mut bytes).unwrap();
    (bytes, dense)
}

/// Bits of the matrix row; a marker fills what is not written.
fn bits(projection: &Projection, id: SchemaId, row: &(Vec<u8>, bool), columns: usize) -> Vec<u32> {
    let mut out = vec![f32::from_bits(0xdead_beef); columns];
    projection.matrix_row(id, &row.0, row.1, &mut out).unwrap();
    out.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn numbers_of_every_type_become_the_nearest_float32() {
    let view = schema(&[
        ("text", Scalar::String),
        ("bool", Scalar::Bool),
        ("int32", Scalar::Int32),
        ("int64", Scalar::Int64),
        ("float32", Scalar::Float32),
        ("float64", Scalar::Float64),
    ]);
    let names = ["float64", "float32", "int64", "int32", "bool"];
    let projection = Projection::compile(&[(NEW, &view)], &names).unwrap();
    projection.check_matrix().unwrap();
    let values = [
        Value::from("x"),
        Value::Bool(true),
        Value::Int32(i32::MIN),
        Value::Int64((1 << 53) + 1),
        Value::Float32(f32::from_bits(0xffc1_2345)),
        Value::Float64(0.1),
    ];
    let expected = [0.1_f32, f32::from_bits(0xffc1_2345), 9_007_199_254_740_993_i64 as f32];
    let mut expected: Vec<u32> = expected.iter().map(|x| x.to_bits()).collect();
    expected.extend([(-2_147_483_648.0_f32).to_bits(), 1.0_f32.to_bits()]);
    assert_eq!(bits(&projection, NEW, &row(&view, &values), 5), expected);
    for hole in 1..6 {
        let mut values = values.to_vec();
        values[hole] = Value::Null;
        let got = bits(&projection, NEW, &row(&view, &values), 5);
        for (column, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let is_hole = view.feature(names[column]).unwrap() == &view.features[hole];
            assert_eq!(*got, if is_hole { f32::NAN.to_bits() } else { *expected });
        }
    }
}

#[test]
fn float32_side_by_side_are_one_copy_with_the_same_answer() {
    let names: Vec<String> = (0..10).map(|i| format!("f{i}")).collect();
    let features: Vec<(&str, Scalar)> =
        names.iter().map(|n| (n.as_str(), Scalar::Float32)).collect();
    let view = schema(&features);
    let values: Vec<Value> = (0..10).map(|i| Value::Float32(i as f32 - 0.5)).collect();
    let mut holed = values.clone();
    holed[7] = Value::Null;
    for from in 0..8 {
        let run: Vec<&str> = names[from..from + 3].iter().map(String::as_str).collect();
        let projection = Projection::compile(&[(NEW, &view)], &run).unwrap();
        let want = |i: usize| (i as f32 - 0.5).to_bits();
        let expected = [want(from), want(from + 1), want(from + 2)];
        assert_eq!(bits(&projection, NEW, &row(&view, &values), 3), expected);
        let with_hole = expected.map(|b| if b == want(7) { f32::NAN.to_bits() } else { b });
        assert_eq!(bits(&projection, NEW, &row(&view, &holed), 3), with_hole);
        // A bitmap that says no nulls, as another encoder may write.
        let (dense, _) = row(&view, &values);
        let spelt = ([&[0, 0][..], &dense].concat(), false);
        assert_eq!(bits(&projection, NEW, &spelt, 3), expected);
    }
    let backwards = Projection::compile(&[(NEW, &view)], &["f2", "f1", "f1"]).unwrap();
    let expected = [1.5_f32, 0.5, 0.5].map(f32::to_bits);
    assert_eq!(bits(&backwards, NEW, &row(&view, &values), 3), expected);
}

#[test]
fn old_rows_fill_defaults_and_widen() {
    let old = schema(&[("a", Scalar::Float32), ("b", Scalar::Int32)]);
    let mut new = schema(&[("a", Scalar::Float64), ("b", Scalar::Int64), ("c", Scalar::Int32)]);
    new.features.push(Feature::new("d", Scalar::Bool).with_default(Value::Bool(true)));
    let versions = [(OLD, &old), (NEW, &new)];
    let projection = Projection::compile(&versions, &["d", "c", "b", "a"]).unwrap();
    let old_row = row(&old, &[Value::Float32(1.25), Value::Int32(-4)]);
    let expected = [1.0, f32::NAN, -4.0, 1.25].map(f32::to_bits);
    assert_eq!(bits(&projection, OLD, &old_row, 4), expected);
}

#[test]
fn text_has_no_place_in_a_matrix() {
    let view = schema(&[("a", Scalar::Float32), ("when", Scalar::Timestamp)]);
    let projection = Projection::compile(&[(NEW, &view)], &["a", "when"]).unwrap();
    let error = projection.check_matrix().unwrap_err();
    assert!(matches!(error, ProjectionError::NotNumeric { .. }));
    assert!(error.to_string().starts_with("feature \"when\" is a timestamp"), "{error}");
    let (bytes, dense) = row(&view, &[Value::Float32(1.0), Value::Timestamp(1)]);
    let mut out = [0.0; 2];
    let error = projection.matrix_row(NEW, &bytes, dense, &mut out).unwrap_err();
    assert!(matches!(error, RowError::WrongWidth { .. }));
    let numeric = Projection::compile(&[(NEW, &view)], &["a"]).unwrap();
    assert!(numeric.matrix_row(NEW, &bytes, dense, &mut out).is_err());
}
