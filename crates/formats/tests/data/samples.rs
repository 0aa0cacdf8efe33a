//! A view of every type, and values at the corners of each.

use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, Scalar, Value, ValueType};

/// Quiet, signalling and negative NaNs with payloads.
pub const NAN32: [u32; 4] = [0x7fc0_0000, 0x7f80_0001, 0xffc1_2345, 0x7fff_ffff];
/// The same for binary64.
pub const NAN64: [u64; 4] =
    [0x7ff8_0000_0000_0000, 0x7ff0_0000_0000_0001, 0xfff8_1234_5678_9abc, 0x7fff_ffff_ffff_ffff];

/// One type of each kind.
pub fn all_types() -> Vec<ValueType> {
    let mut types: Vec<ValueType> = Scalar::ALL.into_iter().map(ValueType::Scalar).collect();
    types.extend(Scalar::ALL.into_iter().map(ValueType::List));
    types.push(ValueType::Vector { dimension: 1 });
    types.push(ValueType::Vector { dimension: 3 });
    types.push(ValueType::Opaque { logical: "map<string, int64>".to_owned() });
    types
}

/// Values of the type at its corners, null not among them.
pub fn corners(value_type: &ValueType) -> Vec<Value> {
    match value_type {
        ValueType::Scalar(scalar) => scalar_corners(*scalar),
        ValueType::List(scalar) => {
            let all = scalar_corners(*scalar);
            vec![
                Value::List(vec![]),
                Value::List(vec![all[0].clone()]),
                Value::List(all.clone()),
                Value::List(vec![all[0].clone(); 17]),
            ]
        }
        ValueType::Vector { dimension } => {
            let n = *dimension as usize;
            let mut vectors = vec![Value::Vector(vec![-0.0; n]), Value::Vector(vec![1.5; n])];
            vectors.extend(NAN32.map(|b| Value::Vector(vec![f32::from_bits(b); n])));
            vectors
        }
        ValueType::Opaque { .. } => byte_corners().into_iter().map(Value::Opaque).collect(),
    }
}

fn byte_corners() -> Vec<Vec<u8>> {
    vec![vec![], vec![0], vec![0xff, 0x00, 0xfe], (0..=255).collect()]
}

fn text_corners() -> Vec<String> {
    ["", "\0", "a\0b\0", "JFK", "Grüße, 世界 🛁", "\"quoted\", [x]\n"].map(str::to_owned).to_vec()
}

fn scalar_corners(scalar: Scalar) -> Vec<Value> {
    let integers = [0, 1, -1, i64::MIN, i64::MAX, (1 << 53) + 1, -(1 << 53) - 1];
    match scalar {
        Scalar::Bool => vec![Value::Bool(false), Value::Bool(true)],
        Scalar::Int32 => [0, 1, -1, i32::MIN, i32::MAX].map(Value::Int32).to_vec(),
        Scalar::Int64 => integers.map(Value::Int64).to_vec(),
        Scalar::Float32 => {
            let mut values = vec![0.1, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
            values.extend([f32::MIN_POSITIVE, f32::from_bits(1), 16_777_217.0, 3.0]);
            values.extend(NAN32.map(f32::from_bits));
            values.into_iter().map(Value::Float32).collect()
        }
        Scalar::Float64 => {
            let mut values = vec![0.1, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
            values.extend([f64::MIN_POSITIVE, f64::from_bits(1), 1e21, 3.0, 5e-324]);
            values.extend(NAN64.map(f64::from_bits));
            values.into_iter().map(Value::Float64).collect()
        }
        Scalar::String => text_corners().into_iter().map(Value::String).collect(),
        Scalar::Bytes => byte_corners().into_iter().map(Value::Bytes).collect(),
        Scalar::Timestamp => {
            let mut times = integers.to_vec();
            times.extend([1_357_016_400_000_000, 1_357_016_400_000_001, -62_167_219_200_000_000]);
            times.into_iter().map(Value::Timestamp).collect()
        }
        Scalar::Uuid => vec![
            Value::Uuid([0; 16]),
            Value::Uuid([0xff; 16]),
            Value::Uuid(*b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x01\x02\x03\x04\x05\x06\x07\x08"),
        ],
        Scalar::Json => ["null", "{}", "{ \"a\" : [1, 2.50] }", "\"text\"", "-0.0"]
            .map(|text| Value::Json(text.to_owned()))
            .to_vec(),
    }
}

/// A feature of each type of [`all_types`], named `f00`, `f01`, ...
pub fn features() -> Vec<Feature> {
    let named = |(i, value_type)| Feature::new(format!("f{i:02}"), value_type);
    all_types().into_iter().enumerate().map(named).collect()
}

/// A view of [`features`] with a composite key.
pub fn view() -> FeatureView {
    let keys = vec![JoinKey::new("origin", KeyType::String), JoinKey::new("hour", KeyType::Int64)];
    FeatureView::new("flights", "every_type", keys, features())
}

/// Rows of [`features`]: the n-th corner of each type, with nulls in some, none and all places.
pub fn rows() -> Vec<Vec<Value>> {
    let corner_lists: Vec<Vec<Value>> = all_types().iter().map(corners).collect();
    let row = |n: usize| -> Vec<Value> {
        corner_lists.iter().map(|corners| corners[n % corners.len()].clone()).collect()
    };
    let mut rows: Vec<Vec<Value>> = (0..14).map(row).collect();
    let width = corner_lists.len();
    rows.push(vec![Value::Null; width]);
    for hole in 0..width {
        let mut with_hole = row(hole);
        with_hole[hole] = Value::Null;
        rows.push(with_hole);
        let mut alone = vec![Value::Null; width];
        alone[hole] = row(hole + 1)[hole].clone();
        rows.push(alone);
    }
    rows
}
