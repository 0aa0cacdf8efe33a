//! `thermae history`: the example's flights against a plain computation, files of every format, and what it
//! says of every mistake.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value as Json, json};

use crate::process::{Server, thermae};

const HOUR_US: i64 = 3_600_000_000;

pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nycflights13").join(name)
}

pub fn read(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.with_batch_size(10_000).build().unwrap().map(Result::unwrap).collect()
}

/// One column of all batches, by row.
pub fn column<T>(
    batches: &[RecordBatch],
    name: &str,
    of: impl Fn(&dyn Array, usize) -> T,
) -> Vec<T> {
    let rows = |batch: &RecordBatch| {
        let array = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
        (0..batch.num_rows()).map(|row| of(array.as_ref(), row)).collect::<Vec<_>>()
    };
    batches.iter().flat_map(rows).collect()
}

pub fn text(array: &dyn Array, row: usize) -> String {
    array.as_string::<i32>().value(row).to_owned()
}

pub fn time(array: &dyn Array, row: usize) -> i64 {
    array.as_primitive::<TimestampMicrosecondType>().value(row)
}

/// The bits of a float64, none if it is null.
fn bits(array: &dyn Array, row: usize) -> Option<u64> {
    let values = array.as_primitive::<Float64Type>();
    array.is_valid(row).then(|| values.value(row).to_bits())
}

#[test]
fn every_flight_gets_the_weather_of_its_scheduled_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let path = |name: &str| example(name).to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let output = server.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["apply", &path("features.toml")]);
    run(&["ingest", "weather_by_origin", &path("data/weather.parquet")]);
    let out = folder.path().join("train.parquet");
    let told = run(&[
        "history",
        "weather_by_origin:temp,wind_gust",
        "--spine",
        &path("data/flights.parquet"),
        "--event-time",
        "sched_dep",
        "--out",
        out.to_str().unwrap(),
        "--json",
    ]);
    let told: Json = serde_json::from_str(&told).unwrap();

    let weather = read(&example("data/weather.parquet"));
    let airports = column(&weather, "origin", text);
    let hours = column(&weather, "time_hour", time);
    let temps = column(&weather, "temp", bits);
    let gusts = column(&weather, "wind_gust", bits);
    // Of rows of one hour the last in the file is the newest.
    let mut known: HashMap<String, BTreeMap<i64, usize>> = HashMap::new();
    for (row, (airport, hour)) in airports.iter().zip(hours).enumerate() {
        known.entry(airport.clone()).or_default().insert(hour, row);
    }
    let spine = read(&example("data/flights.parquet"));
    let (origins, times) = (column(&spine, "origin", text), column(&spine, "sched_dep", time));
    let expected = origins.iter().zip(&times).map(|(origin, time)| {
        let last = known[origin].range(time - 3 * HOUR_US..=*time).next_back();
        last.map(|(_, row)| (temps[*row], gusts[*row]))
    });
    let expected: Vec<_> = expected.collect();
    let answer = read(&out);
    let found: Vec<_> =
        column(&answer, "temp", bits).into_iter().zip(column(&answer, "wind_gust", bits)).collect();
    assert_eq!((found.len(), expected.len()), (170_618, 170_618));
    for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(*found, expected.unwrap_or_default(), "row {row}");
    }
    let count = expected.iter().filter(|row| row.is_some()).count();
    let view = &told["views"][0];
    assert_eq!((&told["rows"], &view["found"]), (&json!(170_618), &json!(count)), "{told}");
    let (expired, absent) = (view["expired"].as_u64(), view["absent"].as_u64());
    assert_eq!(expired.unwrap() + absent.unwrap(), 170_618 - count as u64);
    // The spine's own columns, in its order.
    let names: Vec<_> = spine[0].schema().fields().iter().map(|f| f.name().clone()).collect();
    for (answer, spine) in answer.iter().zip(&spine) {
        for name in &names {
            let is_same = answer.column_by_name(name) == spine.column_by_name(name);
            assert!(is_same, "{name}");
        }
    }
    assert_eq!(server.stop(), 0);
}

const VIEWS: &str = r#"
format = 1
project = "shop"
[entities.user]
join_keys = [{ name = "user_id", type = "int64" }]
[entities.item]
join_keys = [{ name = "item", type = "string" }]
[views.users]
entities = ["user"]
ttl = "24h"
features = [{ name = "age", type = "int32" }, { name = "tags", type = "list<string>" }]
[views.items]
entities = ["item"]
ttl = "0"
features = [{ name = "price", type = "float64" }, { name = "seen", type = "timestamp" }]
"#;

const USERS: &str = "\
user_id,age,tags,event_time,created_time
1,10,[],2024-01-01T00:00:00Z,2024-01-01T00:00:00Z
1,11,\"[\"\"a\"\"]\",2024-01-01T06:00:00Z,2024-01-03T00:00:00Z
1,12,\"[\"\"a\"\",\"\"b, c\"\"]\",2024-01-02T00:00:00Z,2024-01-02T00:00:00Z
2,20,,2024-01-01T00:00:00Z,
";

const ITEMS: &str = "\
item,price,seen,event_time
pen,1.5,2023-12-31T00:00:00Z,2024-01-01T00:00:00Z
cup,,2023-12-30T00:00:00Z,2024-01-01T00:00:00Z
";

struct Shop {
    folder: tempfile::TempDir,
    server: Server,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        let shop = Self { folder, server };
        for (name, content) in [("v.toml", VIEWS), ("users.csv", USERS), ("items.csv", ITEMS)] {
            shop.file(name, content);
        }
        for arguments in [
            &["apply", "v.toml"][..],
            &["ingest", "users", "users.csv"],
            &["ingest", "items", "items.csv"],
        ] {
            let (file, before) = arguments.split_last().unwrap();
            let (code, said) = shop.run(&[before, &[shop.path(file).as_str()]].concat());
            assert_eq!(code, 0, "{said}");
        }
        shop
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Exit code and all that was said.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        self.server.told(arguments)
    }

    /// A training read; the lines of its answer.
    fn join(&self, spine: &str, out: &str, arguments: &[&str]) -> Vec<String> {
        let out = self.path(out);
        let all = [&["history", "--spine", spine, "--out", &out], arguments].concat();
        let (code, said) = self.run(&all);
        assert_eq!(code, 0, "{said}");
        std::fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_csv_keeps_its_columns_and_order_and_each_row_sees_its_own_time() {
    let shop = Shop::new();
    let spine = "\
note,user_id,item,event_timestamp,label
a,1,pen,2024-01-01T12:00:00Z,1.50
b,1,cup,2024-01-03T12:00:00Z,
c,,pen,2023-12-31T23:59:59.999999Z,007
d,1,pen,2024-01-01T05:59:59Z,x
d,1,pen,2024-01-01T05:59:59Z,x
e,2,cap,2024-01-02T00:00:00Z,
";
    let spine = shop.file("s.csv", spine);
    let joined = shop.join(&spine, "o.csv", &["users", "items:seen,price"]);
    let expected = "\
note,user_id,item,event_timestamp,label,age,tags,seen,price
a,1,pen,2024-01-01T12:00:00Z,1.50,11,\"[\"\"a\"\"]\",2023-12-31T00:00:00Z,1.5
b,1,cup,2024-01-03T12:00:00Z,,,,2023-12-30T00:00:00Z,
c,,pen,2023-12-31T23:59:59.999999Z,007,,,,
d,1,pen,2024-01-01T05:59:59Z,x,10,[],2023-12-31T00:00:00Z,1.5
d,1,pen,2024-01-01T05:59:59Z,x,10,[],2023-12-31T00:00:00Z,1.5
e,2,cap,2024-01-02T00:00:00Z,,20,,,";
    assert_eq!(joined.join("\n"), expected);
    // Only what was known: the correction of 06:00 came two days later, and user 2 has no created time.
    let known = shop.join(&spine, "k.csv", &["users:age", "--as-of-known"]);
    let ages: Vec<&str> = known.iter().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(ages, ["age", "10", "", "", "10", "10", ""]);
}

#[test]
fn an_ndjson_spine_and_renamed_columns_give_the_same_and_one_view_is_joined_twice() {
    let shop = Shop::new();
    let spine = shop.file(
        "s.ndjson",
        "{\"buyer\": 1, \"friend\": 2, \"at\": 1704110400, \"label\": 0.5, \"ok\": true, \"x\": [1]}\n\
         {\"buyer\": null, \"friend\": 1, \"at\": 1704110400, \"label\": 2, \"x\": {\"a\": \"b\"}}\n",
    );
    let arguments = [
        "u=users:age",
        "f=users:age",
        "--full-names",
        "--map",
        "buyer=user_id",
        "--map",
        "friend=f.user_id",
        "--event-time",
        "at",
        "--time-unit",
        "s",
        "--threads",
        "1",
        "--memory",
        "1MiB",
    ];
    let joined = shop.join(&spine, "o.ndjson", &arguments);
    let rows: Vec<Json> = joined.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at = "2024-01-01T12:00:00Z";
    let first = json!({"buyer": 1, "friend": 2, "at": at, "label": 0.5, "ok": true, "x": "[1]",
        "u__age": 11, "f__age": 20});
    let second = json!({"buyer": null, "friend": 1, "at": at, "label": 2.0, "ok": null,
        "x": "{\"a\": \"b\"}", "u__age": null, "f__age": 11});
    assert_eq!(rows, [first, second]);
}

#[test]
fn what_is_wrong_is_said_with_file_row_and_column_and_no_file_is_left() {
    let shop = Shop::new();
    let good = shop.file("s.csv", "user_id,event_time\n1,2024-01-01\n");
    let (no_key, no_time) =
        (shop.file("k.csv", "event_time\n\n"), shop.file("t.csv", "user_id\n1\n"));
    let bad_key = shop.file("b.csv", "user_id,event_time\n1,2024-01-01\nx1,2024-01-01\n");
    let bad_time = shop.file("z.csv", "user_id,event_time\n1,yesterday\n");
    let null_time = shop.file("n.csv", "user_id,event_time\n1,2024-01-01\n2,\n");
    let number = shop.file("i.csv", "user_id,event_time\n1,1704110400\n");
    let broken = shop.file("b.ndjson", "{\"user_id\": 1, \"event_time\": \"2024-01-01\"}\n{\n");
    let taken = shop.file("a.csv", "user_id,event_time,age\n1,2024-01-01,3\n");
    let not_parquet = shop.file("p.parquet", "user_id,event_time\n1,2024-01-01\n");
    let empty = shop.file("e.csv", "");
    let out = shop.path("out.parquet");
    let missing = shop.path("missing.csv");
    for (spine, arguments, code, words) in [
        (&no_key, &["users"][..], 1, &["\"user_id\"", "k.csv", "--map"][..]),
        (&no_time, &["users"], 1, &["event_timestamp", "t.csv", "--event-time", "user_id"]),
        (&good, &["users", "--event-time", "when"], 1, &["\"when\"", "event_time"]),
        (&bad_key, &["users"], 1, &["b.csv", "row 2", "\"user_id\"", "x1"]),
        (&bad_time, &["users"], 1, &["z.csv", "row 1", "\"event_time\"", "yesterday"]),
        (&null_time, &["users"], 1, &["row 2", "no time", "event_time"]),
        (&number, &["users"], 1, &["i.csv", "row 1", "--time-unit"]),
        (&broken, &["users"], 1, &["b.ndjson", "row 2", "no JSON"]),
        (&taken, &["users:age"], 1, &["\"age\"", "--full-names"]),
        (&good, &["users:age", "a=users:age"], 1, &["\"age\"", "--full-names"]),
        (&good, &["users:age", "users:age", "--full-names"], 1, &["users__age", "ALIAS=VIEW"]),
        (&good, &["users", "--map", "user_id=nobody"], 2, &["--map user_id=nobody", "join key"]),
        (&good, &["users", "--map", "a=user_id", "--map", "b=user_id"], 2, &["mapped twice"]),
        (&good, &["users:height"], 1, &["no feature", "height", "age"]),
        (&good, &["nobody"], 1, &["nobody", "users"]),
        (&not_parquet, &["users", "--format", "parquet"], 1, &["p.parquet", "Parquet"]),
        (&empty, &["users"], 1, &["e.csv", "empty"]),
        (&missing, &["users"], 1, &["missing.csv", "No such file"]),
    ] {
        let all = [&["history", "--spine", spine, "--out", &out], arguments].concat();
        let (found, said) = shop.run(&all);
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert!(!Path::new(&out).exists());
    }
    let (code, said) = shop.run(&["history", "users", "--spine", &good, "--out", "o.xlsx"]);
    assert_eq!((code, said.contains(".parquet")), (2, true), "{said}");
    let nobody = ["history", "users", "--spine", &good, "--out", &out, "--server", "127.0.0.1:1"];
    let output = thermae().args(nobody).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let in_nowhere = shop.run(&["history", "users", "--spine", &good, "--out", "/nowhere/o.csv"]);
    assert_eq!((in_nowhere.0, in_nowhere.1.contains("/nowhere")), (1, true));
}

#[test]
fn a_backfill_is_history_and_what_is_served_stays_unless_nothing_newer_is_there() {
    let shop = Shop::new();
    let older = "\
user_id,age,tags,event_time,created_time
1,8,[],2023-12-01T00:00:00Z,2024-02-01T00:00:00Z
1,9,[],2023-12-02T00:00:00Z,2024-02-01T00:00:00Z
3,30,[],2023-12-02T00:00:00Z,2024-02-01T00:00:00Z
";
    let file = shop.file("older.csv", older);
    let (code, told) = shop.run(&["backfill", "users", &file, "--json"]);
    let told: Json = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["accepted"], &told["late"]), (0, &json!(3), &json!(2)), "{told}");
    let again = shop.run(&["backfill", "users", &file]).1;
    assert!(again.contains("3 duplicate") && again.contains("0 rows were written"), "{again}");
    let get = |id: &str| {
        let time = "2023-12-02T12:00:00Z";
        let key = format!("user_id={id}");
        shop.run(&["get", "users:age", "--key", &key, "--read-time", time]).1
    };
    assert!(get("1").contains("12") && get("3").contains("30"), "{} {}", get("1"), get("3"));
    let spine =
        shop.file("s.csv", "user_id,event_time\n1,2023-12-02T06:00:00Z\n1,2023-12-01T06:00:00Z\n");
    let joined = shop.join(&spine, "o.csv", &["users:age"]);
    assert_eq!(joined[1..], ["1,2023-12-02T06:00:00Z,9", "1,2023-12-01T06:00:00Z,8"]);
    let (code, said) = shop.run(&["backfill", "--help"]);
    assert!(code == 0 && said.contains("thermae backfill users"), "{said}");
}
