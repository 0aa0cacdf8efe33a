//! `thermae backup` and `thermae restore` as a user runs them, while others write.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value as Json, json};
use thermae_client::{Client, Config, ReadOptions, ViewFeatures, WriteBatch};
use thermae_formats::wire::CellStatus;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value};

use crate::process::{Server, thermae};

/// Rows of a batch.
const BATCH: i64 = 200;

fn client(server: &Server) -> Client {
    Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap()
}

fn define(client: &Client) {
    let keys = vec![JoinKey::new("uid", KeyType::Int64)];
    let features = vec![Feature::new("n", Scalar::Int64), Feature::new("text", Scalar::String)];
    let view = FeatureView::new("shop", "users", keys, features);
    client.apply(&json!({ "views": [view] }).to_string()).unwrap();
}

fn values(uid: i64) -> Vec<Value> {
    vec![Value::Int64(uid * 7), Value::String(format!("user {uid} {}", "x".repeat(300)))]
}

/// Writes the rows from `first` on.
fn write(client: &Client, first: i64) {
    let handle = client.view("shop", "users").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for uid in first..first + BATCH {
        batch.push(&[KeyValue::Int(uid)], 1_000_000 + uid, NO_TIME, &values(uid)).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
}

/// Whether the rows before `end` are there; how many of the next ten thousand are, too.
fn check(server: &Server, end: i64) -> i64 {
    let client = client(server);
    let features = vec!["n", "text"];
    let wanted = ViewFeatures { project: "shop", view: "users", version: 0, features };
    let plan = client.prepare(&[wanted]).unwrap();
    let mut more = 0;
    for first in (0..end + 10_000).step_by(1_000) {
        let mut keys = plan.keys(0).unwrap();
        (first..first + 1_000).for_each(|uid| keys.push_i64(uid).unwrap());
        let answer = client.read(&plan, &[&keys], &ReadOptions::default()).unwrap();
        for (row, uid) in (first..first + 1_000).enumerate() {
            if answer.status(0, row, 0) == CellStatus::NotFound {
                assert!(uid >= end, "{uid} of {end} is gone");
                continue;
            }
            let found = [0, 1].map(|column| answer.value(0, row, column).unwrap());
            assert_eq!(found[..], values(uid));
            more += i64::from(uid >= end);
        }
    }
    more
}

fn told(output: &Output) -> Json {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

fn restore(place: &Path, data: &Path, name: Option<&str>) -> Output {
    let mut command = thermae();
    command.args(["restore", "--json"]).arg(place).arg("--data").arg(data);
    name.into_iter().for_each(|name| {
        command.args(["--name", name]);
    });
    command.output().unwrap()
}

#[test]
fn backups_of_a_server_that_is_written_to_hold_what_was_acknowledged_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let (data, root) = (folder.path().join("data"), folder.path().join("root"));
    let server =
        Server::start_with(&data, &["--cores", "2", "--backup-dir", root.to_str().unwrap()]);
    define(&client(&server));
    let (acknowledged, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let writer = client(&server);
    let mut taken: Vec<(String, i64)> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let first = acknowledged.load(Ordering::Relaxed) as i64;
                write(&writer, first);
                acknowledged.store((first + BATCH) as u64, Ordering::Release);
            }
        });
        for round in 0..4 {
            // A few thousand rows between two of them.
            let from = acknowledged.load(Ordering::Acquire);
            while acknowledged.load(Ordering::Acquire) < from + 4_000 {
                std::thread::yield_now();
            }
            let before = acknowledged.load(Ordering::Acquire) as i64;
            let keep: &[&str] = if round == 3 { &["--keep", "2"] } else { &[] };
            let backup = told(&server.run(&[&["backup", "a/daily", "--json"], keep].concat()));
            assert!(backup["rows"].as_i64().unwrap() >= before);
            assert_eq!(backup["removed"].as_array().unwrap().len(), if round == 3 { 2 } else { 0 });
            taken.push((backup["name"].as_str().unwrap().to_owned(), before));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.stop(), 0);
    let place = root.join("a/daily");
    let listed =
        told(&thermae().args(["backup", "--list", "--json"]).arg(&place).output().unwrap());
    let names: Vec<&str> =
        listed["backups"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, [&taken[2].0, &taken[3].0]);
    let verified =
        told(&thermae().args(["backup", "--verify", "--json"]).arg(&place).output().unwrap());
    assert_eq!((&verified["sound"], &verified["findings"]), (&json!(true), &json!([])));
    for (cores, (name, before)) in ["1", "2"].iter().zip(&taken[2..]) {
        let restored = folder.path().join(name);
        let report = told(&restore(&place, &restored, Some(name)));
        assert_eq!(report["name"], **name);
        let server = Server::start_with(&restored, &["--cores", cores]);
        check(&server, *before);
        // It goes on: rows that come again are as they were, later ones come.
        let client = client(&server);
        let end = acknowledged.load(Ordering::Relaxed) as i64;
        (0..end).step_by(BATCH as usize).for_each(|first| write(&client, first));
        assert_eq!(check(&server, end), 0);
        assert_eq!(server.stop(), 0);
        let verified = thermae().arg("verify").arg(&restored).output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
}

#[test]
fn a_directory_is_backed_up_and_damage_in_the_backup_is_named_and_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, place) = (folder.path().join("data"), folder.path().join("place"));
    let server = Server::start(&data);
    let of_directory = || {
        let mut command = thermae();
        command.args(["backup", "--json"]).arg(&place).arg("--data").arg(&data).output().unwrap()
    };
    define(&client(&server));
    (0..10).for_each(|batch| write(&client(&server), batch * BATCH));
    let refused = of_directory();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("open in another process"));
    assert_eq!(server.stop(), 0);
    assert_eq!(told(&of_directory())["rows"], 10 * BATCH);
    // Nothing is new but its checkpoint.
    let again = told(&of_directory());
    assert_eq!((&again["new_files"], &again["rows"]), (&json!(1), &json!(10 * BATCH)));
    let table = std::fs::read_dir(place.join("files")).unwrap().map(|entry| entry.unwrap().path());
    let table =
        table.into_iter().find(|path| path.extension().is_some_and(|e| e == "tbl")).unwrap();
    let bytes = std::fs::read(&table).unwrap();
    let mut broken = bytes.clone();
    broken[bytes.len() / 2] ^= 1;
    std::fs::write(&table, &broken).unwrap();
    let restored = folder.path().join("restored");
    let refused = restore(&place, &restored, None);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stdout).contains(&*table.to_string_lossy()));
    let verified = thermae().args(["backup", "--verify"]).arg(&place).output().unwrap();
    assert_eq!(verified.status.code(), Some(4), "{verified:?}");
    assert!(String::from_utf8_lossy(&verified.stdout).contains(&*table.to_string_lossy()));
    std::fs::write(&table, &bytes).unwrap();
    assert_eq!(told(&restore(&place, &restored, None))["rows"], 10 * BATCH);
    let refused = restore(&place, &restored, None);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("is not empty"), "{refused:?}");
    let server = Server::start(&restored);
    assert_eq!(check(&server, 10 * BATCH), 0);
}

#[test]
fn a_server_writes_only_below_the_directory_that_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |server: &Server, place: &str, words: &str| {
        let output = server.run(&["backup", place]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{place}: {said}");
        assert!(said.contains(words), "{place}: {said}");
    };
    let server = Server::start(&folder.path().join("data"));
    refused(&server, "daily", "--backup-dir");
    assert_eq!(server.stop(), 0);
    let root = folder.path().join("root");
    let options = ["--cores", "1", "--backup-dir", root.to_str().unwrap()];
    let server = Server::start_with(&folder.path().join("data"), &options);
    for place in ["../elsewhere", "/etc/cron.d", "a/../../b", ".", ".hidden", "a//b"] {
        refused(&server, place, "no place for backups");
    }
    assert!(!root.exists() && !folder.path().join("elsewhere").exists());
    assert_eq!(told(&server.run(&["backup", "daily", "--json"]))["rows"], 0);
    assert_eq!(server.stop(), 0);
}
