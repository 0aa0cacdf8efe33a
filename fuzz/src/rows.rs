//! Targets over entity keys, row values, and projections of them.

use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, Projection, RowLayout, Scalar, SchemaId, ValueType,
    decode_key, encode_key, split_key,
};

/// The first byte picks two join key types: what decodes encodes to the same bytes, and the cheap split
/// agrees with the decoder.
pub fn key(data: &[u8]) {
    let Some((pick, bytes)) = data.split_first() else { return };
    let all = KeyType::ALL;
    let picked = [usize::from(pick & 15) % all.len(), usize::from(pick >> 4) % all.len()];
    let types = picked.map(|index| all[index]);
    let join_keys = [JoinKey::new("a", types[0]), JoinKey::new("b", types[1])];
    if let Ok(values) = decode_key(&join_keys, bytes) {
        let mut again = Vec::new();
        encode_key(&join_keys, &values, &mut again).expect("a decoded key encodes");
        assert_eq!(again, bytes);
        assert_eq!(split_key(&types, bytes), Ok((bytes, &[][..])));
    }
    if let Ok((first, rest)) = split_key(&types, bytes) {
        assert_eq!(first.len() + rest.len(), bytes.len());
        decode_key(&join_keys, first).expect("a split key decodes");
        let length = thermae_formats::key::key_len(&types, bytes);
        assert_eq!(length, Ok(first.len()));
    }
}

/// The schemas that the first byte of the row target picks from: between them every type.
pub fn schemas() -> Vec<Vec<Feature>> {
    let scalars = Scalar::ALL.map(ValueType::Scalar);
    let lists = Scalar::ALL.map(ValueType::List);
    let named = |types: &[ValueType]| -> Vec<Feature> {
        let name = |(index, value_type): (usize, &ValueType)| {
            Feature::new(format!("f{index}"), value_type.clone())
        };
        types.iter().enumerate().map(name).collect()
    };
    let mixed = [
        ValueType::Vector { dimension: 3 },
        ValueType::Scalar(Scalar::String),
        ValueType::List(Scalar::String),
        ValueType::Opaque { logical: "map".to_owned() },
        ValueType::Scalar(Scalar::Int64),
    ];
    vec![named(&[]), named(&scalars), named(&lists), named(&mixed), named(&scalars[4..5])]
}

/// The first byte picks a schema and the dense flag: what validates decodes, and encodes to the same bytes.
pub fn row(data: &[u8]) {
    let Some((pick, row)) = data.split_first() else { return };
    let schemas = schemas();
    let features = &schemas[usize::from(pick >> 1) % schemas.len()];
    let dense = pick & 1 == 1;
    let layout = RowLayout::new(features).expect("the schemas are valid");
    let validated = layout.validate(row, dense);
    assert_eq!(layout.decode(row, dense).is_ok(), validated.is_ok());
    let Ok(length) = validated else { return };
    assert!(length <= row.len() && row.len() - length <= 7);
    let values = layout.decode(row, dense).expect("a valid row decodes");
    let mut again = Vec::new();
    let all_present = layout.encode(&values, &mut again).expect("a decoded row encodes");
    if all_present == dense {
        assert_eq!(again, row[..length]);
    }
    let back = layout.decode(&again, all_present).expect("an encoded row decodes");
    assert_eq!(back.len(), values.len());
    assert!(back.iter().zip(&values).all(|(back, value)| back.same_bits(value)));
    for index in 0..layout.len() {
        let null = layout.is_null(row, dense, index);
        let field = layout.fixed(row, dense, index).or(layout.variable(row, dense, index));
        assert_eq!(null, field.is_none(), "feature {index} is null or has a field");
    }
}

/// As [`row`], read through a projection of every other feature, backwards: a row that was validated reads as
/// the decoder reads it; one that was not gives an error or a value, never a panic.
pub fn projection(data: &[u8]) {
    let Some((pick, row)) = data.split_first() else { return };
    let schemas = schemas();
    let features = &schemas[usize::from(pick >> 1) % schemas.len()];
    let dense = pick & 1 == 1;
    let names: Vec<&str> = features.iter().rev().step_by(2).map(|f| f.name.as_str()).collect();
    let view = FeatureView::new("p", "v", Vec::new(), features.clone());
    let id = SchemaId(1);
    let Ok(projection) = Projection::compile(&[(id, &view)], &names) else { return };
    let projected = projection.decode(id, row, dense);
    let mut floats = vec![0.0; names.len()];
    let matrix = projection.matrix_row(id, row, dense, &mut floats);
    let layout = RowLayout::new(features).expect("the schemas are valid");
    let Ok(values) = layout.decode(row, dense) else { return };
    let projected = projected.expect("a valid row projects");
    let expected: Vec<_> = values.iter().rev().step_by(2).collect();
    assert_eq!(projected.len(), expected.len());
    assert!(projected.iter().zip(expected).all(|(found, value)| found.same_bits(value)));
    assert_eq!(matrix.is_ok(), projection.check_matrix().is_ok());
    assert!(!projection.knows(SchemaId(2)) && projection.decode(SchemaId(2), row, dense).is_err());
}
