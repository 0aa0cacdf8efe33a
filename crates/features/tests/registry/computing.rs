//! On-demand features and features that are computed when rows are written: what is served is what is trained on,
//! bit for bit, and what a naive model gives.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use thermae_engine::store::Row;
use thermae_engine::training::{MemorySpine, Progress};
use thermae_env::RealEnv;
use thermae_features::FeatureStore;
use thermae_features::expression::{Column, Expression};
use thermae_features::store::{Ask, EntityRows, HistoricalOptions, ValueStatus};
use thermae_formats::{KeyValue, Scalar, Value};

use super::{Dice, HOUR, T, open, put};

const SHOP: &str = r#"format = 1
project = "shop"

[entities.user]
join_keys = [{ name = "uid", type = "int64" }]

[views.engagement]
entities = ["user"]
ttl = "1d"
features = [
  { name = "clicks", type = "int64" },
  { name = "shown", type = "int32" },
  { name = "score", type = "float32" },
  { name = "weight", type = "float64" },
  { name = "lang", type = "string" },
  { name = "seen", type = "timestamp" },
  { name = "paid", type = "bool" },
  { name = "ctr", type = "float64", expression = "clicks / shown" },
  { name = "unseen_us", type = "int64", expression = "as_of() - seen" },
]

[views.shop]
ttl = "0"
features = [{ name = "rate", type = "float64" }]

[on_demand.live]
inputs = ["engagement", { view = "shop", rename = { rate = "shop_rate" } }]
request = [
  { name = "amount", type = "float64" },
  { name = "count", type = "int64" },
  { name = "word", type = "string" },
]
features = [
  { name = "a", type = "float64", expression = "amount * weight + score" },
  { name = "b", type = "int64", expression = "clicks * count - shown" },
  { name = "c", type = "float32", expression = "cast(ctr / coalesce(shop_rate, 2) as float32)" },
  { name = "d", type = "bool", expression = "paid and (lang = word or count > clicks) or seen is null" },
  { name = "e", type = "string", expression = "upper(lang) || '-' || coalesce(word, '?')" },
  { name = "f", type = "int64", expression = "as_of() - seen" },
  { name = "g", type = "float64", expression = "case when score > amount then power(score, 2) else ln(abs(weight)) end" },
  { name = "h", type = "timestamp", expression = "greatest(seen, cast(count as timestamp))" },
  { name = "i", type = "int32", expression = "cast(amount as int32)" },
  { name = "j", type = "float64", expression = "clicks % count / shop_rate" },
]

[services.all]
features = ["engagement:score,ctr", "live", "engagement:unseen_us", "shop:rate"]
"#;

fn shop(dir: &std::path::Path) -> FeatureStore<RealEnv> {
    let store = open(dir);
    store.apply_toml(SHOP).unwrap_or_else(|e| panic!("{e}"));
    store
}

fn floats(dice: &mut Dice) -> f64 {
    let odd =
        [0.0, -0.0, 1.0, -1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, 5e-324, 0.1];
    if dice.below(3) == 0 {
        odd[dice.below(10) as usize]
    } else {
        dice.next() as i32 as f64 / 997.0
    }
}

fn ints(dice: &mut Dice) -> i64 {
    let odd = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, 7];
    if dice.below(3) == 0 { odd[dice.below(7) as usize] } else { dice.next() as i32 as i64 }
}

fn words(dice: &mut Dice) -> String {
    ["", "de", "DE", "é", "a\u{0}b", "x"][dice.below(6) as usize].to_owned()
}

/// A null now and then.
fn or_null(dice: &mut Dice, value: impl FnOnce(&mut Dice) -> Value) -> Value {
    if dice.below(6) == 0 { Value::Null } else { value(dice) }
}

fn stored(dice: &mut Dice) -> Vec<Value> {
    vec![
        or_null(dice, |dice| Value::Int64(ints(dice))),
        or_null(dice, |dice| Value::Int32(ints(dice) as i32)),
        or_null(dice, |dice| Value::Float32(floats(dice) as f32)),
        or_null(dice, |dice| Value::Float64(floats(dice))),
        or_null(dice, |dice| Value::String(words(dice))),
        or_null(dice, |dice| Value::Timestamp(T - dice.below(1 << 40) as i64)),
        or_null(dice, |dice| Value::Bool(dice.below(2) == 0)),
        Value::Null,
        Value::Null,
    ]
}

/// What training read, as values.
fn read_back(column: &ArrayRef) -> Vec<Value> {
    let one = |row| {
        if column.is_null(row) {
            return Value::Null;
        }
        match column.data_type() {
            DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
            DataType::Int32 => Value::Int32(column.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => Value::Int64(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Value::Float32(column.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => Value::Float64(column.as_primitive::<Float64Type>().value(row)),
            DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
            DataType::Timestamp(..) => {
                Value::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            other => panic!("{other}"),
        }
    };
    (0..column.len()).map(one).collect()
}

struct Asked {
    users: Vec<i64>,
    amount: Vec<Value>,
    count: Vec<Value>,
    word: Vec<Value>,
}

impl Asked {
    fn roll(dice: &mut Dice, rows: usize) -> Self {
        Asked {
            // Some are nowhere, some come twice.
            users: (0..rows).map(|_| dice.below(40) as i64).collect(),
            amount: (0..rows).map(|_| or_null(dice, |dice| Value::Float64(floats(dice)))).collect(),
            count: (0..rows).map(|_| or_null(dice, |dice| Value::Int64(ints(dice)))).collect(),
            word: (0..rows).map(|_| or_null(dice, |dice| Value::String(words(dice)))).collect(),
        }
    }

    fn entities(&self) -> EntityRows {
        EntityRows::new()
            .with("uid", self.users.iter().map(|id| KeyValue::Int(*id)).collect())
            .with_request("amount", self.amount.clone())
            .with_request("count", self.count.clone())
            .with_request("word", self.word.clone())
    }

    fn spine(&self, at: i64) -> MemorySpine {
        let floats = self.amount.iter().map(|value| match value {
            Value::Float64(v) => Some(*v),
            _ => None,
        });
        let ints = self.count.iter().map(|value| match value {
            Value::Int64(v) => Some(*v),
            _ => None,
        });
        let words = self.word.iter().map(|value| match value {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        });
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("label", Arc::new(Int64Array::from(self.users.clone())) as ArrayRef, true),
            ("uid", Arc::new(Int64Array::from(self.users.clone())) as ArrayRef, true),
            ("amount", Arc::new(floats.collect::<Float64Array>()) as ArrayRef, true),
            ("count", Arc::new(ints.collect::<Int64Array>()) as ArrayRef, true),
            ("word", Arc::new(words.collect::<StringArray>()) as ArrayRef, true),
            (
                "event_timestamp",
                Arc::new(TimestampMicrosecondArray::from(vec![at; self.users.len()])) as ArrayRef,
                true,
            ),
        ]);
        let batch = batch.unwrap();
        // Cut, so that rows are counted over batches.
        let cut = self.users.len() / 3;
        let parts = vec![batch.slice(0, cut), batch.slice(cut, self.users.len() - cut)];
        MemorySpine::new(batch.schema(), parts).unwrap()
    }
}

fn train(
    store: &FeatureStore<RealEnv>,
    ask: &Ask,
    spine: &MemorySpine,
) -> Vec<(String, Vec<Value>)> {
    let progress = Progress::new();
    let options = HistoricalOptions::default();
    let mut answer = store.get_historical_features(ask, &options, spine, &progress).unwrap();
    let schema = answer.rows.schema();
    let mut columns: Vec<(String, Vec<Value>)> =
        schema.fields().iter().map(|field| (field.name().clone(), Vec::new())).collect();
    while let Some(batch) = answer.rows.next_batch().unwrap() {
        assert_eq!(batch.schema(), schema);
        for ((_, values), column) in columns.iter_mut().zip(batch.columns()) {
            values.extend(read_back(column));
        }
    }
    columns
}

#[test]
fn what_is_served_is_what_is_trained_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let mut dice = Dice::new(7);
    let mut wrote: Vec<(i64, i64, Vec<Value>)> = Vec::new();
    for round in 0..12 {
        let rows: Vec<Row> = (0..30)
            .map(|_| {
                // Some are too old to be served.
                let (user, at) = (dice.below(30) as i64, T - dice.below(25 * HOUR as u64) as i64);
                let values = stored(&mut dice);
                wrote.push((user, at, values.clone()));
                Row::new([KeyValue::Int(user)], at, values)
            })
            .collect();
        put(&store, "engagement", &rows);
        if round % 3 == 1 {
            put(
                &store,
                "shop",
                &[Row::new([], T - HOUR + round, [Value::Float64(floats(&mut dice))])],
            );
        }
        let asked = Asked::roll(&mut dice, 60);
        let ask = Ask::service("all").at(T);
        let online = store.get_online_features(&ask, &asked.entities()).unwrap();
        let trained = train(&store, &ask, &asked.spine(T));
        let names: Vec<&str> = trained.iter().map(|(name, _)| name.as_str()).collect();
        let own = ["label", "uid", "amount", "count", "word", "event_timestamp"];
        assert_eq!(names[..6], own);
        let served: Vec<&str> = online.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names[6..], served, "columns in the order asked");
        for (column, (name, values)) in online.columns.iter().zip(&trained[6..]) {
            assert_eq!(column.values, *values, "round {round}, column {name}");
        }
        // What was written with the row is what an expression gives of it.
        let ctr = column_of(&online, "ctr");
        let columns = [Column::new("clicks", Scalar::Int64), Column::new("shown", Scalar::Int32)];
        let ratio =
            Expression::compile("clicks / shown", &columns, &Scalar::Float64.into()).unwrap();
        for (row, user) in asked.users.iter().enumerate() {
            if ctr.statuses[row] == ValueStatus::NotFound {
                assert!(!wrote.iter().any(|(of, ..)| of == user), "user {user}");
                continue;
            }
            let newest = wrote.iter().filter(|(of, ..)| of == user).map(|(_, at, _)| *at).max();
            assert_eq!(ctr.event_times[row], newest.unwrap());
            if ctr.statuses[row] == ValueStatus::OutsideMaxAge {
                continue;
            }
            let (.., values) =
                wrote.iter().rfind(|(of, at, _)| of == user && Some(*at) == newest).unwrap();
            assert_eq!(
                ctr.values[row],
                ratio.evaluate(&[&values[0], &values[1]], 0),
                "user {user}"
            );
        }
    }
}

fn column_of<'a>(
    answer: &'a thermae_features::store::OnlineAnswer,
    name: &str,
) -> &'a thermae_features::store::OnlineColumn {
    answer.columns.iter().find(|column| column.name == name).unwrap()
}

#[test]
fn statuses_say_how_a_computed_value_stands() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let mut values = stored(&mut Dice::new(1));
    values[0] = Value::Int64(6);
    values[1] = Value::Int32(2);
    put(&store, "engagement", &[Row::new([KeyValue::Int(1)], T, values)]);
    let users = EntityRows::new()
        .with("uid", vec![KeyValue::Int(1), KeyValue::Int(9)])
        .with_request("amount", vec![Value::Float64(1.0); 2])
        // Narrower than declared passes.
        .with_request("count", vec![Value::Int32(3), Value::Null])
        .with_request("word", vec![Value::from("x"); 2]);
    let ask = Ask::features(&["live:b", "engagement:clicks"]).at(T);
    let answer = store.get_online_features(&ask, &users).unwrap();
    assert_eq!(answer.columns.len(), 2, "inputs are not shown");
    let (b, clicks) = (&answer.columns[0], &answer.columns[1]);
    assert_eq!(b.values, [Value::Int64(16), Value::Null]);
    assert_eq!(b.statuses, [ValueStatus::Present, ValueStatus::NullValue]);
    assert_eq!(clicks.statuses, [ValueStatus::Present, ValueStatus::NotFound]);
    // A join key is request data where a field is called like it.
    let own = r#"
[on_demand.own]
request = [{ name = "uid", type = "int64" }]
features = [{ name = "double", type = "int64", expression = "uid * 2" }]
"#;
    store.apply_toml(&format!("{SHOP}{own}")).unwrap();
    let users = EntityRows::new().with("uid", vec![KeyValue::Int(21)]);
    let answer = store.get_online_features(&Ask::features(&["own:double"]), &users).unwrap();
    assert_eq!(answer.columns[0].values, [Value::Int64(42)]);
}

#[test]
fn what_a_request_lacks_or_brings_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    put(&store, "shop", &[Row::new([], T, [Value::Float64(1.0)])]);
    let ask = Ask::features(&["live:a"]).at(T);
    let users = EntityRows::new().with("uid", vec![KeyValue::Int(1), KeyValue::Int(2)]);
    let refused =
        |users: &EntityRows| store.get_online_features(&ask, users).unwrap_err().to_string();
    let told = refused(&users);
    for word in ["must bring \"amount\" (float64)", "it has: uid"] {
        assert!(told.contains(word), "{told}");
    }
    let users = users.with_request("count", vec![Value::Null; 2]);
    let users = users.with_request("word", vec![Value::Null; 2]);
    let wrong = users.clone().with_request("amount", vec![Value::Float64(1.0), Value::from("x")]);
    let told = refused(&wrong);
    assert!(
        told.contains("row 1") && told.contains("\"amount\"") && told.contains("string"),
        "{told}"
    );
    let short = users.clone().with_request("amount", vec![Value::Null]);
    assert!(refused(&short).contains("\"amount\" has 1 rows"), "{}", refused(&short));
    let twice = users.clone().with_request("word", vec![Value::Null; 2]);
    assert!(refused(&twice).contains("\"word\" is there twice"), "{}", refused(&twice));

    let asked = Asked::roll(&mut Dice::new(3), 4);
    let batch = asked.spine(T);
    let progress = Progress::new();
    let without = |column: &str, instead: Option<ArrayRef>| {
        use thermae_engine::training::Spine;
        let read: Vec<RecordBatch> = batch.read().unwrap().map(Result::unwrap).collect();
        let whole = arrow_array::RecordBatch::clone(&read[1]);
        let fields = whole.schema().fields().clone();
        let columns = fields.iter().zip(whole.columns()).filter_map(|(field, array)| {
            match (field.name() == column, &instead) {
                (true, None) => None,
                (true, Some(array)) => Some((field.name().clone(), Arc::clone(array))),
                (false, _) => Some((field.name().clone(), Arc::clone(array))),
            }
        });
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let spine = MemorySpine::new(batch.schema(), vec![batch]).unwrap();
        let options = HistoricalOptions::default();
        let answer = store.get_historical_features(&ask, &options, &spine, &progress);
        answer.err().map(|e| e.to_string()).unwrap_or_default()
    };
    let told = without("amount", None);
    assert!(
        told.contains("request field \"amount\"") && told.contains("there")
            || told.contains("It has"),
        "{told}"
    );
    let told = without("amount", Some(Arc::new(StringArray::from(vec!["x"; 3])) as ArrayRef));
    assert!(told.contains("\"amount\"") && told.contains("float64"), "{told}");
    let named = without("label", Some(Arc::new(Int64Array::from(vec![1; 3])) as ArrayRef));
    assert_eq!(named, "");
}

/// Definitions that are refused: what is put in the place of the on-demand view, and words of the reason.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "expression = \"clicks + nothing\"",
        &["on-demand view shop/live@1", "feature \"x\"", "column 10", "\"nothing\""],
    ),
    ("expression = \"clicks / 2\"", &["feature \"x\"", "gives float64", "declared is int64"]),
    ("expression = \"lang\"", &["gives string"]),
    ("expression = \"clicks +\"", &["feature \"x\"", "expression"]),
    ("expression = \" \"", &["needs an expression"]),
];

#[test]
fn expressions_that_do_not_fit_are_refused_when_they_are_applied() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let good = "{ name = \"b\", type = \"int64\", expression = \"clicks * count - shown\" }";
    assert!(SHOP.contains(good));
    for (expression, words) in REFUSED {
        let text =
            SHOP.replace(good, &format!("{{ name = \"x\", type = \"int64\", {expression} }}"));
        let told = store.apply_toml(&text).unwrap_err().to_string();
        for word in *words {
            assert!(told.contains(word), "{expression}: {word:?} is not in: {told}");
        }
        assert_eq!(store.registry().version(), 0, "nothing was applied");
    }
    // What an input is called twice cannot be told apart.
    let text = SHOP.replace("rename = { rate = \"shop_rate\" }", "rename = { rate = \"clicks\" }");
    let told = store.apply_toml(&text).unwrap_err().to_string();
    assert!(told.contains("two of its inputs are called \"clicks\""), "{told}");
    // A stored feature that is computed: with its line, and never from another computed one.
    for (from, to, words) in [
        ("clicks / shown", "ctr + 1", &["line 18", "\"ctr\"", "no column"][..]),
        ("clicks / shown", "clicks", &["line 18", "gives int64"]),
        (
            "type = \"float64\", expression",
            "type = \"float64\", default = 1, expression",
            &["line 18", "no default"],
        ),
    ] {
        let told = store.apply_toml(&SHOP.replacen(from, to, 1)).unwrap_err().to_string();
        for word in words {
            assert!(told.contains(word), "{from} -> {to}: {word:?} is not in: {told}");
        }
    }
    store.apply_toml(SHOP).unwrap();
    // A change of an input's view under which the expressions would no longer fit is refused.
    let two = SHOP.replace("[views.shop]\nttl = \"0\"", "[views.\"shop@2\"]\nttl = \"0\"").replace(
        "{ name = \"rate\", type = \"float64\" }",
        "{ name = \"rate\", type = \"string\" }",
    );
    let told = store.apply_toml(&two).unwrap_err().to_string();
    assert!(told.contains("shop/live@1") && told.contains("string"), "{told}");
    // What is computed does not change under its version, nor does what was stored become computed.
    for (from, to, word) in [
        ("clicks / shown", "shown / clicks", "the expression of feature \"ctr\" changes"),
        (
            ", expression = \"clicks / shown\"",
            "",
            "the expression of feature \"ctr\" changes or goes",
        ),
        (
            "{ name = \"weight\", type = \"float64\" }",
            "{ name = \"weight\", type = \"float64\", expression = \"score\" }",
            "\"weight\" was stored",
        ),
    ] {
        let told = store.apply_toml(&SHOP.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(told.contains(word), "{from} -> {to}: {told}");
    }
    // A new one may come.
    let more = SHOP.replace(
        "expression = \"as_of() - seen\" },\n]\n\n[views.shop]",
        "expression = \"as_of() - seen\" },\n  { name = \"twice\", type = \"int64\", expression = \"clicks * 2\" },\n]\n\n[views.shop]",
    );
    assert_ne!(more, SHOP);
    store.apply_toml(&more).unwrap();
    let old = store.registry().version();
    assert_eq!(old, 2);
}

/// A tree over integers and truths, and what a naive model gives for it.
enum Tree {
    Column(usize),
    Literal(i64),
    Binary(&'static str, Box<Tree>, Box<Tree>),
    If(Box<Tree>, &'static str, Box<Tree>, Box<Tree>, Box<Tree>),
    Coalesce(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn roll(dice: &mut Dice, depth: u32) -> Self {
        let sub = |dice: &mut Dice| Box::new(Tree::roll(dice, depth - 1));
        match if depth == 0 { dice.below(2) } else { dice.below(8) } {
            0 => Tree::Column(dice.below(3) as usize),
            1 => Tree::Literal(dice.below(9) as i64),
            2 => Tree::Coalesce(sub(dice), sub(dice)),
            3 => {
                let op = ["<", "<=", "=", "<>", ">", ">="][dice.below(6) as usize];
                Tree::If(sub(dice), op, sub(dice), sub(dice), sub(dice))
            }
            _ => Tree::Binary(["+", "-", "*", "%"][dice.below(4) as usize], sub(dice), sub(dice)),
        }
    }

    fn text(&self) -> String {
        match self {
            Tree::Column(at) => ["x", "y", "z"][*at].to_owned(),
            Tree::Literal(v) => v.to_string(),
            Tree::Binary(op, a, b) => format!("({} {op} {})", a.text(), b.text()),
            Tree::If(a, op, b, yes, no) => {
                let (a, b) = (a.text(), b.text());
                format!("case when {a} {op} {b} then {} else {} end", yes.text(), no.text())
            }
            Tree::Coalesce(a, b) => format!("coalesce({}, {})", a.text(), b.text()),
        }
    }

    fn model(&self, row: &[Option<i64>; 3]) -> Option<i64> {
        match self {
            Tree::Column(at) => row[*at],
            Tree::Literal(v) => Some(*v),
            Tree::Binary(op, a, b) => {
                let (a, b) = (i128::from(a.model(row)?), i128::from(b.model(row)?));
                let exact = match *op {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a * b,
                    _ if b == 0 => return None,
                    _ => a % b,
                };
                i64::try_from(exact).ok()
            }
            Tree::If(a, op, b, yes, no) => {
                let holds = a.model(row).zip(b.model(row)).is_some_and(|(a, b)| match *op {
                    "<" => a < b,
                    "<=" => a <= b,
                    "=" => a == b,
                    "<>" => a != b,
                    ">" => a > b,
                    _ => a >= b,
                });
                if holds { yes.model(row) } else { no.model(row) }
            }
            Tree::Coalesce(a, b) => a.model(row).or_else(|| b.model(row)),
        }
    }
}

#[test]
fn generated_expressions_give_what_a_naive_model_gives() {
    let mut dice = Dice::new(11);
    let columns = ["x", "y", "z"].map(|name| Column::new(name, Scalar::Int64));
    for round in 0..3_000 {
        let tree = Tree::roll(&mut dice, 4);
        let text = tree.text();
        let expression = Expression::compile(&text, &columns, &Scalar::Int64.into());
        let expression = expression.unwrap_or_else(|e| panic!("round {round}: {text}: {e}"));
        for _ in 0..8 {
            let row: [Option<i64>; 3] =
                std::array::from_fn(|_| (dice.below(5) > 0).then(|| ints(&mut dice)));
            let values = row.map(|value| value.map_or(Value::Null, Value::Int64));
            let given = expression.evaluate(&[&values[0], &values[1], &values[2]], 0);
            let model = tree.model(&row).map_or(Value::Null, Value::Int64);
            assert_eq!(given, model, "round {round}: {text} of {row:?}");
        }
    }
}
