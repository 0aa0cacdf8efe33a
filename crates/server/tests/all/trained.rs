//! On-demand features in training reads over the wire: what is served is what is trained on, bit for bit; what a spine
//! lacks or has wrong is named; and by `thermae history`.

use std::io::Read;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::DataType;
use serde_json::{Value as Json, json};
use thermae_client::{
    Client, ComputedQuery, Config, Error, ErrorCode, HistoryQuery, HistoryTally, HistoryView,
    ReadOptions, WriteBatch,
};
use thermae_formats::{KeyValue, NO_TIME, Value};

use crate::feast_http::apply;
use crate::process::Server;

const SHOP: &str = r#"
format = 1
project = "shop"

[entities.user]
join_keys = [{ name = "uid", type = "int64" }]

[views.engagement]
entities = ["user"]
ttl = "2h"
features = [
  { name = "clicks", type = "int64" },
  { name = "shown", type = "int32" },
  { name = "score", type = "float32" },
  { name = "weight", type = "float64" },
  { name = "lang", type = "string" },
  { name = "seen", type = "timestamp" },
  { name = "ctr", type = "float64", expression = "clicks / shown" },
]

[views.prices]
ttl = "0"
features = [{ name = "rate", type = "float64" }]

[on_demand.live]
inputs = ["engagement", { view = "prices", rename = { rate = "shop_rate" } }]
request = [
  { name = "amount", type = "float64" },
  { name = "count", type = "int64" },
  { name = "word", type = "string" },
]
features = [
  { name = "a", type = "float64", expression = "amount * weight + score" },
  { name = "b", type = "int64", expression = "clicks * count - shown" },
  { name = "c", type = "float32", expression = "cast(ctr / coalesce(shop_rate, 2) as float32)" },
  { name = "d", type = "bool", expression = "(lang = word or count > clicks) or seen is null" },
  { name = "e", type = "string", expression = "upper(lang) || '-' || coalesce(word, '?')" },
  { name = "f", type = "int64", expression = "as_of() - seen" },
  { name = "g", type = "float64", expression = "case when score > amount then power(score, 2) else ln(abs(weight)) end" },
  { name = "h", type = "timestamp", expression = "greatest(seen, cast(count as timestamp))" },
  { name = "i", type = "int32", expression = "cast(amount as int32)" },
]

[on_demand.own]
request = [{ name = "uid", type = "int64" }, { name = "amount", type = "float64" }]
features = [
  { name = "twice", type = "float64", expression = "amount * 2 + uid" },
  { name = "hour", type = "int64", expression = "hour(as_of())" },
]

[services.all]
features = ["engagement:score,ctr", "live", "own:twice", "prices:rate"]
"#;

/// What is asked for, as COMPUTE and HISTORY take it.
const ASKED: [(&str, &[&str]); 5] = [
    ("own", &["hour", "twice"]),
    ("engagement", &["score", "ctr"]),
    ("live", &[]),
    ("prices", &["rate"]),
    ("engagement", &["lang"]),
];
const T: i64 = 1_700_000_000_000_000;
const HOUR: i64 = 3_600_000_000;
const ROUNDS: i64 = 8;

/// Values by column, in order.
type Columns = Vec<(String, Vec<Value>)>;

struct Shop {
    folder: tempfile::TempDir,
    server: Server,
    client: Client,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        apply(&server, &folder, SHOP);
        let client = Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap();
        Self { folder, server, client }
    }

    fn write(&self, view: &str, rows: &[(Vec<KeyValue>, i64, Vec<Value>)]) {
        let mut batch = WriteBatch::put(&self.client.view("shop", view).unwrap());
        for (key, at, values) in rows {
            batch.push(key, *at, NO_TIME, values).unwrap();
        }
        assert!(self.client.write(&mut batch).unwrap().all_ok());
    }

    /// A training read of what is asked for; the answer's columns, and what was found.
    fn train(
        &self,
        query: &HistoryQuery,
        spine: &[RecordBatch],
    ) -> Result<(Columns, Vec<HistoryTally>), Error> {
        let history = self.client.history(query)?;
        let mut writer = StreamWriter::try_new(history, &spine[0].schema()).unwrap();
        spine.iter().for_each(|batch| writer.write(batch).unwrap());
        let mut answer = writer.into_inner().unwrap().join()?;
        // Why it failed, if it did.
        answer.wait(|_| {})?;
        let mut answer = StreamReader::try_new(answer, None).unwrap();
        let schema = answer.schema();
        let mut columns: Columns =
            schema.fields().iter().map(|field| (field.name().clone(), Vec::new())).collect();
        for batch in answer.by_ref() {
            for ((_, values), column) in columns.iter_mut().zip(batch.unwrap().columns()) {
                values.extend(read_back(column));
            }
        }
        let answer = answer.get_mut();
        answer.read_to_end(&mut Vec::new()).unwrap();
        Ok((columns, answer.tallies().to_vec()))
    }
}

fn query(asked: &[(&str, &[&str])]) -> HistoryQuery {
    let view = |(view, features): &(&str, &[&str])| HistoryView {
        view: (*view).to_owned(),
        features: features.iter().map(ToString::to_string).collect(),
        ..HistoryView::default()
    };
    HistoryQuery {
        time_column: "at".to_owned(),
        views: asked.iter().map(view).collect(),
        ..HistoryQuery::default()
    }
}

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

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % count
    }

    fn float(&mut self) -> f64 {
        let odd =
            [0.0, -0.0, 1.0, -1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, 5e-324, 0.1];
        match self.below(3) {
            0 => odd[self.below(10) as usize],
            _ => self.below(1 << 32) as i32 as f64 / 997.0,
        }
    }

    fn int(&mut self) -> i64 {
        let odd = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, 7];
        match self.below(3) {
            0 => odd[self.below(7) as usize],
            _ => self.below(1 << 32) as i32 as i64,
        }
    }

    fn word(&mut self) -> &'static str {
        ["", "de", "DE", "é", "a\u{0}b", "x"][self.below(6) as usize]
    }

    /// A null now and then.
    fn or_null<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(6) > 0).then(|| value(self))
    }
}

fn value<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::Null, Into::into)
}

/// Rows of both views, none older than `from` or newer than `to`, some at that very time.
fn write(shop: &Shop, dice: &mut Dice, from: i64, to: i64) {
    let rows: Vec<_> = (0..25)
        .map(|_| {
            let values = vec![
                value(dice.or_null(Dice::int)),
                value(dice.or_null(|dice| dice.int() as i32)),
                value(dice.or_null(|dice| dice.float() as f32)),
                value(dice.or_null(Dice::float)),
                value(dice.or_null(Dice::word)),
                dice.or_null(|dice| Value::Timestamp(to - dice.below(1 << 40) as i64))
                    .unwrap_or(Value::Null),
                Value::Null,
            ];
            let at = to - [0, dice.below((to - from) as u64) as i64][dice.below(2) as usize];
            (vec![KeyValue::Int(dice.below(30) as i64)], at, values)
        })
        .collect();
    shop.write("engagement", &rows);
    if dice.below(2) == 0 {
        shop.write("prices", &[(vec![], to, vec![Value::Float64(dice.float())])]);
    }
}

/// Whom features are asked of, and what the request brings: a spine's row, all but its time.
struct Row {
    uid: i64,
    amount: Option<f64>,
    count: Option<i64>,
    word: Option<&'static str>,
}

impl Row {
    fn roll(dice: &mut Dice) -> Self {
        Row {
            // Some are nowhere.
            uid: dice.below(40) as i64,
            amount: dice.or_null(Dice::float),
            count: dice.or_null(Dice::int),
            word: dice.or_null(Dice::word),
        }
    }
}

/// The spine in two batches, with a column that nothing needs.
fn spine(rows: &[(i64, Row)]) -> Vec<RecordBatch> {
    let of = rows.iter();
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "word",
            Arc::new(of.clone().map(|(_, r)| r.word).collect::<StringArray>()) as ArrayRef,
            true,
        ),
        ("label", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)) as ArrayRef, true),
        ("uid", Arc::new(of.clone().map(|(_, r)| Some(r.uid)).collect::<Int64Array>()), true),
        ("amount", Arc::new(of.clone().map(|(_, r)| r.amount).collect::<Float64Array>()), true),
        ("count", Arc::new(of.clone().map(|(_, r)| r.count).collect::<Int64Array>()), true),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(of.map(|(at, _)| *at))), true),
    ])
    .unwrap();
    let cut = rows.len() / 3;
    vec![batch.slice(0, cut), batch.slice(cut, rows.len() - cut)]
}

/// What COMPUTE answers at a time, by column and row.
fn serve(shop: &Shop, at: i64, rows: &[(i64, Row)]) -> Columns {
    let pick = |(view, features): &(&str, &[&str])| match features.is_empty() {
        true => (*view).to_owned(),
        false => format!("{view}:{}", features.join(",")),
    };
    let query =
        ComputedQuery { features: ASKED.iter().map(pick).collect(), ..ComputedQuery::default() };
    let plan = shop.client.prepare_computed(&query).unwrap();
    let mut asked = plan.rows();
    for (_, row) in rows {
        let request = plan.request().iter().map(|field| match field.name.as_str() {
            "amount" => value(row.amount),
            "count" => value(row.count),
            _ => value(row.word),
        });
        asked.push(&[KeyValue::Int(row.uid)], &request.collect::<Vec<_>>()).unwrap();
    }
    let options = ReadOptions { read_time: at, ..ReadOptions::default() };
    let answer = shop.client.read_computed(&asked, &options).unwrap();
    let columns = plan.columns().iter().enumerate().map(|(column, named)| {
        let values = (0..rows.len()).map(|row| answer.value(row, column).unwrap());
        (named.name.clone(), values.collect())
    });
    columns.collect()
}

#[test]
fn what_the_wire_serves_at_a_time_is_what_it_trains_on_as_of_that_time_bit_for_bit() {
    let shop = Shop::new();
    let mut dice = Dice(11);
    let mut served = Columns::new();
    let mut asked = Vec::new();
    for round in 1..=ROUNDS {
        let now = T + round * HOUR;
        write(&shop, &mut dice, now - HOUR, now);
        let rows: Vec<_> = (0..40).map(|_| (now, Row::roll(&mut dice))).collect();
        for (at, (name, values)) in serve(&shop, now, &rows).into_iter().enumerate() {
            match served.get_mut(at) {
                Some((known, all)) => {
                    assert_eq!(*known, name);
                    all.extend(values);
                }
                None => served.push((name, values)),
            }
        }
        asked.extend(rows);
    }
    let (trained, tallies) = shop.train(&query(&ASKED), &spine(&asked)).unwrap();
    let names = |columns: &[(String, Vec<Value>)]| -> Vec<String> {
        columns.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&trained[..6]), ["word", "label", "uid", "amount", "count", "at"]);
    assert_eq!(names(&trained[6..]), names(&served), "columns in the order asked");
    for ((name, served), (_, trained)) in served.iter().zip(&trained[6..]) {
        assert!(served.iter().any(|value| !value.is_null()), "{name} says nothing");
        for (row, (served, trained)) in served.iter().zip(trained).enumerate() {
            assert_eq!(served, trained, "column {name}, row {row}");
        }
    }
    // Views that were asked for, in their order; what is computed reads those and one more way.
    assert_eq!(tallies.len(), 3);
    let rows = asked.len() as u64;
    assert!(tallies[0].present > 0 && tallies[0].outside_max_age > 0, "{tallies:?}");
    assert!(tallies[1].present > 0 && tallies[1].present <= rows, "{tallies:?}");
    assert_eq!(tallies[0], tallies[2]);
}

#[test]
fn what_is_computed_of_the_spine_alone_needs_no_stored_feature() {
    let shop = Shop::new();
    let mut dice = Dice(3);
    let rows: Vec<_> = (0..20_000).map(|at| (T + at * HOUR, Row::roll(&mut dice))).collect();
    let spine = spine(&rows);
    let (columns, tallies) = shop.train(&query(&[("own", &[])]), &spine).unwrap();
    assert!(tallies.is_empty(), "nothing stored is read");
    for (row, (at, of)) in rows.iter().enumerate() {
        let twice = of.amount.map(|amount| amount * 2.0 + of.uid as f64);
        let same = match (&columns[6].1[row], twice) {
            (Value::Float64(found), Some(twice)) => {
                found.to_bits() == twice.to_bits() || found.is_nan() && twice.is_nan()
            }
            (found, twice) => found.is_null() && twice.is_none(),
        };
        assert!(same, "row {row}: {:?}, {twice:?}", columns[6].1[row]);
        let hour = at / HOUR % 24;
        assert_eq!(columns[7].1[row], Value::Int64(hour), "row {row}");
    }
    // Its times are checked all the same.
    let mut columns = spine[0].columns().to_vec();
    columns[5] = arrow_array::new_null_array(columns[5].data_type(), spine[0].num_rows());
    let timeless = RecordBatch::try_new(spine[0].schema(), columns).unwrap();
    let error = shop.train(&query(&[("own", &[])]), &[timeless]).unwrap_err().to_string();
    assert!(error.contains("row 1") && error.contains("\"at\""), "{error}");
}

#[test]
fn what_a_spine_lacks_or_has_wrong_is_named_and_so_is_what_cannot_be_asked() {
    let shop = Shop::new();
    let whole = &spine(&[
        (T, Row { uid: 1, amount: None, count: None, word: None }),
        (T, Row { uid: 2, amount: Some(1.0), count: Some(2), word: Some("x") }),
    ])[1];
    let without = |name: &str| {
        let at = whole.schema().index_of(name).unwrap();
        let others: Vec<usize> = (0..whole.num_columns()).filter(|other| *other != at).collect();
        whole.project(&others).unwrap()
    };
    let with = |name: &str, column: ArrayRef| {
        let fields = whole.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        let columns = fields.iter().zip(whole.columns());
        let columns = columns.map(|(field, own)| {
            (field.as_str(), if field == name { Arc::clone(&column) } else { Arc::clone(own) })
        });
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let rows = whole.num_rows();
    let texts = || Arc::new(StringArray::from(vec!["1"; rows])) as ArrayRef;
    let floats = || Arc::new(Float64Array::from(vec![1.0; rows])) as ArrayRef;
    for (features, spine, words) in [
        (&["live:a"][..], without("amount"), &["request field \"amount\"", "word, label"][..]),
        (&["live:a"], without("uid"), &["\"uid\"", "join key"]),
        (&["live:a"], with("amount", texts()), &["column \"amount\"", "Utf8", "float64"]),
        (&["live:a"], with("count", floats()), &["column \"count\"", "Float64", "int64"]),
        (&["own:twice"], with("uid", floats()), &["column \"uid\"", "Float64", "int64"]),
        (&["own:twice", "own:twice"], whole.clone(), &["two columns \"twice\""]),
        (&[], whole.clone(), &["no features are asked for"]),
        (&["li ve:a"], whole.clone(), &["li ve"]),
        (&["live@0:a"], whole.clone(), &["live@0"]),
        (&["a/b/live:a"], whole.clone(), &["b/live"]),
        (&[":a"], whole.clone(), &["object"]),
    ] {
        let asked: Vec<(&str, Vec<&str>)> = features
            .iter()
            .map(|text| text.split_once(':').map(|(view, of)| (view, vec![of])).unwrap())
            .collect();
        let asked: Vec<_> = asked.iter().map(|(view, of)| (*view, of.as_slice())).collect();
        let error = shop.train(&query(&asked), &[spine]).unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Malformed), "{features:?}: {error}");
        let said = error.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{features:?}: {said}");
    }
    for (asked, code) in [
        (("nowhere", &["a"][..]), ErrorCode::UnknownView),
        (("live@2", &["a"]), ErrorCode::UnknownView),
        (("live", &["nothing"]), ErrorCode::UnknownFeature),
    ] {
        let error = shop.train(&query(&[asked]), std::slice::from_ref(whole)).unwrap_err();
        assert_eq!(error.code(), Some(code), "{asked:?}: {error}");
    }
    // Its inputs say what its keys are called.
    let mut renamed = query(&[("live", &["a"])]);
    renamed.views[0].columns = vec![("uid".to_owned(), "label".to_owned())];
    let error = shop.train(&renamed, std::slice::from_ref(whole)).unwrap_err().to_string();
    assert!(error.contains("no join key \"uid\""), "{error}");
    // Nulls are values; names may be full, and aliases theirs.
    let mut named = query(&[("live", &["a", "e"])]);
    (named.full_names, named.views[0].alias) = (true, "now".to_owned());
    let (columns, _) = shop.train(&named, &[without("label")]).unwrap();
    let names: Vec<&str> = columns[5..].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["now__a", "now__e"]);
    assert!(columns[5].1.iter().chain(&columns[6].1).all(Value::is_null), "nobody is known");
}

/// A spine as a person has it: user 1 twice, nobody, and somebody of whom nothing is known.
const SPINE: &str = "\
note,uid,amount,count,word,event_time
a,1,1.50,2,x,2023-11-14T00:30:00Z
b,1,2,,,2023-11-14T01:00:00Z
c,,,1,x,2023-11-14T01:30:00Z
d,9,2,3,y,2023-11-14T01:30:00Z
";

impl Shop {
    /// With two rows of user 1.
    fn with_rows() -> Self {
        let (shop, midnight) = (Self::new(), T - T % (24 * HOUR));
        let row = |at, clicks, weight| {
            let values = vec![
                Value::Int64(clicks),
                Value::Int32(4),
                Value::Float32(0.5),
                Value::Float64(weight),
                Value::from("de"),
                Value::Null,
                Value::Null,
            ];
            (vec![KeyValue::Int(1)], at, values)
        };
        shop.write("engagement", &[row(midnight, 8, 2.0), row(midnight + HOUR, 9, 3.0)]);
        shop
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// `thermae history`: its exit code and all that it said.
    fn history(&self, spine: &str, out: &str, arguments: &[&str]) -> (i32, String) {
        self.server.told(&[&["history", "--spine", spine, "--out", out], arguments].concat())
    }
}

#[test]
fn the_command_line_trains_on_computed_features() {
    let shop = Shop::with_rows();
    let (spine, out) = (shop.file("s.csv", SPINE), shop.path("o.csv"));
    let asked = ["live:a,b", "engagement:clicks", "now=live:e", "own:twice", "--json"];
    let (code, told) = shop.history(&spine, &out, &asked);
    assert_eq!(code, 0, "{told}");
    let told: Json = serde_json::from_str(&told).unwrap();
    let expected = json!([
        {"view": "live", "as": null, "features": ["a", "b"], "computed": true},
        {"view": "shop/engagement", "version": 1, "as": null, "features": ["clicks"],
            "found": 2, "expired": 0, "absent": 2},
        {"view": "live", "as": "now", "features": ["e"], "computed": true},
        {"view": "own", "as": null, "features": ["twice"], "computed": true},
    ]);
    assert_eq!(told["views"], expected);
    let joined = "\
note,uid,amount,count,word,event_time,a,b,clicks,e,twice
a,1,1.5,2,x,2023-11-14T00:30:00Z,3.5,12,8,DE-x,4.0
b,1,2.0,,,2023-11-14T01:00:00Z,6.5,,9,DE-?,5.0
c,,,1,x,2023-11-14T01:30:00Z,,,,,
d,9,2.0,3,y,2023-11-14T01:30:00Z,,,,,13.0
";
    assert_eq!(std::fs::read_to_string(&out).unwrap(), joined);
    // A Parquet's columns are taken as they are.
    let parquet = shop.path("o.parquet");
    let (code, told) = shop.history(&spine, &parquet, &["own"]);
    assert!(code == 0 && told.contains("computed") && told.contains("4 rows"), "{told}");
    let (code, told) = shop.history(&parquet, &out, &["live:a", "--full-names"]);
    assert_eq!(code, 0, "{told}");
    let again = std::fs::read_to_string(&out).unwrap();
    let last: Vec<&str> = again.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(last, ["live__a", "3.5", "6.5", "", ""]);
}

#[test]
fn the_command_line_names_what_is_wrong_with_computed_features_or_their_spine() {
    let shop = Shop::with_rows();
    let spine = shop.file("s.csv", SPINE);
    let no_amount = shop.file("m.csv", "uid,event_time\n1,2024-01-01\n");
    let bad = shop.file("b.csv", "uid,amount,event_time\n1,1,2024-01-01\n1,far,2024-01-01\n");
    let out = shop.path("none.csv");
    for (spine, arguments, code, words) in [
        (&no_amount, &["own"][..], 1, &["\"amount\"", "m.csv", "features are computed of"][..]),
        (&bad, &["own"], 1, &["b.csv", "row 2", "\"amount\"", "far"]),
        (&spine, &["own:height"], 1, &["no feature", "height", "twice"]),
        (&spine, &["nobody"], 1, &["nobody"]),
        (&spine, &["own:twice", "x=own:twice"], 1, &["\"twice\"", "--full-names"]),
        (&spine, &["own", "--map", "label=uid"], 2, &["--map label=uid", "no feature view"]),
    ] {
        let (found, said) = shop.history(spine, &out, arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert!(!std::path::Path::new(&out).exists());
    }
}

#[test]
fn an_on_demand_view_may_be_called_as_a_feature_view_of_another_project_is() {
    let shop = Shop::with_rows();
    let other = r#"
format = 1
project = "other"
[on_demand.engagement]
request = [{ name = "amount", type = "float64" }]
features = [{ name = "half", type = "float64", expression = "amount / 2" }]
"#;
    apply(&shop.server, &shop.folder, other);
    let (spine, out) = (shop.file("s.csv", SPINE), shop.path("o.csv"));
    let (code, told) =
        shop.history(&spine, &out, &["other/engagement:half", "shop/engagement:clicks"]);
    assert_eq!(code, 0, "{told}");
    let joined = std::fs::read_to_string(&out).unwrap();
    assert!(joined.contains("2023-11-14T00:30:00Z,0.75,8\n"), "{joined}");
}
