//! `thermae serve --archive`: what has left the tables is exported as it was written, every type, every bit.

use std::path::Path;

use serde_json::{Value as Json, json};
use thermae_client::{Client, Config, Plan, ReadOptions, ScanOptions, ViewFeatures, WriteBatch};
use thermae_formats::wire::CellStatus;
use thermae_formats::{NO_TIME, Value};

use crate::export::{key, rows, values, view};
use crate::process::Server;

/// Most looks at the figures until everything has moved: each is a process.
const LOOKS: usize = 10_000;

fn start(folder: &Path, options: &[&str]) -> (Server, Client, Plan) {
    start_view(folder, options, false)
}

fn start_view(folder: &Path, options: &[&str], serve_from_cold: bool) -> (Server, Client, Plan) {
    let server = Server::start_with(&folder.join("data"), options);
    let client = Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap();
    let mut view = view();
    view.tiers.warm_for_us = 1_000_000;
    if serve_from_cold {
        // Rows of years ago are in no hot table.
        (view.tiers.serve_from_cold, view.tiers.hot_for_us) = (true, 1_000_000);
    }
    client.apply(&json!({ "views": [view] }).to_string()).unwrap();
    let wanted =
        ViewFeatures { project: "test", view: "everything", version: 0, features: Vec::new() };
    let plan = client.prepare(&[wanted]).unwrap();
    (server, client, plan)
}

/// Figures, once they are as wanted.
fn wait(server: &Server, is_reached: impl Fn(&Json) -> bool) -> Json {
    let mut last = Json::Null;
    for _ in 0..LOOKS {
        let told = server.run(&["stat", "--json"]);
        last = serde_json::from_slice(&told.stdout).unwrap_or_else(|e| panic!("{e}: {told:?}"));
        if is_reached(&last["engine"]) {
            return last;
        }
    }
    panic!("never reached: {last}");
}

/// Writes five versions of each of 40 entities, a day apart; what a scan shows then.
fn fill(client: &Client, plan: &Plan) -> Vec<String> {
    let handle = client.view("test", "everything").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for n in 0..200 {
        let created = if n % 3 == 0 { NO_TIME } else { 1_600_000_000_000_000 };
        let event_time = 1_500_000_000_000_000 + 86_400_000_000 * i64::from(n / 40);
        batch.push(&key(n), event_time, created, &values(n)).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
    let expected = rows(client, plan, &ScanOptions::default());
    assert_eq!(expected.len(), 200);
    expected
}

/// Whether all of them are archived and the superseded ones gone from the tables.
fn has_left(engine: &Json) -> bool {
    let shards = engine["shards"].as_array().unwrap();
    let superseded = |shard: &Json| shard["tiers"]["history"]["rows"].as_u64().unwrap_or(u64::MAX);
    engine["archive"]["rows"] == 200
        && shards
            .iter()
            .all(|shard| shard["tiers"]["memtable"]["rows"] == 0 && superseded(shard) == 0)
}

#[test]
fn a_backup_of_a_store_whose_rows_have_left_comes_back_with_a_copy_of_its_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("t.toml"), "archive_lag_s = 1").unwrap();
    let (config, archive, copy) = (path("t.toml"), path("archive"), path("copy"));
    let backups = path("backups");
    let options = ["--cores", "1", "--archive", &archive, "--config", &config];
    let options = [&options[..], &["--backup-dir", &backups]].concat();
    let (server, client, plan) = start(folder.path(), &options);
    let expected = fill(&client, &plan);
    wait(&server, has_left);
    let taken = server.run(&["backup", "daily"]);
    assert_eq!(taken.status.code(), Some(0), "{taken:?}");
    let place = path("backups/daily");
    let restored = path("restored");
    let restore = ["restore", &place, "--data", &restored];
    let refused = server.run(&restore);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--archive ROOT"), "{said}");
    let with = ["--archive", &archive, "--with-archive", &copy];
    let done = server.run(&[&restore[..], &with].concat());
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(server.stop(), 0);
    let options = ["--cores", "1", "--archive", &copy, "--config", &config];
    let server = Server::start_with(Path::new(&restored), &options);
    let client = Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap();
    let wanted =
        ViewFeatures { project: "test", view: "everything", version: 0, features: Vec::new() };
    let plan = client.prepare(&[wanted]).unwrap();
    wait(&server, |engine| engine["archive"]["rows"] == 200);
    assert_eq!(rows(&client, &plan, &ScanOptions::default()), expected);
    assert_eq!(server.stop(), 0);
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_build_that_reaches_no_bucket_says_how_to_get_one_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    let serve = ["serve", "--data", &data, "--archive", "s3://bucket/shop"];
    let restore = ["restore", "s3://bucket/shop", "--data", &data];
    for (arguments, code) in [(&serve[..], 2), (&restore[..], 1)] {
        let refused = crate::process::thermae().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("feature `s3` or `remote`"), "{said}");
        assert_eq!(refused.status.code(), Some(code), "{said}");
    }
}

#[test]
fn what_has_left_the_tables_is_exported_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (config, archive) = (folder.path().join("t.toml"), folder.path().join("archive"));
    std::fs::write(&config, "archive_lag_s = 1").unwrap();
    let config = config.to_str().unwrap();
    let options = ["--cores", "2", "--archive", archive.to_str().unwrap(), "--config", config];
    let (server, client, plan) = start(folder.path(), &options);
    let expected = fill(&client, &plan);
    wait(&server, has_left);
    assert_eq!(rows(&client, &plan, &ScanOptions::default()), expected);
    assert_eq!(server.metric("thermae_archive_rows"), 200);
    let told = server.run(&["stat", "--tiers"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("cold") && told.contains("200 archived"), "{told}");
    let file = folder.path().join("e.ndjson");
    let exported = server.run(&["export", "everything", "--out", file.to_str().unwrap(), "--json"]);
    let told: Json = serde_json::from_slice(&exported.stdout).unwrap();
    assert_eq!(told["rows"], 200);
    assert_eq!(server.stop(), 0);
    // Another number of shards, and rows that came later.
    let options = ["--cores", "1", "--archive", archive.to_str().unwrap(), "--config", config];
    let (server, client, plan) = start(folder.path(), &options);
    wait(&server, |engine| engine["archive"]["rows"] == 200);
    assert_eq!(rows(&client, &plan, &ScanOptions::default()), expected);
    assert_eq!(server.stop(), 0);
    // Without the archive it is refused, and what to do is said; the newest rows are served all the same.
    let (server, ..) = start(folder.path(), &["--cores", "1"]);
    let refused = server.run(&[
        "export",
        "everything",
        "--out",
        folder.path().join("x.csv").to_str().unwrap(),
    ]);
    assert_ne!(refused.status.code(), Some(0));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("without the archive"), "{said}");
    assert_eq!(server.stop(), 0);
}

/// Statuses and values of the newest rows of all 40 entities, the values as text.
fn newest(client: &Client, plan: &Plan) -> Vec<(CellStatus, String)> {
    let mut keys = plan.keys(0).unwrap();
    for n in 0..40 {
        keys.push(&key(n)).unwrap();
    }
    let answer = client.read(plan, &[&keys], &ReadOptions::default()).unwrap();
    let columns = plan.columns(0).len();
    let cell = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        (answer.status(0, row, column), answer.value(0, row, column).unwrap().to_string())
    };
    (0..40 * columns).map(cell).collect()
}

#[test]
fn newest_rows_of_a_view_that_opts_in_are_read_from_the_archive_and_unavailable_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (config, archive) = (folder.path().join("t.toml"), folder.path().join("archive"));
    std::fs::write(&config, "archive_lag_s = 1").unwrap();
    let config = config.to_str().unwrap();
    let options = ["--cores", "2", "--archive", archive.to_str().unwrap(), "--config", config];
    let (server, client, plan) = start_view(folder.path(), &options, true);
    let handle = client.view("test", "everything").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for n in 0..200 {
        let event_time = 1_500_000_000_000_000 + 86_400_000_000 * i64::from(n / 40);
        batch.push(&key(n), event_time, NO_TIME, &values(n)).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
    let expected = newest(&client, &plan);
    let is_given =
        |cell: &(CellStatus, String)| matches!(cell.0, CellStatus::Present | CellStatus::NullValue);
    assert!(expected.iter().all(is_given), "{expected:?}");
    let history = rows(&client, &plan, &ScanOptions::default());
    // Served all the while: from memory, from tables, and at last from the archive.
    let mut looks = 0;
    while server.metric("thermae_archive_row_hits_total") < 40 {
        assert_eq!(newest(&client, &plan), expected);
        looks += 1;
        assert!(looks < LOOKS, "never left: {:?}", server.run(&["stat", "--json"]));
    }
    assert_eq!(newest(&client, &plan), expected);
    assert_eq!(rows(&client, &plan, &ScanOptions::default()), history);
    let told = server.run(&["stat", "--tiers"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("rows asked"), "{told}");
    let told = server.run(&["describe", "everything"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("serve_from_cold"), "{told}");
    // A partial write is merged onto a row of the archive.
    let mut partial = WriteBatch::partial(&handle, &["f3"]).unwrap();
    partial.push(&key(7), 1_600_000_000_000_000, NO_TIME, &[Value::Float32(0.25)]).unwrap();
    assert!(client.write(&mut partial).unwrap().all_ok());
    let columns = plan.columns(0).len();
    let mut merged = expected;
    merged[7 * columns + 3] = (CellStatus::Present, Value::Float32(0.25).to_string());
    assert_eq!(newest(&client, &plan), merged);
    assert_eq!(server.stop(), 0);
    // Opened again, with another number of shards.
    let options = ["--cores", "1", "--archive", archive.to_str().unwrap(), "--config", config];
    let (server, client, plan) = start_view(folder.path(), &options, true);
    assert_eq!(newest(&client, &plan), merged);
    assert_eq!(server.stop(), 0);
    // Without the archive: what is here is served, the rest says why not, and writes go on.
    let (server, client, plan) = start_view(folder.path(), &["--cores", "1"], true);
    let found = newest(&client, &plan);
    let missing = found.iter().filter(|cell| cell.0 == CellStatus::Unavailable).count();
    assert_eq!(missing, 39 * columns, "{found:?}");
    let handle = client.view("test", "everything").unwrap();
    let mut partial = WriteBatch::partial(&handle, &["f3"]).unwrap();
    partial.push(&key(8), 1_600_000_000_000_000, NO_TIME, &[Value::Float32(0.5)]).unwrap();
    let refused = format!("{:?}", client.write(&mut partial).unwrap());
    assert!(refused.contains("ArchiveUnavailable"), "{refused}");
    let mut whole = WriteBatch::put(&handle);
    whole.push(&key(9), 1_600_000_000_000_000, NO_TIME, &values(9)).unwrap();
    assert!(client.write(&mut whole).unwrap().all_ok());
    assert_eq!(server.stop(), 0);
}
