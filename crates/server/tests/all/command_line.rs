//! The `thermae` program as a user runs it: every command, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Output;

use arrow_array::Array;
use serde_json::Value as Json;
use thermae_formats::time::parse_timestamp_us;
use thermae_formats::{Scalar, ValueType};
use thermae_server::ingest::arrow_cell;
use thermae_server::ingest::coerce::{self, Allow};

use crate::history;
use crate::process::{Server, thermae};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Json {
    let out = text(&output.stdout);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e} in {out}\n{}", text(&output.stderr)))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nycflights13").join(name)
}

const DEFINITIONS: &str = r#"format = 1
project = "shop"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[views.users]
entities = ["user"]
ttl = "0"
features = [{ name = "score", type = "float32" }, { name = "city", type = "string" }]
"#;

/// Writes a file of the test; its path.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Computes the shown row's weather and last flight of its route anew.
fn training(told: &Json) {
    assert_eq!(told["rows"], 170_618);
    let row = &told["row"];
    let time_of = |text: &Json| parse_timestamp_us(text.as_str().unwrap()).unwrap();
    let due = time_of(&row["sched_dep"]);
    let is_of = |array: &dyn Array, at: usize, name: &str| history::text(array, at) == row[name];
    let newest = |file: &str, keys: &[&str], time: &str, age_us: i64, feature: &str| {
        let batches = history::read(&history::example(file));
        let times = history::column(&batches, time, history::time);
        let keys: Vec<Vec<bool>> = keys
            .iter()
            .map(|key| history::column(&batches, key, |array, at| is_of(array, at, key)))
            .collect();
        let values = history::column(&batches, feature, |array, at| {
            coerce::value(
                &arrow_cell::cell(array, at),
                &ValueType::Scalar(Scalar::Float64),
                Allow::default(),
            )
            .or_else(|_| {
                let int = ValueType::Scalar(Scalar::Int64);
                coerce::value(&arrow_cell::cell(array, at), &int, Allow::default())
            })
            .unwrap()
            .to_json()
        });
        let rows = (0..times.len()).filter(|at| keys.iter().all(|key| key[*at]));
        let known = rows.filter(|at| times[*at] <= due && times[*at] >= due - age_us);
        known.max_by_key(|at| (times[*at], *at)).map(|at| values[at].clone()).unwrap()
    };
    let (hour, day) = (3_600_000_000, 86_400_000_000);
    let weather = newest("data/weather.parquet", &["origin"], "time_hour", 3 * hour, "temp");
    assert_eq!(row["weather_by_origin__temp"], weather);
    let keys = ["origin", "dest"];
    let delay = newest("data/flights.parquet", &keys, "finished_at", 2 * day, "arr_delay");
    assert_eq!(row["route_last_flight__arr_delay"].as_f64(), delay.as_f64());
}

#[test]
fn the_quickstart_answers_right_and_exits_0_and_repeated_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("qs");
    let run = || thermae().args(["quickstart", "--json", "--data"]).arg(&data).output().unwrap();
    let first = run();
    assert_eq!(code(&first), 0, "{}{}", text(&first.stdout), text(&first.stderr));
    let told = json(&first);
    let report = |told: &Json, view: &str| {
        let loads = told["loads"].as_array().unwrap();
        loads.iter().find(|l| l["view"] == view).unwrap()["report"].clone()
    };
    for (view, accepted, rejected) in [
        ("weather_by_origin", 26_115, 0),
        ("flights_by_tailnum", 169_627, 991),
        ("route_last_flight", 170_618, 0),
        ("planes", 3_322, 0),
    ] {
        let report = report(&told, view);
        assert_eq!(report["accepted"], accepted, "{view}");
        assert_eq!(report["rejected"], rejected, "{view}");
    }
    let weather = |question: usize, row: usize, feature: &str| {
        told["answers"][question]["answer"]["results"][row]["views"]["nyc/weather_by_origin"]
            [feature]
            .clone()
    };
    assert_eq!(weather(0, 0, "temp")["status"], "PRESENT");
    assert_eq!(weather(0, 2, "temp")["value"], 28.94);
    assert_eq!(weather(0, 2, "temp")["event_time"], "2013-12-30T23:00:00Z");
    assert_eq!(weather(0, 2, "wind_gust")["status"], "NULL_VALUE");
    assert_eq!(weather(0, 3, "temp")["status"], "NOT_FOUND");
    assert_eq!(weather(1, 0, "temp")["status"], "OUTSIDE_MAX_AGE");
    let route = &told["answers"][2]["answer"]["results"][0]["views"];
    assert_eq!(route["nyc/route_last_flight"]["arr_delay"]["value"], 6);
    assert_eq!(route["nyc/carrier_daily"]["name"]["value"], "American Airlines Inc.");
    training(&told["training"]);
    let ways: Vec<&str> =
        told["latencies"].as_array().unwrap().iter().map(|l| l["way"].as_str().unwrap()).collect();
    assert_eq!(ways, ["TCP", "unix socket", "mapped memory"].repeat(2));
    assert!(
        told["latencies"].as_array().unwrap().iter().all(|l| l["p50_ns"].as_u64().unwrap() > 0)
    );

    let again = json(&run());
    let report = report(&again, "weather_by_origin");
    assert_eq!((&report["accepted"], &report["duplicate"]), (&Json::from(0), &Json::from(26_115)));
    assert_eq!(again["answers"], told["answers"]);

    let verified = thermae().args(["verify", "--json"]).arg(&data).output().unwrap();
    assert_eq!(code(&verified), 0, "{}", text(&verified.stdout));
    let verified = json(&verified);
    assert_eq!(verified["sound"], true);
    // A clean stop leaves everything in tables.
    assert!(verified["tables"].as_u64().unwrap() > 0);
    assert!(verified["rows"].as_u64().unwrap() > 26_115);
}

/// Deletes, describes and counts what `every_command_does_what_its_help_says` loaded.
fn after_the_load(server: &Server) {
    let deleted = server.run(&["delete", "users", "--key", "uid=7"]);
    assert_eq!(code(&deleted), 0, "{}", text(&deleted.stderr));
    assert!(text(&server.run(&["get", "users", "--key", "uid=7"]).stdout).contains("NOT_FOUND"));

    let described = text(&server.run(&["describe", "users"]).stdout);
    assert!(described.contains("float32") && described.contains("uid int64"), "{described}");
    let stat = server.run(&["stat"]);
    assert!(
        text(&stat.stdout).contains("shop/users"),
        "{}{}",
        text(&stat.stdout),
        text(&stat.stderr)
    );
    let tiers = text(&server.run(&["stat", "--tiers"]).stdout);
    assert!(tiers.contains("memtable") && tiers.contains("every newest row is in it"), "{tiers}");
    let told = json(&server.run(&["stat", "--tiers", "--json"]));
    let shards = told["engine"]["shards"].as_array().unwrap();
    let rows = |tier: &str| -> u64 {
        shards.iter().map(|shard| shard["tiers"][tier]["rows"].as_u64().unwrap()).sum()
    };
    // Each row is in both, the tombstone too; the memtable has versions that were replaced as well.
    assert!(rows("hot") > 0 && rows("memtable") >= rows("hot"), "{told}");
}

#[test]
fn every_command_does_what_its_help_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let server = Server::start(&folder.path().join("data"));

    let definitions = file("d.toml", DEFINITIONS);
    let tried = server.run(&["apply", &definitions, "--dry-run"]);
    assert!(text(&tried.stdout).contains("would be created"), "{}", text(&tried.stdout));
    assert!(text(&server.run(&["describe"]).stdout).contains("no feature views yet"));
    let applied = server.run(&["apply", &definitions]);
    assert!(
        text(&applied.stdout).contains("+ feature view shop/users@1  created"),
        "{}{}",
        text(&applied.stdout),
        text(&applied.stderr)
    );
    assert!(text(&server.run(&["apply", &definitions]).stdout).contains("unchanged"));

    let rows = file(
        "u.csv",
        "id,score,city,when\n7,0.1,Rome,2020-01-01\nx,1,Bath,2020-01-01\n8,,,2020-01-02\n",
    );
    let rejects = folder.path().join("bad.ndjson").to_str().unwrap().to_owned();
    let ingest = [
        "ingest",
        "users",
        &rows,
        "--map",
        "id=uid",
        "--event-time",
        "when",
        "--rejects",
        &rejects,
        "--json",
    ];
    let loaded = server.run(&ingest);
    assert_eq!(code(&loaded), 3, "{}{}", text(&loaded.stdout), text(&loaded.stderr));
    let told = json(&loaded);
    assert_eq!((&told["accepted"], &told["rejected"]), (&Json::from(2), &Json::from(1)));
    assert!(std::fs::read_to_string(&rejects).unwrap().contains("\"row\":2"));
    let again = json(&server.run(&ingest));
    assert_eq!((&again["accepted"], &again["duplicate"]), (&Json::from(0), &Json::from(2)));

    let got =
        server.run(&["get", "users:city,score", "--key", "uid=7", "--key", "uid=8", "--json"]);
    assert_eq!(code(&got), 0, "{}{}", text(&got.stdout), text(&got.stderr));
    let seven = json(&got)["results"][0]["views"]["shop/users"].clone();
    assert_eq!(
        (&seven["city"]["value"], &seven["score"]["value"]),
        (&Json::from("Rome"), &Json::from(0.1))
    );
    assert_eq!(json(&got)["results"][1]["views"]["shop/users"]["city"]["status"], "NULL_VALUE");
    let keys = file("k.ndjson", "{\"uid\": 7}\n{\"uid\": 99}\n");
    let got = server.run(&["get", "users", "--keys", &keys]);
    assert_eq!(code(&got), 3);
    let table = text(&got.stdout);
    assert!(table.contains("Rome") && table.contains("NOT_FOUND"), "{table}");

    after_the_load(&server);

    let address = server.address.clone();
    assert_eq!(server.stop(), 0);
    let gone = thermae().args(["describe", "--server", &address]).output().unwrap();
    assert_eq!(code(&gone), 5);
    assert!(text(&gone.stderr).contains("thermae serve"), "{}", text(&gone.stderr));
}

#[test]
fn each_version_of_a_view_has_rows_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let server = Server::start(&folder.path().join("data"));
    let newer = DEFINITIONS.replace("ttl = ", "version = 2\nttl = ");
    for definitions in [file("1.toml", DEFINITIONS), file("2.toml", &newer)] {
        assert_eq!(code(&server.run(&["apply", &definitions])), 0);
    }
    let run = |arguments: &[&str]| {
        let output = server.run(arguments);
        (code(&output), text(&output.stdout), text(&output.stderr))
    };
    for version in [1, 2] {
        let rows = format!("uid,score,city\n7,{version},Rome\n8,{version},Bath\n");
        let rows = file(&format!("{version}.csv"), &rows);
        let view = format!("users@{version}");
        let loaded = run(&["ingest", &view, &rows, "--at", "2020-01-01"]);
        assert_eq!(loaded.0, 0, "{loaded:?}");
    }
    let deleted = run(&["delete", "users@1", "--key", "uid=7", "--json"]);
    assert!(deleted.0 == 0 && deleted.1.contains("\"version\":1"), "{deleted:?}");
    assert_eq!(run(&["delete", "users", "--key", "uid=8"]).0, 0);
    for (view, key, found) in [
        ("users@1", "uid=7", false),
        ("users@1", "uid=8", true),
        ("users@2", "uid=7", true),
        ("users@2", "uid=8", false),
        ("users", "uid=7", true),
    ] {
        let got = run(&["get", view, "--key", key]);
        assert_eq!(got.0, if found { 0 } else { 3 }, "{view} {key}: {got:?}");
    }
    let missing = run(&["delete", "users@3", "--key", "uid=7"]);
    assert!(missing.0 == 1 && missing.2.contains("no feature view users@3"), "{missing:?}");
}

#[test]
fn what_is_refused_is_refused_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let server = Server::start(&folder.path().join("data"));
    let definitions = file("d.toml", DEFINITIONS);
    assert_eq!(code(&server.run(&["apply", &definitions])), 0);
    let narrowed = file("n.toml", &DEFINITIONS.replace("\"float32\"", "\"int32\""));
    let future =
        file("f.ndjson", "{\"uid\":1,\"score\":1,\"city\":\"\",\"event_time\":\"9999-01-01\"}\n");
    let empty = file("e.csv", "");
    let misspelt = file("m.toml", &DEFINITIONS.replace("ttl", "tll"));
    let rows = file("u.csv", "uid,score\n1,2\n");
    for (arguments, expected, words) in [
        (&["apply", &narrowed][..], 1, &["score", "version"][..]),
        (&["apply", &misspelt], 1, &["line 7", "tll"]),
        (&["apply", "nowhere.toml"], 1, &["nowhere.toml"]),
        (&["ingest", "nothing", &rows], 1, &["no feature view nothing", "shop/users"]),
        (&["ingest", "users", &rows], 1, &["city", "uid (text), score (text)"]),
        (&["ingest", "users", &empty], 1, &["empty"]),
        (&["ingest", "users", &future], 3, &[]),
        (&["get", "users:x", "--key", "uid=1"], 1, &["no feature \"x\"", "score, city"]),
        (&["get", "users", "--key", "uid=one"], 2, &["uid", "int64"]),
        (&["get", "users", "--key", "user=1"], 2, &["no join key \"user\"", "uid"]),
        (&["get", "users", "--key", "uid=1", "--read-time", "noon"], 2, &["noon", "not a time"]),
        (
            &["delete", "users", "--key", "uid=1", "--event-time", "9999-01-01"],
            1,
            &["in the future"],
        ),
        (&["describe", "--server", "nonsense"], 2, &["nonsense"]),
        (&["verify", "nowhere"], 1, &["nowhere"]),
    ] {
        let output = server.run(arguments);
        let told = text(&output.stderr);
        assert_eq!(code(&output), expected, "{arguments:?}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{arguments:?}: {told}");
    }
    let as_json = server.run(&["get", "nothing", "--key", "a=1", "--json"]);
    assert_eq!(json(&as_json)["exit_code"], 1);
    assert!(example("features.toml").is_file());
}
