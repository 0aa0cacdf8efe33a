//! `thermae bench` and `thermae plan` against a real server. No figure is judged by its size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value as Json;

use crate::process::{Server, thermae};

/// Short, and over few rows.
const SHORT: [&str; 6] = ["--entities", "2000", "--seconds", "0.4", "--warm-up", "0.1"];

fn bench(server: &Server, arguments: &[&str]) -> Json {
    let output = server.run(&[&["bench", "--json"], arguments, &SHORT].concat());
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&told).unwrap()
}

fn number(json: &Json, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Json::as_f64).unwrap_or_else(|| panic!("{pointer} in {json}"))
}

#[test]
fn every_way_in_loads_measures_and_finds_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let unix = socket.to_str().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_with(&data, &["--cores", "1", "--unix", unix]);
    let local = format!("unix:{unix}");
    let embedded = folder.path().join("embedded");
    let ways: [&[&str]; 3] = [
        &["ranking", "--keys", "20", "--connections", "3", "--threads", "2"],
        &["ranking", "--keys", "20", "--mapped", "--server", &local],
        &["ranking", "--keys", "20", "--embedded", embedded.to_str().unwrap(), "--memory", "64MiB"],
    ];
    for (at, way) in ways.into_iter().enumerate() {
        let result = bench(&server, way);
        // The mapped path finds what the wire loaded.
        assert_eq!(result["rows_loaded"], if at == 1 { 0 } else { 4000 }, "{way:?}");
        let step = &result["steps"][0];
        assert!(number(step, "/answered_per_s") > 1.0 && number(step, "/headroom") > 0.0, "{step}");
        assert_eq!(
            (&step["failed"], &step["unfinished"]),
            (&Json::from(0), &Json::from(0)),
            "{step}"
        );
        let operation = &step["operations"][0];
        assert_eq!(operation["rows"], operation["found"], "{operation}");
        assert!(number(operation, "/rows") >= 40.0);
    }
    server.stop();
}

#[test]
fn schedules_writes_and_every_kind_of_operation() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let (out, html) = (folder.path().join("r.json"), folder.path().join("r.html"));
    let files = ["--out", out.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let result =
        bench(&server, &[&["ycsb-f", "--rate", "50,100", "--poisson"], &files[..]].concat());
    let kinds: Vec<_> = result["steps"][1]["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["kind"].clone())
        .collect();
    assert_eq!(kinds, ["read", "modify"]);
    assert_eq!(result["steps"].as_array().unwrap().len(), 2);
    assert_eq!(number(&result, "/steps/1/offered_per_s"), 100.0);
    let written: Json = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(written, result);
    let page = std::fs::read_to_string(&html).unwrap();
    assert_eq!(page.matches("<svg").count() + page.matches("class=\"none\"").count(), 7, "{page}");
    for outside in ["http:", "https:", "src=", "<script", "@import", "<link"] {
        assert!(!page.contains(outside), "the page reaches out: {outside}");
    }
    let again = folder.path().join("again.html");
    let from = ["bench", "--from", out.to_str().unwrap(), "--html", again.to_str().unwrap()];
    assert!(thermae().args(from).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(&again).unwrap(), page);
    // Inserts add rows, and are found by those who read the newest.
    let result = bench(&server, &["ycsb-d", "--rate", "200"]);
    assert_eq!(number(&result, "/steps/0/failed"), 0.0, "{result}");
    let promise = bench(&server, &["point", "--find", "p99=10s"]);
    assert!(number(&promise, "/held_per_s") > 0.0);
    server.stop();
}

#[test]
fn a_workload_of_a_file_a_trace_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let trace = folder.path().join("trace.csv");
    std::fs::write(&trace, "1,17\n2,abc\n3,900\n").unwrap();
    let printed = thermae().args(["bench", "twitter-c52", "--print"]).output().unwrap();
    let mut text = String::from_utf8(printed.stdout).unwrap();
    let replay =
        format!("distribution = \"replay\"\nfile = {:?}\ncolumn = 1", trace.to_str().unwrap());
    text = text.replace("distribution = \"zipf\"\nexponent = 1.21", &replay);
    assert!(text.contains("replay"), "{text}");
    let file = folder.path().join("workload.toml");
    std::fs::write(&file, &text).unwrap();
    let result = bench(&server, &[file.to_str().unwrap()]);
    assert!(number(&result, "/steps/0/answered_per_s") > 1.0);
    for (arguments, said) in [
        (&["bench", "nonsense"][..], "there is no preset"),
        (&["bench", "point", "--mapped"], "unix:/PATH"),
        (&["bench", "/no/such.toml"], "/no/such.toml"),
        (&["bench", "point", "--threads", "0"], "threads must be"),
        (&["bench", "--from", "/no/such.json", "--html", "x.html"], "/no/such.json"),
        (&["plan", "/no/such.toml", "--calibration", "x"], "/no/such.toml"),
        (&["bench", "--calibrate", "--html", "x.html"], "--html"),
        (&["bench", "ranking", "--ladder"], "--ladder"),
        (&["bench", "--ladder", "--mapped"], "--mapped"),
        (&["bench", "--ladder", "--entities", "0"], "entities must be"),
        (&["bench", "--check", "--threads", "2"], "--threads"),
    ] {
        let output = server.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    // A view of that name with other features is not written over.
    let other = text.replace("type = \"bytes\"", "type = \"int64\"");
    std::fs::write(&file, other).unwrap();
    let output = server.run(&["bench", file.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("cannot be defined"), "{told}");
    server.stop();
}

#[test]
fn a_ladder_goes_up_from_memory_and_from_the_disk_of_the_directory_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, disk) = (folder.path().join("socket"), folder.path().join("not/there/yet"));
    let html = folder.path().join("ladder.html");
    let unix = socket.to_str().unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--cores", "1", "--unix", unix]);
    let local = format!("unix:{unix}");
    let disk_of = ["--ladder", "--embedded", disk.to_str().unwrap()];
    let rest = ["--server", &local, "--html", html.to_str().unwrap(), "--json"];
    let small = ["--entities", "2000", "--seconds", "0.05"];
    let output = server.run(&[&["bench"], &disk_of[..], &rest, &small].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let made: Json = serde_json::from_slice(&output.stdout).unwrap();
    let rungs = made["rungs"].as_array().unwrap();
    let has = |name: &str, keys: u32| {
        rungs.iter().any(|rung| rung["name"] == name && rung["keys"] == keys)
    };
    for name in ["memory", "hot table", "store", "mapped", "wire", "durable write"] {
        assert!(has(name, 1) && has(name, 100), "{name}: {made}");
    }
    let absent = made["absent"].to_string();
    if !absent.contains("is in memory") {
        for keys in [1, 32, 256] {
            assert!(has("disk read", keys) && has("warm", keys), "{keys}: {made}");
        }
        assert!(has("disk write", 1) && has("disk write", 100), "{made}");
        assert!(number(&made, "/stream_bytes_per_s") > 0.0);
    }
    assert!(made["scaling"].as_array().unwrap().iter().all(|one| number(one, "/headroom") > 0.0));
    assert!(std::fs::read_to_string(&html).unwrap().contains("hot table"));
    // Nothing stays of it in the directory.
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
    server.stop();
}

#[test]
fn rows_that_lie_in_the_archive_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("t.toml"), "archive_lag_s = 1").unwrap();
    let (archive, config, file) = (path("archive"), path("t.toml"), path("workload.toml"));
    let options = ["--cores", "1", "--archive", &archive, "--config", &config];
    let server = Server::start_with(&folder.path().join("data"), &options);
    let printed = thermae().args(["bench", "point", "--print"]).output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    std::fs::write(&file, text.replace("cold_after_s = 0", "cold_after_s = 1")).unwrap();
    // Rows leave in their own time, and a sample is of a second.
    let rate = ["--entities", "100", "--rate", "50", "--warm-up", "0", "--seconds", "2.5"];
    let drive = [&["bench", &file, "--json"], &rate[..]].concat();
    let mut cold = 0.0;
    for _ in 0..20 {
        let output = server.run(&drive);
        let result: Json = serde_json::from_slice(&output.stdout).unwrap();
        let samples = result["steps"][0]["samples"].as_array().unwrap().clone();
        let shares = samples.iter().filter_map(|sample| sample["cold_share"].as_f64());
        cold = shares.fold(cold, f64::max);
        if cold > 0.0 {
            break;
        }
    }
    assert!(cold > 0.0, "{:?}", server.told(&["stat", "--json"]));
    server.stop();
}

#[test]
fn a_calibration_makes_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let here = folder.path().join("here.json");
    let arguments = [
        "--calibrate",
        "--out",
        here.to_str().unwrap(),
        "--entities",
        "10000",
        "--seconds",
        "0.06",
    ];
    let output = server.run(&[&["bench"], &arguments[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let description = folder.path().join("shop.toml");
    let example = thermae().args(["plan", "--example"]).output().unwrap();
    std::fs::write(&description, example.stdout).unwrap();
    let plan =
        ["plan", description.to_str().unwrap(), "--calibration", here.to_str().unwrap(), "--json"];
    let output = thermae().args(plan).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let answer: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&answer, "/nodes") >= 1.0 && number(&answer, "/cost/month") > 0.0);
    assert_eq!(answer["resources"].as_array().unwrap().len(), 5);
    assert!(
        answer["constants"].as_array().unwrap().iter().all(|one| one["source"]["from"].is_string())
    );
    let shown = thermae().args(&plan[..4]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for said in ["what runs out", "Uncertainty", "objects written", "bytes of a row"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let bare = thermae().args(&plan[..2]).output().unwrap();
    let told = String::from_utf8_lossy(&bare.stderr).into_owned();
    assert_eq!(bare.status.code(), Some(2), "{told}");
    assert!(told.contains("bench --calibrate --out"), "{told}");
    server.stop();
    // The plan beside what a server of its own makes of it; how far it is off is no matter of a test.
    let small = folder.path().join("small.toml");
    std::fs::write(&small, SMALL).unwrap();
    let verify = ["plan", small.to_str().unwrap(), "--verify", "--seconds", "0.3", "--json"];
    let output = thermae().args(verify).args(&plan[2..4]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{told}");
    // A line of its own says so where a plan is off.
    let text = String::from_utf8(output.stdout).unwrap();
    let verified: Json = serde_json::from_str(text.lines().next().unwrap()).expect(&told);
    let one = &verified[0];
    assert!(number(one, "/planned_per_s") > 0.0 && number(one, "/measured_per_s") > 0.0, "{one}");
    // Every row is there, and found room in the memory that was planned.
    assert_eq!((number(one, "/rows"), number(one, "/hot_share")), (3000.0, 1.0), "{one}");
    let memory_off = number(one, "/planned_hot_bytes") / number(one, "/measured_hot_bytes") - 1.0;
    assert!(memory_off.abs() < 0.5, "{one}");
}

/// Reads of two views, and writes.
const SMALL: &str = r#"
name = "small"
[[view]]
name = "user"
entities = 1000
features = [{ type = "float32", count = 4 }, { type = "string" }]
[[view]]
name = "item"
entities = 2000
features = [{ type = "int64", count = 3 }]
[[request]]
per_s = 90
kind = "read"
of = [{ view = "user" }, { view = "item", keys = 20 }]
[[request]]
per_s = 10
kind = "write"
of = [{ view = "user" }]
"#;
