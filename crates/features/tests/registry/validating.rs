//! Checks at write: what fails is refused, kept or counted, whichever way it comes; nothing is lost silently.

use thermae_engine::store::Row;
use thermae_engine::{Ack, Outcome, Refusal, RowWrite, Scan, ScanOptions, WriteBatch, WriteKind};
use thermae_env::{Env, RealEnv};
use thermae_features::FeatureStore;
use thermae_features::store::{Ask, EntityRows, PushOptions, ValueStatus, ViewHealth};
use thermae_formats::key::encode_key;
use thermae_formats::row::RowLayout;
use thermae_formats::{KeyValue, Value};

use super::{Dice, HOUR, T, open};

const SHOP: &str = r#"format = 1
project = "shop"

[entities.user]
join_keys = [{ name = "uid", type = "int64" }]

[views.engagement]
entities = ["user"]
ttl = "0"
checks = [
  { feature = "minutes", min = 0, max = 1440 },
  { feature = "clicks", min = 0, on_failure = "quarantine" },
  { feature = "lang", set = ["de", "en"], on_failure = "quarantine" },
  { feature = "session", regex = "[a-z]+-[0-9]{1,4}", on_failure = "warn" },
]
features = [
  { name = "minutes", type = "float32" },
  { name = "clicks", type = "int64" },
  { name = "lang", type = "string" },
  { name = "session", type = "string" },
  { name = "rate", type = "float64", expression = "clicks / minutes" },
]
"#;

const VIEW: &str = "engagement";

fn shop(dir: &std::path::Path) -> FeatureStore<RealEnv> {
    let store = open(dir);
    store.apply_toml(SHOP).unwrap_or_else(|e| panic!("{e}"));
    store
}

fn row(user: i64, minutes: f32, clicks: i64, lang: &str, session: &str) -> Row {
    let values = [
        Value::Float32(minutes),
        Value::Int64(clicks),
        Value::from(lang),
        Value::from(session),
        Value::Null,
    ];
    Row::new([KeyValue::Int(user)], T, values)
}

fn push(store: &FeatureStore<RealEnv>, rows: &[Row]) -> Vec<Outcome> {
    store.push(VIEW, rows, &PushOptions::default()).unwrap()
}

fn all_versions(store: &FeatureStore<RealEnv>, view: &str) -> Vec<(i64, Vec<Value>)> {
    let snapshot = store.handle().snapshot().unwrap();
    let scan = Scan::open(&snapshot, view, &[], &ScanOptions::default()).unwrap();
    let rows = scan.map(|row| {
        let row = row.unwrap();
        let KeyValue::Int(user) = row.key[0] else { panic!() };
        (user, row.values.unwrap())
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(user, _)| *user);
    rows
}

fn health(store: &FeatureStore<RealEnv>, view: &str) -> ViewHealth {
    store.health().into_iter().find(|health| health.name == view).unwrap()
}

/// Why a quarantined row is there.
fn reasons(values: &[Value]) -> Vec<String> {
    let Value::List(reasons) = &values[0] else { panic!("{values:?}") };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    reasons.iter().map(text).collect()
}

#[test]
fn rows_that_fail_are_refused_kept_with_reasons_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let outcomes = push(
        &store,
        &[
            row(1, 10.0, 5, "de", "ab-1"),
            row(2, -0.5, 5, "de", "ab-1"),
            row(3, 10.0, -5, "fr", "ab-12345"),
            row(4, 1440.0, 0, "en", "AB"),
            row(5, f32::NAN, 1, "de", "ab-1"),
            row(6, f32::INFINITY, 1, "de", "ab-1"),
        ],
    );
    let refused = |outcome: &Outcome, number: u16| {
        *outcome == Outcome::NotApplied(Refusal::FailsCheck { check: number })
    };
    assert!(matches!(outcomes[0], Outcome::Ok { .. }), "{outcomes:?}");
    assert!(refused(&outcomes[1], 0), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::NotApplied(Refusal::Quarantined { check: 1 }));
    assert!(matches!(outcomes[3], Outcome::Ok { .. }), "a warning writes the row: {outcomes:?}");
    assert!(refused(&outcomes[4], 0) && refused(&outcomes[5], 0), "{outcomes:?}");
    let stored = all_versions(&store, VIEW);
    assert_eq!(stored.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(stored[0].1[4], Value::Float64(0.5), "rate is computed");
    let kept = all_versions(&store, "engagement__quarantine");
    assert_eq!(kept.len(), 1);
    let (user, values) = &kept[0];
    assert_eq!(*user, 3);
    assert_eq!(
        reasons(values),
        [
            "clicks: at least 0: -5 is below 0",
            "lang: one of 2 values: \"fr\" is not in the set",
            "session: matches [a-z]+-[0-9]{1,4}: \"ab-12345\" does not match",
        ]
    );
    assert_eq!(values[1..3], [Value::Timestamp(T), Value::Null]);
    assert_eq!(values[3..5], [Value::Float32(10.0), Value::Int64(-5)]);
    let checks = health(&store, VIEW).checks.unwrap();
    assert_eq!((checks.refused, checks.quarantined, checks.warned), (3, 1, 1));
    let failed: Vec<u64> = checks.checks.iter().map(|check| check.failed).collect();
    assert_eq!(failed, [3, 1, 1, 2, 0]);
    let view = store.handle().catalogue().resolve(VIEW).unwrap().id;
    assert_eq!(store.rule_name(view, 0).as_deref(), Some("minutes: 0.0 to 1440.0"));
    assert!(push(&store, &[]).is_empty());

    // It is there after a restart, and so are the rules.
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(all_versions(&store, "engagement__quarantine"), kept);
    assert!(refused(&push(&store, &[row(2, 1e9, 5, "de", "ab-1")])[0], 0));
}

#[test]
fn no_way_in_leads_around_the_checks() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let catalogue = store.handle().catalogue();
    let schema = catalogue.resolve(VIEW).unwrap().latest.clone();
    let bad = row(1, -1.0, 1, "de", "ab-1");
    let refused = Outcome::NotApplied(Refusal::FailsCheck { check: 0 });
    // The handle below the feature store.
    let mut batch = WriteBatch::new(Ack::Durable, 0);
    batch.push(&schema, &bad, 0).unwrap();
    assert_eq!(store.handle().write(batch).unwrap(), [refused]);
    // A partial write, of the features that it names alone.
    let partial = |features: &[(&str, Value)], at: i64| {
        let places: Vec<u16> = features
            .iter()
            .map(|(name, _)| {
                schema.definition.features.iter().position(|one| one.name == *name).unwrap() as u16
            })
            .collect();
        let chosen: Vec<_> =
            places.iter().map(|at| schema.definition.features[usize::from(*at)].clone()).collect();
        let values: Vec<Value> = features.iter().map(|(_, value)| value.clone()).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        encode_key(&schema.definition.join_keys, &[KeyValue::Int(1)], &mut key).unwrap();
        let dense = RowLayout::new(&chosen).unwrap().encode(&values, &mut value).unwrap();
        let mut batch = WriteBatch::new(Ack::Durable, 0);
        let (key, value) = (batch.store(&key), batch.store(&value));
        let kind = WriteKind::Partial { features: places.into() };
        batch.rows.push(RowWrite { kind, dense, value, ..RowWrite::delete(&schema, at, key) });
        store.handle().write(batch).unwrap()[0]
    };
    assert!(matches!(partial(&[("session", Value::from("ab-2"))], T), Outcome::Ok { .. }));
    assert_eq!(
        partial(&[("minutes", Value::Float32(-1.0)), ("clicks", Value::Int64(1))], T),
        refused
    );
    // What something is computed from comes whole, and what is computed is computed.
    let computed = Outcome::NotApplied(Refusal::FailsCheck { check: 4 });
    assert_eq!(partial(&[("clicks", Value::Int64(3))], T), computed);
    let both = [("minutes", Value::Float32(2.0)), ("clicks", Value::Int64(3))];
    assert!(matches!(partial(&both, T + 1), Outcome::Ok { .. }));
    let plan = store.get_online_features(
        &Ask::features(&["engagement:rate,session"]).at(T),
        &EntityRows::new().with("uid", vec![KeyValue::Int(1)]),
    );
    let columns = plan.unwrap().columns;
    assert_eq!(columns[0].values, [Value::Float64(1.5)]);
    assert_eq!(columns[1].values, [Value::from("ab-2")]);
    // A partial row that is kept says so.
    let kept = Outcome::NotApplied(Refusal::Quarantined { check: 2 });
    assert_eq!(partial(&[("lang", Value::from("xx"))], T), kept);
    let told = reasons(&all_versions(&store, "engagement__quarantine")[0].1);
    assert!(told[1].starts_with("a partial write"), "{told:?}");
    // A writer that knows an older schema of the view.
    let more = SHOP.replace(
        "{ name = \"rate\"",
        "{ name = \"more\", type = \"int64\", default = 4 },\n  { name = \"rate\"",
    );
    let more = more.replace("expression = \"clicks / minutes\" },", "expression = \"clicks / minutes\" },\n  { name = \"sum\", type = \"int64\", expression = \"clicks + more\" },");
    store.apply_toml(&more).unwrap();
    let mut batch = WriteBatch::new(Ack::Durable, 0);
    batch.push(&schema, &bad, 0).unwrap();
    batch.push(&schema, &row(8, 4.0, 2, "de", "ab-1"), 0).unwrap();
    let outcomes = store.handle().write(batch).unwrap();
    assert_eq!(outcomes[0], refused);
    assert!(matches!(outcomes[1], Outcome::Ok { .. }), "{outcomes:?}");
    let (_, values) = all_versions(&store, VIEW).pop().unwrap();
    assert_eq!(values[4..], [Value::Int64(4), Value::Float64(0.5), Value::Int64(6)]);
}

#[test]
fn a_computed_feature_is_null_or_what_it_is_when_it_is_brought() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let with = |user, rate| {
        let mut row = row(user, 4.0, 2, "de", "ab-1");
        row.values[4] = rate;
        row
    };
    let rows = [
        with(1, Value::Null),
        with(2, Value::Float64(0.5)),
        with(3, Value::Float64(0.25)),
        // 0 / 0 is the one NaN that expressions give.
        Row {
            values: vec![
                Value::Float32(0.0),
                Value::Int64(0),
                Value::Null,
                Value::Null,
                Value::Float64(f64::NAN),
            ],
            ..with(4, Value::Null)
        },
        Row {
            values: vec![Value::Null, Value::Int64(0), Value::Null, Value::Null, Value::Null],
            ..with(5, Value::Null)
        },
    ];
    let outcomes = push(&store, &rows);
    let is_ok = |outcome: &Outcome| matches!(outcome, Outcome::Ok { .. });
    assert_eq!(outcomes.iter().map(is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
    let rates: Vec<Value> =
        all_versions(&store, VIEW).into_iter().map(|(_, v)| v[4].clone()).collect();
    let float = Value::Float64;
    assert_eq!(rates, [float(0.5), float(0.5), float(f64::NAN), Value::Null]);
}

#[test]
fn a_repeat_changes_nothing_whatever_became_of_the_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let options = PushOptions { producer: (77, 1), ..PushOptions::default() };
    let rows = [
        row(1, 1.0, 1, "de", "ab-1"),
        row(1, 1.0, -1, "de", "ab-1"),
        row(1, -1.0, 1, "de", "ab-1"),
        row(1, 2.0, 1, "de", "ab-1"),
    ];
    let first = store.push(VIEW, &rows, &options).unwrap();
    assert_eq!(first[1], Outcome::NotApplied(Refusal::Quarantined { check: 1 }));
    assert_eq!(first[2], Outcome::NotApplied(Refusal::FailsCheck { check: 0 }));
    // Checks become stricter: what was written before stays written, and a repeat is told so.
    store.apply_toml(&SHOP.replace("max = 1440", "max = 1")).unwrap();
    let again = store.push(VIEW, &rows, &options).unwrap();
    for (at, outcome) in again.iter().enumerate() {
        assert!(matches!(outcome, Outcome::Ok { duplicate: true, .. }), "row {at}: {outcome:?}");
    }
    assert_eq!(all_versions(&store, "engagement__quarantine").len(), 1);
    assert_eq!(all_versions(&store, VIEW).len(), 2);
}

const RATES: &str = r#"format = 1
project = "p"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[views.v]
entities = ["user"]
ttl = "0"
checks = [{ feature = "x", max_null_rate = 0.1 }]
features = [{ name = "x", type = "int64" }, { name = "y", type = "int64" }]
"#;

#[test]
fn null_rates_are_of_a_batch_and_of_a_window_when_rows_come_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.apply_toml(RATES).unwrap();
    let one = |at: i64, is_null: bool| {
        let x = if is_null { Value::Null } else { Value::Int64(at) };
        Row::new([KeyValue::Int(at)], T, [x, Value::Null])
    };
    let push = |rows: &[Row]| store.push("v", rows, &PushOptions::default()).unwrap();
    let written = |outcomes: &[Outcome]| {
        outcomes.iter().filter(|one| matches!(one, Outcome::Ok { .. })).count()
    };
    // Of a batch: exactly the rate passes, one more does not, and rows with a value are written all the same.
    let batch = |nulls: i64| (0..200).map(|at| one(at, at < nulls)).collect::<Vec<_>>();
    assert_eq!(written(&push(&batch(20))), 200);
    let outcomes = push(&batch(21));
    assert_eq!(written(&outcomes), 179);
    assert_eq!(outcomes[0], Outcome::NotApplied(Refusal::FailsCheck { check: 0 }));

    // One by one, in a view that is new: the first hundred may have ten.
    store.apply_toml(&RATES.replace("[views.v]", "[views.\"v@2\"]")).unwrap();
    let push = |row: Row| {
        let outcome = store.push("v@2", &[row], &PushOptions::default()).unwrap()[0];
        matches!(outcome, Outcome::Ok { .. })
    };
    let passed = (0..30).filter(|at| push(one(*at, true))).count();
    assert_eq!(passed, 10);
    assert!(push(one(31, false)));
    // Every tenth and no more is what it may be in the long run.
    let store_two = (0..5_000).filter(|at| !push(one(*at, at % 20 == 0))).count();
    assert!(store_two < 30, "{store_two}: the burst before is forgotten");
    assert!(push(one(1, true)));
    let burst = (0..1_000).filter(|_| push(one(1, true))).count();
    assert!(burst < 250, "{burst}");
}

#[test]
fn rows_that_are_too_old_fail_and_views_that_get_none_are_late() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let text = r#"format = 1
project = "p"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[views.v]
entities = ["user"]
ttl = "0"
fresh_within = "1h"
checks = [{ max_age = "2h", on_failure = "quarantine" }]
features = [{ name = "x", type = "int64" }]
"#;
    store.apply_toml(text).unwrap();
    let now = RealEnv.now_us();
    let late = health(&store, "v");
    assert_eq!((late.newest_event_time, late.late_by_us), (None, Some(0)), "no row is known");
    let at = |age: i64| Row::new([KeyValue::Int(1)], now - age, [Value::Int64(1)]);
    let rows = [at(3 * HOUR), at(HOUR + HOUR / 2)];
    let outcomes = store.push("v", &rows, &PushOptions::default()).unwrap();
    assert_eq!(outcomes[0], Outcome::NotApplied(Refusal::Quarantined { check: 0 }));
    assert!(matches!(outcomes[1], Outcome::Ok { .. }));
    let known = |store: &FeatureStore<RealEnv>| {
        // Figures are at most 100 ms old.
        loop {
            let health = health(store, "v");
            if health.newest_event_time.is_some() {
                return health;
            }
            std::thread::yield_now();
        }
    };
    let late = known(&store);
    assert_eq!(late.newest_event_time, Some(now - HOUR - HOUR / 2));
    assert!(late.late_by_us.is_some_and(|by| (HOUR / 2..HOUR).contains(&by)), "{late:?}");
    store.close().unwrap();
    let store = open(dir.path());
    let kept = store.registry().watermark("fresh p/v@1");
    assert_eq!(kept as i64, now - HOUR - HOUR / 2);
    assert_eq!(known(&store).newest_event_time, Some(now - HOUR - HOUR / 2), "kept");
    store.push("v", &[at(0)], &PushOptions::default()).unwrap();
    while health(&store, "v").late_by_us.is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_row_that_is_put_aside_makes_no_other_row_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // What counts as old is told by the newest event time, which here is years behind the clock.
    let kept = SHOP.replace("ttl = \"0\"", "ttl = \"0\"\ntiers = { keep_for = \"30d\" }");
    store.apply_toml(&kept).unwrap_or_else(|e| panic!("{e}"));
    let good = |user| row(user, 1.0, 1, "de", "a-1");
    let bad = |user| row(user, 1.0, -1, "de", "a-1");
    // A partition that has nothing but a row put aside, and then others of the same time.
    let outcomes = push(&store, &[bad(1), good(1), good(2), bad(2), bad(2)]);
    let aside =
        |at: usize| matches!(outcomes[at], Outcome::NotApplied(Refusal::Quarantined { .. }));
    assert!(aside(0) && aside(3) && aside(4), "{outcomes:?}");
    let snapshot = store.handle().snapshot().unwrap();
    let newest = snapshot.watermarks().iter().flatten().max();
    assert_eq!(newest, Some(&T), "no partition is ahead of its rows");
    assert_eq!(all_versions(&store, VIEW).len(), 2);
    assert_eq!(
        all_versions(&store, "engagement__quarantine").len(),
        3,
        "each is kept, of one time too"
    );
}

#[test]
fn an_entity_is_erased_from_the_quarantine_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    push(&store, &[row(1, 1.0, -1, "de", "ab-1"), row(2, 1.0, -1, "de", "ab-1")]);
    let outcomes = store.erase(VIEW, &[vec![KeyValue::Int(1)]]).unwrap();
    assert_eq!(outcomes.len(), 2);
    let left = all_versions(&store, "engagement__quarantine");
    assert_eq!(left.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [2]);
}

/// What takes the place of the checks, and words of the reason.
const REFUSED: &[(&str, &[&str])] = &[
    ("{ feature = \"clikcs\", min = 0 }", &["\"clikcs\"", "there are minutes, clicks"]),
    ("{ feature = \"clicks\" }", &["\"clicks\"", "tests nothing"]),
    ("{ min = 0 }", &["names no feature"]),
    ("{ max_age = \"1h\", feature = \"clicks\" }", &["whole rows"]),
    ("{ max_age = \"soon\" }", &["max_age"]),
    ("{ max_age = \"0s\" }", &["not positive"]),
    ("{ feature = \"lang\", min = 0 }", &["\"lang\"", "not of string"]),
    ("{ feature = \"clicks\", min = \"x\" }", &["\"clicks\"", "min"]),
    ("{ feature = \"clicks\", min = 1.5 }", &["\"clicks\"", "min"]),
    ("{ feature = \"clicks\", min = 9, max = 8 }", &["min lies above max"]),
    ("{ feature = \"minutes\", min = nan }", &["min"]),
    ("{ feature = \"minutes\", set = [1.0] }", &["no floats"]),
    ("{ feature = \"lang\", set = [\"de\", 4] }", &["set"]),
    ("{ feature = \"clicks\", regex = \"a\" }", &["a regex is of strings"]),
    ("{ feature = \"lang\", regex = \"(\" }", &["\"lang\"", "regex"]),
    ("{ feature = \"lang\", regex = \"(a{1000}){1000}\" }", &["\"lang\"", "size"]),
    ("{ feature = \"clicks\", max_null_rate = 1.5 }", &["from 0 to 1"]),
    ("{ feature = \"clicks\", max_null_rate = -0.1 }", &["from 0 to 1"]),
    ("{ feature = \"clicks\", min = 0, on_failure = \"drop\" }", &["drop", "warn"]),
    ("{ feature = \"clicks\", mni = 0 }", &["mni"]),
    ("{ feature = \"clicks\", min = 0 }, { feature = \"clicks\", min = 0 }", &["is there twice"]),
];

#[test]
fn checks_that_do_not_fit_are_refused_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = "{ feature = \"minutes\", min = 0, max = 1440 }";
    assert!(SHOP.contains(first));
    for (check, words) in REFUSED {
        let told = store.apply_toml(&SHOP.replace(first, check)).unwrap_err().to_string();
        assert!(told.contains("line "), "{check}: {told}");
        for word in *words {
            assert!(told.contains(word), "{check}: {word:?} is not in: {told}");
        }
    }
    let clash = SHOP.replace("name = \"clicks\", type", "name = \"quarantine_reasons\", type");
    let clash = clash
        .replace("\"clicks\"", "\"quarantine_reasons\"")
        .replace("clicks / minutes", "minutes * 1");
    let told = store.apply_toml(&clash).unwrap_err().to_string();
    assert!(told.contains("quarantine_reasons"), "{told}");
    assert_eq!(store.registry().version(), 0);
    // Checks are versioned with the view, and may change.
    let applied = store.apply_toml(SHOP).unwrap();
    let made: Vec<&str> = applied.changes.iter().map(|change| change.object.as_str()).collect();
    assert!(made.contains(&"feature view shop/engagement__quarantine@1"), "{made:?}");
    let applied = store.apply_toml(&SHOP.replace("max = 1440", "max = 99")).unwrap();
    let lines =
        &applied.changes.iter().find(|one| one.object.ends_with("engagement@1")).unwrap().lines;
    assert!(
        lines.iter().any(|line| line.starts_with("+ check") && line.contains("99")),
        "{lines:?}"
    );
    assert_eq!(applied.version, 2);
    assert!(store.apply_toml(&SHOP.replace("max = 1440", "max = 99")).unwrap().version == 2);
}

#[test]
fn a_regex_takes_time_that_is_linear_in_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.apply_toml(&SHOP.replace("[a-z]+-[0-9]{1,4}", "(a+)+(a|aa)*b?c")).unwrap();
    // A backtracking engine would be at it for longer than the universe is old.
    let text = "a".repeat(100_000);
    let outcomes = push(&store, &[row(1, 1.0, 1, "de", &text)]);
    assert!(matches!(outcomes[0], Outcome::Ok { .. }), "{outcomes:?}");
    assert_eq!(health(&store, VIEW).checks.unwrap().warned, 1);
}

/// What a naive model says of a row: refused by which check, kept by which, or written.
fn model(values: &[Value]) -> Result<(), Refusal> {
    let minutes = match values[0] {
        Value::Float32(v) => (0.0..=1440.0).contains(&v),
        _ => true,
    };
    let clicks = !matches!(values[1], Value::Int64(v) if v < 0);
    let lang = match &values[2] {
        Value::String(text) => text == "de" || text == "en",
        _ => true,
    };
    match (minutes, clicks, lang) {
        (false, ..) => Err(Refusal::FailsCheck { check: 0 }),
        (_, false, _) => Err(Refusal::Quarantined { check: 1 }),
        (.., false) => Err(Refusal::Quarantined { check: 2 }),
        _ => Ok(()),
    }
}

#[test]
fn random_batches_end_as_a_naive_model_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let mut dice = Dice::new(5);
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for round in 0..60_i64 {
        let rows: Vec<Row> = (0..dice.below(40) as i64)
            .map(|at| {
                let minutes = [0.0, -0.0, 1440.0, 1440.1, f32::NAN, f32::NEG_INFINITY, 7.5, 9.0];
                let minutes = minutes[dice.below(8) as usize];
                let clicks = [0, -1, i64::MIN, i64::MAX, 3][dice.below(5) as usize];
                let lang = ["de", "en", "", "DE"][dice.below(4) as usize];
                let mut made = row(round * 100 + at, minutes, clicks, lang, "ab-1");
                for value in &mut made.values[..3] {
                    if dice.below(5) == 0 {
                        *value = Value::Null;
                    }
                }
                made
            })
            .collect();
        for (row, outcome) in rows.iter().zip(push(&store, &rows)) {
            let KeyValue::Int(user) = row.key[0] else { panic!() };
            match model(&row.values) {
                Ok(()) => {
                    assert!(
                        matches!(outcome, Outcome::Ok { duplicate: false, .. }),
                        "{row:?}: {outcome:?}"
                    );
                    written.push(user);
                }
                Err(refusal) => {
                    assert_eq!(outcome, Outcome::NotApplied(refusal), "{row:?}");
                    if let Refusal::Quarantined { .. } = refusal {
                        kept.push((user, row.values.clone()));
                    }
                }
            }
        }
    }
    let stored: Vec<i64> = all_versions(&store, VIEW).iter().map(|(user, _)| *user).collect();
    assert_eq!(stored, written);
    let found = all_versions(&store, "engagement__quarantine");
    assert_eq!(found.len(), kept.len());
    for ((user, values), (of, row)) in found.iter().zip(&kept) {
        assert_eq!((user, &values[3..6]), (of, &row[..3]), "every bit of what failed is kept");
    }
    // A read of what was not written finds nothing.
    let users =
        EntityRows::new().with("uid", kept.iter().map(|(user, _)| KeyValue::Int(*user)).collect());
    let answer = store.get_online_features(&Ask::features(&["engagement:clicks"]), &users).unwrap();
    assert!(answer.columns[0].statuses.iter().all(|status| *status == ValueStatus::NotFound));
}
