//! Row values: round trips, the shape of the bytes, refusals.

use thermae_formats::row_value::{decode_value, encode_elements, encode_value, for_each_element};
use thermae_formats::{Feature, RowError, RowLayout, Scalar, Value, ValueType};

use crate::samples::{all_types, corners, features, rows};

fn layout() -> RowLayout {
    RowLayout::new(&features()).unwrap()
}

#[test]
fn every_value_of_every_type_comes_back_bit_for_bit() {
    for value_type in all_types() {
        let layout = RowLayout::new(&[Feature::new("only", value_type.clone())]).unwrap();
        for value in corners(&value_type) {
            let mut row = Vec::new();
            assert!(layout.encode(std::slice::from_ref(&value), &mut row).unwrap());
            assert_eq!(
                layout.decode(&row, true).unwrap(),
                std::slice::from_ref(&value),
                "{value_type}"
            );
            let mut field = Vec::new();
            encode_value(&value_type, &value, &mut field).unwrap();
            assert_eq!(decode_value(&value_type, &field).unwrap(), value, "{value_type}");
        }
    }
}

#[test]
fn rows_come_back_with_their_nulls_padded_or_not() {
    let layout = layout();
    for values in rows() {
        let mut row = Vec::new();
        let dense = layout.encode(&values, &mut row).unwrap();
        assert_eq!(dense, !values.contains(&Value::Null));
        for pad in 0..=7 {
            let padded = [row.clone(), vec![0; pad]].concat();
            assert_eq!(layout.validate(&padded, dense).unwrap(), row.len());
            assert_eq!(layout.decode(&padded, dense).unwrap(), values);
        }
    }
}

#[test]
fn a_row_is_appended_where_the_buffer_ends() {
    let layout = layout();
    let mut buffer = b"before".to_vec();
    let dense = layout.encode(&rows()[3], &mut buffer).unwrap();
    assert_eq!(&buffer[..6], b"before");
    assert_eq!(layout.decode(&buffer[6..], dense).unwrap(), rows()[3]);
}

#[test]
fn single_fields_are_found_without_decoding_the_row() {
    let layout = layout();
    for values in rows() {
        let mut row = Vec::new();
        let dense = layout.encode(&values, &mut row).unwrap();
        for (index, (value, value_type)) in values.iter().zip(all_types()).enumerate() {
            let fixed = layout.fixed(&row, dense, index);
            let variable = layout.variable(&row, dense, index);
            assert_eq!(layout.is_null(&row, dense, index), value.is_null());
            let is_fixed = value_type.width_bytes().is_some();
            assert_eq!(fixed.is_some(), is_fixed && !value.is_null());
            assert_eq!(variable.is_some(), !is_fixed && !value.is_null());
            if let Some(field) = fixed.or(variable) {
                assert_eq!(decode_value(&value_type, field).unwrap(), *value);
            }
        }
        assert_eq!(layout.fixed(&row, dense, layout.len()), None);
    }
}

#[test]
fn ten_float32_take_forty_bytes_and_a_null_takes_a_bitmap() {
    let features: Vec<Feature> =
        (0..10).map(|i| Feature::new(format!("f{i}"), Scalar::Float32)).collect();
    let layout = RowLayout::new(&features).unwrap();
    let mut row = Vec::new();
    assert!(layout.encode(&vec![Value::Float32(1.0); 10], &mut row).unwrap());
    assert_eq!(row.len(), 40);
    row.clear();
    let mut values = vec![Value::Float32(1.0); 10];
    values[9] = Value::Null;
    assert!(!layout.encode(&values, &mut row).unwrap());
    assert_eq!((row.len(), row[0], row[1]), (42, 0, 0b10));
}

#[test]
fn a_wrong_value_names_its_feature_and_leaves_the_buffer_alone() {
    let layout = RowLayout::new(&[
        Feature::new("ok", Scalar::String),
        Feature::new("speed", Scalar::Float32),
        Feature::new("tags", ValueType::List(Scalar::String)),
        Feature::new("embedding", ValueType::Vector { dimension: 2 }),
    ])
    .unwrap();
    let good = [
        Value::from("x"),
        Value::Float32(1.0),
        Value::List(vec![Value::from("a")]),
        Value::Vector(vec![1.0, 2.0]),
    ];
    let wrong = [
        (1, Value::Float64(1.0), "feature \"speed\": expected float32, found float64"),
        (
            2,
            Value::List(vec![Value::from("a"), Value::Null]),
            "feature \"tags\": element 1: expected string, found null",
        ),
        (
            3,
            Value::Vector(vec![1.0]),
            "feature \"embedding\": expected a vector of 2 elements, found 1",
        ),
        (3, Value::Opaque(vec![]), "expected vector<float32, 2>, found opaque"),
    ];
    for (index, value, message) in wrong {
        let mut values = good.to_vec();
        values[index] = value;
        let mut out = b"kept".to_vec();
        let error = layout.encode(&values, &mut out).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(out, b"kept");
    }
    let error = layout.encode(&good[..3], &mut Vec::new()).unwrap_err();
    assert_eq!(error, RowError::WrongCount { expected: 4, found: 3 });
}

#[test]
fn a_row_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let layout = RowLayout::new(&[Feature::new("text", Scalar::Bytes)]).unwrap();
    let mut out = Vec::new();
    layout.encode(&[Value::Bytes(vec![1; 499_996])], &mut out).unwrap();
    assert_eq!(out.len(), 500_000);
    assert_eq!(layout.validate(&out, true).unwrap(), 500_000);
    let error = layout.encode(&[Value::Bytes(vec![1; 499_997])], &mut out).unwrap_err();
    assert_eq!(error, RowError::TooLarge { found: 500_001, limit: 500_000 });
    assert_eq!(out.len(), 500_000);
    let mut big = 499_997_u32.to_le_bytes().to_vec();
    big.resize(500_001, 1);
    assert!(matches!(layout.validate(&big, true), Err(RowError::TooLarge { .. })));
}

#[test]
fn a_row_of_fields_is_the_row_of_their_values() {
    let layout = layout();
    let features = features();
    for values in rows() {
        let fields: Vec<Vec<u8>> = values
            .iter()
            .zip(&features)
            .map(|(value, feature)| {
                let mut field = Vec::new();
                if !value.is_null() {
                    encode_value(&feature.value_type, value, &mut field).unwrap();
                }
                field
            })
            .collect();
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let dense = layout.encode(&values, &mut expected).unwrap();
        let is_null = |index: usize| values[index].is_null();
        let append = |index: usize, out: &mut Vec<u8>| out.extend_from_slice(&fields[index]);
        assert_eq!(layout.encode_fields(is_null, append, &mut found).unwrap(), dense);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_field_of_another_width_and_a_row_too_large_are_refused() {
    let layout = RowLayout::new(&[
        Feature::new("fixed", Scalar::Int32),
        Feature::new("text", Scalar::String),
    ]);
    let layout = layout.unwrap();
    for (width, length, fits) in [(4, 3, true), (3, 3, false), (5, 3, false), (4, 500_000, false)] {
        let append = |index: usize, out: &mut Vec<u8>| {
            out.resize(out.len() + if index == 0 { width } else { length }, b'x');
        };
        let mut out = b"before".to_vec();
        let encoded = layout.encode_fields(|_| false, append, &mut out);
        assert_eq!(encoded.is_ok(), fits, "{width} {length}");
        assert!(fits || out == b"before");
    }
}

#[test]
fn elements_of_a_list_are_taken_out_and_put_together_again() {
    for (scalar, value_type) in Scalar::ALL.map(|scalar| (scalar, ValueType::List(scalar))) {
        for value in corners(&value_type).into_iter().filter(|value| !value.is_null()) {
            let (mut field, mut elements) = (Vec::new(), Vec::new());
            encode_value(&value_type, &value, &mut field).unwrap();
            for_each_element(scalar, &field, |element| elements.push(element.to_vec())).unwrap();
            let mut again = Vec::new();
            let append = |index: usize, out: &mut Vec<u8>| out.extend_from_slice(&elements[index]);
            encode_elements(scalar, elements.len(), append, &mut again);
            assert_eq!(again, field);
            let cut = &field[..field.len() - 1];
            let longer = [&field[..], b"x"].concat();
            for other in [cut, &longer] {
                assert!(for_each_element(scalar, other, |_| ()).is_err(), "{value_type}: {value}");
            }
        }
    }
}
