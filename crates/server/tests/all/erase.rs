//! `thermae erase` as a user runs it: from log, tables and archive, with the backups named that still hold it.

use std::path::Path;

use serde_json::{Value as Json, json};
use thermae_client::{Client, Config, ErrorCode, Token, WriteBatch};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value};

use crate::process::{Server, thermae};

const PEOPLE: usize = 300;
/// Most looks at the figures: each is a process.
const LOOKS: usize = 10_000;

fn name(person: usize) -> String {
    format!("person-{person:06}-of-the-test")
}

fn secret(person: usize) -> String {
    format!("<<secret {person:06}>>")
}

fn client(server: &Server) -> Client {
    Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap()
}

fn define(client: &Client, view: &str) {
    let keys = vec![JoinKey::new("name", KeyType::String)];
    let view = FeatureView::new("test", view, keys, vec![Feature::new("says", Scalar::String)]);
    client.apply(&json!({ "views": [view] }).to_string()).unwrap();
}

/// Writes three versions of everybody.
fn write(client: &Client, view: &str) {
    let handle = client.view("test", view).unwrap();
    for round in 0..3_usize {
        let mut batch = WriteBatch::put(&handle);
        for person in 0..PEOPLE {
            let says = Value::String(format!("{} in round {round}", secret(person)));
            let key = [KeyValue::String(name(person))];
            batch.push(&key, 1_000 + round as i64, NO_TIME, &[says]).unwrap();
        }
        assert!(client.write(&mut batch).unwrap().all_ok());
    }
}

/// What a command tells, and its exit code.
fn told(output: &std::process::Output) -> (Json, Option<i32>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let told = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {output:?}"));
    (told, output.status.code())
}

fn erase(server: &Server, arguments: &[&str]) -> (Json, Option<i32>) {
    told(&server.run(&[&["erase", "--json"], arguments].concat()))
}

/// Files that hold a text as it is.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn an_entity_is_erased_from_everything_and_the_backups_that_hold_it_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let [data, archive, root] = ["data", "archive", "root"].map(|name| folder.path().join(name));
    let config = folder.path().join("t.toml");
    std::fs::write(&config, "archive_lag_s = 1").unwrap();
    let paths = [&archive, &root, &config].map(|path| path.to_str().unwrap());
    let options = ["--cores", "2", "--archive", paths[0], "--backup-dir", paths[1], "--config"];
    let server = Server::start_with(&data, &[&options[..], &paths[2..]].concat());
    let client = client(&server);
    ["people", "others"].iter().for_each(|view| define(&client, view));
    write(&client, "people");
    let rows = (3 * PEOPLE) as u64;
    let archived = |_: &usize| {
        let (stat, _) = told(&server.run(&["stat", "--json"]));
        stat["engine"]["archive"]["rows"].as_u64() == Some(rows)
    };
    (0..LOOKS).find(archived).unwrap();
    for place in ["a/daily", "b"] {
        assert_eq!(server.run(&["backup", place]).status.code(), Some(0));
    }
    let gone = ["--key", "name=person-000007-of-the-test"];
    let (erased, code) = erase(&server, &[&["test/people"], &gone[..]].concat());
    assert_eq!((&erased["entities"], &erased["complete"]), (&json!(1), &json!(true)), "{erased}");
    assert!(erased["log"]["segments_removed"].as_u64() > Some(0), "{erased}");
    assert!(erased["tables"]["rewritten"].as_u64() > Some(0), "{erased}");
    assert_eq!(erased["archive"]["rows_removed"], 3, "{erased}");
    let held = erased["backups"].as_array().unwrap();
    let places: Vec<_> = held.iter().map(|one| one["place"].as_str().unwrap()).collect();
    assert_eq!((&places[..], code), (&["a/daily", "b"][..], Some(3)), "{erased}");
    assert_eq!(holding(&data, &secret(7)), [""; 0]);
    assert_eq!(holding(&archive, &secret(7)), [""; 0]);
    assert_eq!(holding(&data, &name(7)), [""; 0]);
    assert_eq!(holding(&archive, &name(7)), [""; 0]);
    // Another entity's, another view's and what is written later are not touched.
    let read = |key: &str| server.run(&["get", "people:says", "--key", key]).status.code();
    assert_eq!(read("name=person-000007-of-the-test"), Some(3));
    assert_eq!(read("name=person-000008-of-the-test"), Some(0));
    let said = server.run(&[&["erase", "people"], &gone[..]].concat());
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains("STILL IN A BACKUP: a/daily 00000001-"), "{text}");
    // A backup of after does not hold it; the others are ended.
    let (taken, _) = told(&server.run(&["backup", "b", "--json"]));
    for (place, at) in [("a/daily", 0), ("b", 1)] {
        let name = held[at]["backup"].as_str().unwrap();
        let mut command = thermae();
        command.args(["backup", "--json", "--remove", name]).arg(root.join(place));
        let (removed, code) = told(&command.output().unwrap());
        assert_eq!((&removed["removed"], code), (&json!([name]), Some(0)));
        let again = command.output().unwrap();
        assert_eq!(again.status.code(), Some(1), "{again:?}");
    }
    let (erased, code) = erase(&server, &[&["people"], &gone[..]].concat());
    assert_eq!((&erased["backups"], code), (&json!([]), Some(0)), "{erased}");
    let mut command = thermae();
    command.args(["backup", "--list", "--json"]).arg(root.join("b"));
    let (listed, _) = told(&command.output().unwrap());
    assert_eq!(listed["backups"][0]["name"], taken["name"], "the other one stays whole");
    assert_eq!(server.stop(), 0);
}

#[test]
fn many_are_erased_from_a_file_and_unknown_ones_are_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let client = client(&server);
    define(&client, "people");
    write(&client, "people");
    let (keys, mut lines) = (folder.path().join("gone.csv"), "name\n".to_owned());
    // More than a shard has under way at once, most of them of nobody.
    (PEOPLE - 100..PEOPLE + 5_000).for_each(|person| lines += &format!("{}\n", name(person)));
    std::fs::write(&keys, lines).unwrap();
    let (erased, code) = erase(&server, &["people", "--keys", keys.to_str().unwrap()]);
    assert_eq!((&erased["entities"], code), (&json!(5_100), Some(0)), "{erased}");
    assert_eq!((&erased["archive"], &erased["complete"]), (&Json::Null, &json!(true)));
    let (stat, _) = told(&server.run(&["stat", "--json"]));
    assert_eq!(stat["engine"]["views"][0]["rows"], (PEOPLE - 100) as u64);
    let key = ["--key", "name=person-000001-of-the-test"];
    let (erased, code) = erase(&server, &[&["people", "--no-wait"], &key[..]].concat());
    assert_eq!((&erased["complete"], code), (&json!(false), Some(0)), "{erased}");
    assert_eq!(server.run(&[&["get", "people:says"], &key[..]].concat()).status.code(), Some(3));
    for (arguments, words) in [
        (&["erase", "people", "--key", "uid=1"][..], "no join key"),
        (&["erase", "nobody", "--key", "name=x"], "nobody"),
        (&["erase", "people"], "--key"),
    ] {
        let refused = server.run(arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_ne!(refused.status.code(), Some(0));
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let handle = client.view("test", "people").unwrap();
    let never = [Token { partition: 3, sequence: 1 << 40 }];
    let refused = client.erase_status(&handle, &never, &[]).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UnknownView), "{refused}");
    assert_eq!(server.stop(), 0);
}

#[test]
fn without_the_archive_it_is_told_that_an_erase_cannot_end() {
    let folder = tempfile::tempdir().unwrap();
    let [data, archive] = ["data", "archive"].map(|name| folder.path().join(name));
    let config = folder.path().join("t.toml");
    std::fs::write(&config, "archive_lag_s = 1").unwrap();
    let paths = [&archive, &config].map(|path| path.to_str().unwrap());
    let options = ["--cores", "1", "--archive", paths[0], "--config", paths[1]];
    let server = Server::start_with(&data, &options);
    define(&client(&server), "people");
    write(&client(&server), "people");
    let archived = |_: &usize| server.metric("thermae_archive_rows") == (3 * PEOPLE) as u64;
    (0..LOOKS).find(archived).unwrap();
    assert_eq!(server.stop(), 0);
    let server = Server::start(&data);
    let key = ["--key", "name=person-000007-of-the-test"];
    let refused = server.run(&[&["erase", "people"], &key[..]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("erased for every reader") && said.contains("--archive"), "{said}");
    assert_eq!(server.run(&[&["get", "people:says"], &key[..]].concat()).status.code(), Some(3));
    assert_eq!(server.stop(), 0);
    let server = Server::start_with(&data, &options);
    let (erased, code) = erase(&server, &[&["people"], &key[..]].concat());
    assert_eq!((&erased["complete"], code), (&json!(true), Some(0)), "{erased}");
    assert_eq!(holding(&archive, &name(7)), [""; 0]);
    assert_eq!(server.stop(), 0);
}
