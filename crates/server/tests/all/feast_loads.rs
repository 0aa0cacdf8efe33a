//! `/materialize` and `/materialize-incremental`: files that the server loads itself.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::feast_http::{apply, message, post};
use crate::process::Server;

const SHOP: &str = r#"format = 1
project = "shop"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[views.users]
entities = ["user"]
ttl = "0"
source = { file = "in/users.csv", event_time = "at" }
features = [{ name = "score", type = "float32" }]
[views.others]
entities = ["user"]
ttl = "0"
features = [{ name = "other", type = "float32" }]
[views.outside]
entities = ["user"]
ttl = "0"
lifecycle = "staged"
source = { file = "../secret.csv", event_time = "at" }
features = [{ name = "far", type = "float32" }]
"#;

fn shop(folder: &tempfile::TempDir, rows: &str) -> Server {
    let sources = folder.path().join("sources");
    std::fs::create_dir_all(sources.join("in")).unwrap();
    write(folder.path(), rows);
    std::fs::write(folder.path().join("secret.csv"), "uid,at,far\n1,2020-01-01,1\n").unwrap();
    let sources = sources.to_str().unwrap();
    let server =
        Server::start_with(&folder.path().join("data"), &["--cores", "1", "--source-dir", sources]);
    apply(&server, folder, SHOP);
    server
}

fn write(folder: &Path, rows: &str) {
    std::fs::write(folder.join("sources/in/users.csv"), format!("uid,at,score\n{rows}")).unwrap();
}

fn scores(server: &Server, users: &[i64]) -> Json {
    let asked = json!({ "entities": { "uid": users }, "features": ["users:score"] });
    let (_, answer) = post(server, "/get-online-features", &asked.to_string());
    answer["results"][1]["values"].clone()
}

#[test]
fn a_window_is_loaded_once_and_other_bytes_are_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(&folder, "1,2020-01-01,1\n2,2020-02-01,2\n3,2020-03-01,3\n");
    let window = json!({ "start_ts": "2020-01-01", "end_ts": "2020-02-01T00:00:00Z" }).to_string();
    let load = |body: &str| post(&server, "/materialize", body);
    let told = |answer: &Json| answer["feature_views"][0].clone();
    let (status, answer) = load(&window);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        told(&answer),
        json!({ "name": "shop/users@1", "rows": 3, "written": 2, "duplicate": 0, "outside": 1,
            "rejected": 0, "reasons": [] })
    );
    assert_eq!(scores(&server, &[1, 2, 3]), json!([1.0, 2.0, null]));
    assert_eq!(told(&load(&window).1)["duplicate"], 2, "a repetition changes nothing");
    write(folder.path(), "1,2020-01-01,9\n");
    assert_eq!(told(&load(&window).1)["written"], 1);
    assert_eq!(scores(&server, &[1]), json!([9.0]));
    let all = json!({ "disable_event_timestamp": true, "feature_views": ["users"] }).to_string();
    assert_eq!(told(&load(&all).1)["rows"], 1);
    let first =
        json!({ "disable_event_timestamp": true, "feature_views": ["users"], "version": "v1" });
    assert_eq!(told(&load(&first.to_string()).1)["duplicate"], 1);
    for (body, status, what) in [
        (json!({}), 422, "start_ts and end_ts are missing"),
        (json!({ "start_ts": "2020-01-01" }), 422, "start_ts and end_ts are missing"),
        (json!({ "start_ts": "soon", "end_ts": "2020-01-01" }), 422, "start_ts: \"soon\" is not"),
        (json!({ "start_ts": "2020-01-02", "end_ts": "2020-01-01" }), 422, "behind"),
        (json!({ "disable_event_timestamp": true, "version": "v1" }), 422, "goes with one"),
        (json!({ "disable_event_timestamp": true, "end_ts": "2020-01-01" }), 422, "say nothing"),
        (json!({ "disable_event_timestamp": true, "feature_views": ["none"] }), 404, "none"),
        (
            json!({ "disable_event_timestamp": true, "feature_views": ["others"] }),
            422,
            "names no file",
        ),
        (
            json!({ "disable_event_timestamp": true, "feature_views": ["outside@1"] }),
            422,
            "lies elsewhere",
        ),
    ] {
        let (found, answer) = load(&body.to_string());
        assert_eq!(found, status, "{body}: {answer}");
        assert!(message(&answer).contains(what), "{body}: {answer}");
    }
    // Rows that cannot be are told, and the others are there.
    write(folder.path(), "5,2020-01-01,5\n6,2020-02-01,much\n,2020-02-01,1\n7,2020-02-01,7\n");
    let answer = told(&load(&all).1);
    assert_eq!(
        (&answer["rows"], &answer["written"], &answer["rejected"]),
        (&json!(4), &json!(2), &json!(2))
    );
    let reasons = answer["reasons"].as_array().unwrap();
    assert!(reasons[0].as_str().unwrap().starts_with("row 2: feature score"), "{reasons:?}");
    assert!(reasons[1].as_str().unwrap().starts_with("row 3: join key uid"), "{reasons:?}");
    assert_eq!(scores(&server, &[5, 6, 7]), json!([5.0, null, 7.0]));
}

#[test]
fn an_incremental_load_takes_what_has_come_since_however_late_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(&folder, "1,2020-01-01,1\n");
    let body = json!({ "end_ts": "2020-06-01T00:00:00Z" }).to_string();
    let load = || {
        let (status, answer) = post(&server, "/materialize-incremental", &body);
        assert_eq!(status, 200, "{answer}");
        answer["feature_views"][0]["written"].clone()
    };
    assert_eq!((load(), load()), (json!(1), json!(0)));
    write(folder.path(), "1,2020-01-01,1\n2,2019-01-01,2\n");
    assert_eq!((load(), load()), (json!(1), json!(0)));
    assert_eq!(scores(&server, &[1, 2]), json!([1.0, 2.0]));
    let (status, answer) = post(&server, "/materialize-incremental", "{}");
    assert_eq!((status, message(&answer).as_str()), (422, "end_ts is missing"));
}

#[test]
fn a_server_that_was_not_told_where_files_are_loads_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    apply(&server, &folder, SHOP);
    let body = json!({ "disable_event_timestamp": true }).to_string();
    let (status, answer) = post(&server, "/materialize", &body);
    assert_eq!(status, 422);
    assert!(message(&answer).contains("--source-dir"), "{answer}");
}
