//! Online and historical reads by service and by name, under one registry version.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use thermae_engine::store::Row;
use thermae_engine::training::{MemorySpine, Progress};
use thermae_features::store::{Ask, EntityRows, HistoricalOptions, ValueStatus};
use thermae_formats::{KeyValue, NO_TIME, Value};

use super::{HOUR, SHOP, T, activity, open, put, shop};

fn users(ids: &[i64]) -> EntityRows {
    EntityRows::new().with("uid", ids.iter().map(|id| KeyValue::Int(*id)).collect())
}

#[test]
fn a_service_answers_in_the_order_asked_with_a_status_each() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    put(&store, "activity", &[activity(1, T, 3, 0.5), activity(2, T - 25 * HOUR, 4, 0.25)]);
    let null = Row::new([KeyValue::Int(3)], T, [Value::Null, Value::Float32(f32::NAN)]);
    put(&store, "shop/activity@1", &[null]);
    put(&store, "weather", &[Row::new([], T - 9 * HOUR, [Value::Float64(-0.0)])]);
    let ask = Ask::service("shop/rank").at(T);
    let answer = store.get_online_features(&ask, &users(&[3, 1, 9, 1, 2])).unwrap();
    assert_eq!(answer.registry_version, 1);
    assert!(answer.warnings.is_empty());
    let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["score", "clicks", "temp"]);
    use ValueStatus::{NotFound, NullValue, OutsideMaxAge, Present};
    let clicks = &answer.columns[1];
    let int = Value::Int64;
    assert_eq!(clicks.values, [Value::Null, int(3), Value::Null, int(3), Value::Null]);
    assert_eq!(clicks.statuses, [NullValue, Present, NotFound, Present, OutsideMaxAge]);
    assert_eq!(clicks.event_times, [T, T, NO_TIME, T, T - 25 * HOUR]);
    let Value::Float32(score) = answer.columns[0].values[0] else { panic!() };
    assert_eq!(score.to_bits(), f32::NAN.to_bits());
    // A view without entity has one row for all.
    let Value::Float64(temp) = answer.columns[2].values[4] else { panic!() };
    assert_eq!(temp.to_bits(), (-0.0_f64).to_bits());
}

#[test]
fn one_view_is_read_under_several_names_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let sides = r#"
[services.sides]
features = [
  { view = "activity", features = ["score"], as = "buyer", join_keys = { uid = "buyer_id" } },
  { view = "activity", features = ["score", "clicks"], as = "seller", join_keys = { uid = "seller_id" }, rename = { clicks = "sold" } },
]
"#;
    store.apply_toml(&format!("{SHOP}{sides}")).unwrap();
    put(&store, "activity", &[activity(1, T, 3, 0.5), activity(2, T, 4, 0.25)]);
    let rows = EntityRows::new()
        .with("buyer_id", vec![KeyValue::Int(1), KeyValue::Int(2)])
        .with("seller_id", vec![KeyValue::Int(2), KeyValue::Int(2)]);
    let ask = Ask::service("sides").at(T).with_full_names();
    let answer = store.get_online_features(&ask, &rows).unwrap();
    let told: Vec<_> =
        answer.columns.iter().map(|one| (one.name.as_str(), one.values.as_slice())).collect();
    let float = Value::Float32;
    assert_eq!(
        told,
        [
            ("buyer__score", &[float(0.5), float(0.25)][..]),
            ("seller__score", &[float(0.25), float(0.25)][..]),
            ("sold", &[Value::Int64(4), Value::Int64(4)][..]),
        ]
    );
    // Without full names two are called `score`.
    let refused = store.get_online_features(&Ask::service("sides"), &rows).unwrap_err();
    assert!(refused.to_string().contains("two columns \"score\""), "{refused}");
}

#[test]
fn what_cannot_be_read_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    for (ask, rows, words) in [
        (Ask::service("rang"), users(&[1]), "no feature service rang"),
        (Ask::features(&["activity:clicks,x"]), users(&[1]), "no feature \"x\""),
        (Ask::features(&["actvity:clicks"]), users(&[1]), "shop/activity@1"),
        (Ask::features(&["activity@2"]), users(&[1]), "activity@2"),
        (Ask::features(&["activity:"]), users(&[1]), "feature name"),
        (Ask::features(&[]), users(&[1]), "no features"),
        (Ask::features(&["activity"]), EntityRows::new(), "\"uid\", which the entities lack"),
        (Ask::features(&["activity"]), users(&[1]).with("other", vec![]), "\"other\" has 0 rows"),
        (
            Ask::features(&["activity"]),
            EntityRows::new().with("uid", vec![KeyValue::String("x".to_owned())]),
            "uid",
        ),
    ] {
        let refused = store.get_online_features(&ask, &rows).unwrap_err().to_string();
        assert!(refused.contains(words), "{words:?} is not in: {refused}");
    }
    let retired = SHOP.replace("[services.rank]", "[services.rank]\nlifecycle = \"retired\"");
    let retired = retired.replace("[models.ranker]", "[models.ranker]\nlifecycle = \"retired\"");
    store
        .apply_toml(&retired.replace("\nttl = \"1d\"", "\nlifecycle = \"retired\"\nttl = \"1d\""))
        .unwrap();
    let refused = store.get_online_features(&Ask::features(&["activity"]), &users(&[1]));
    assert!(refused.unwrap_err().to_string().contains("is retired"));
    let row = activity(1, T, 1, 1.0);
    let refused = store.push("activity@1", &[row], &Default::default()).unwrap_err();
    assert!(refused.to_string().contains("is retired"), "{refused}");
}

#[test]
fn what_is_deprecated_is_read_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let text = SHOP.replace("ttl = \"1d\"", "lifecycle = \"deprecated\"\nttl = \"1d\"");
    store.apply_toml(&text).unwrap();
    let answer = store.get_online_features(&Ask::service("rank"), &users(&[1])).unwrap();
    assert_eq!(answer.warnings, ["feature view shop/activity@1 is deprecated"]);
}

#[test]
fn training_sees_what_serving_saw_under_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    put(&store, "activity", &[activity(1, T, 3, 0.5), activity(1, T + HOUR, 4, 0.75)]);
    let pick = |json: &str| serde_json::from_str(json).unwrap();
    let ask = Ask::picks(vec![
        pick(
            r#"{"view": "activity", "features": ["score", "clicks"], "join_keys": {"uid": "who"}, "rename": {"clicks": "n"}}"#,
        ),
        pick(
            r#"{"view": "activity", "features": ["score"], "as": "other", "join_keys": {"uid": "whom"}, "rename": {"score": "their_score"}}"#,
        ),
    ]);
    let batch = RecordBatch::try_from_iter([
        ("who", Arc::new(Int64Array::from(vec![1, 1, 2])) as _),
        ("whom", Arc::new(Int64Array::from(vec![2, 1, 1])) as _),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![T, T + HOUR, T + HOUR])) as _),
    ]);
    let batch = batch.unwrap();
    let spine = MemorySpine::new(batch.schema(), vec![batch]).unwrap();
    let progress = Progress::new();
    let options =
        HistoricalOptions { time_column: "at".to_owned(), ..HistoricalOptions::default() };
    let mut answer = store.get_historical_features(&ask, &options, &spine, &progress).unwrap();
    assert_eq!(answer.registry_version, 1);
    let batch = answer.rows.next_batch().unwrap().unwrap();
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["who", "whom", "at", "score", "n", "their_score"]);
    let (score, n) = (batch.column(3).as_primitive::<Float32Type>(), batch.column(4));
    assert_eq!((score.value(0), score.value(1)), (0.5, 0.75));
    assert!(score.is_null(2) && n.as_primitive::<Int64Type>().value(1) == 4);
    let theirs = batch.column(5).as_primitive::<Float32Type>();
    assert!(theirs.is_null(0) && theirs.value(1) == 0.75 && theirs.value(2) == 0.75);
}

#[test]
fn every_reply_is_made_under_one_version_while_versions_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Version n of the registry has n features in the service, and the row that is written next has n in all.
    let text = |features: usize| {
        let all: Vec<String> = (0..features)
            .map(|at| format!("{{ name = \"f{at}\", type = \"int64\", default = 0 }}"))
            .collect();
        let names: Vec<String> = (0..features).map(|at| format!("f{at}")).collect();
        format!(
            "format = 1\nproject = \"p\"\n[views.v]\nttl = \"0\"\nfeatures = [{}]\n[services.s]\nfeatures = [\"v:{}\"]\n",
            all.join(", "),
            names.join(",")
        )
    };
    let versions = 12_usize;
    store.apply_toml(&text(1)).unwrap();
    put(&store, "v", &[Row::new([], T, [Value::Int64(1)])]);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, ask) = (std::collections::BTreeSet::new(), Ask::service("s").at(T));
            while !is_over.load(std::sync::atomic::Ordering::Acquire) {
                let answer = store.get_online_features(&ask, &EntityRows::new()).unwrap();
                assert_eq!(answer.columns.len() as u64, answer.registry_version);
                let first = &answer.columns[0];
                assert_eq!(first.statuses, [ValueStatus::Present], "{answer:?}");
                seen.insert(answer.registry_version);
            }
            seen
        });
        for features in 2..=versions {
            store.apply_toml(&text(features)).unwrap();
            let values = vec![Value::Int64(features as i64); features];
            put(&store, "v", &[Row::new([], T + features as i64, values)]);
        }
        is_over.store(true, std::sync::atomic::Ordering::Release);
        assert!(reader.join().unwrap().len() > 1);
    });
}
