//! Checks at write, the quarantine and freshness, by the commands that people type: the example of the README.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use thermae_client::{Client, Config, WriteBatch};
use thermae_formats::wire::RowOutcome;
use thermae_formats::{KeyValue, NO_TIME, Value};

use crate::process::Server;

fn example(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/user_engagement");
    folder.join(name).display().to_string()
}

fn text(server: &Server, arguments: &[&str], code: i32) -> String {
    let output = server.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn loaded(data: &Path) -> Server {
    let server = Server::start(data);
    let applied = text(&server, &["apply", &example("features.toml")], 0);
    assert!(applied.contains("user_engagement__quarantine@1"), "{applied}");
    let told =
        text(&server, &["ingest", "user_engagement", &example("events.ndjson"), "--json"], 3);
    let told: Json = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["rows"], &told["accepted"], &told["rejected"]),
        (&json!(200), &json!(181), &json!(19))
    );
    let reasons: Vec<(&str, u64)> = told["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["reason"].as_str().unwrap(), one["rows"].as_u64().unwrap()))
        .collect();
    let kept = |name: &str| format!("it fails {name}, and is in the view's quarantine");
    let nulls = kept("minutes: null at most 0.05 of the time");
    assert!(reasons.contains(&(nulls.as_str(), 13)), "{reasons:?}");
    let range = kept("minutes: 0.0 to 1440.0");
    assert!(reasons.contains(&(range.as_str(), 3)), "{reasons:?}");
    let regex = "it fails device: matches (ios|android|web)-[0-9]+";
    assert!(reasons.contains(&(regex, 1)), "{reasons:?}");
    server
}

#[test]
fn the_example_of_the_readme_keeps_bad_rows_aside_and_says_what_is_late() {
    let data = tempfile::tempdir().unwrap();
    let server = loaded(data.path());
    let lines = text(&server, &["quarantine", "user_engagement"], 0);
    let rows: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 18);
    let of = |user: i64| rows.iter().find(|row| row["key"]["user_id"] == user).unwrap();
    let both = of(152);
    assert_eq!(
        both["reasons"],
        json!([
            "minutes: 0.0 to 1440.0: 2000.0 is above 1440.0",
            "country: one of 5 values: \"??\" is not in the set"
        ])
    );
    assert_eq!((&both["row"]["minutes"], &both["row"]["country"]), (&json!(2000.0), &json!("??")));
    assert!(both["event_time"].as_str().unwrap().starts_with("2026-11-2"), "{both}");
    assert_eq!(
        text(&server, &["quarantine", "user_engagement", "--limit", "3"], 0).lines().count(),
        3
    );
    let one = text(&server, &["quarantine", "app/user_engagement@1", "--key", "user_id=91"], 0);
    assert!(
        one.contains("sessions: at least 0: -1 is below 0") && one.lines().count() == 1,
        "{one}"
    );

    let status = text(&server, &["status"], 0);
    for part in [
        "quality of",
        "app/user_engagement@1",
        "rows failed the check \"minutes: null at most 0.05 of the time\"",
    ] {
        assert!(status.contains(part), "{part:?} is not in:\n{status}");
    }
    let json: Json = serde_json::from_str(&text(&server, &["stat", "--json"], 0)).unwrap();
    let health = json["health"].as_array().unwrap();
    let view = health.iter().find(|view| view["name"] == "user_engagement").unwrap();
    assert_eq!(
        (&view["checks"]["quarantined"], &view["checks"]["refused"]),
        (&json!(18), &json!(1))
    );
    assert_eq!(view["fresh_within_us"], json!(86_400_000_000_i64));

    // Loading again changes nothing: what was kept is not kept twice.
    let again = server.run(&["ingest", "user_engagement", &example("events.ndjson"), "--json"]);
    let again: Json = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["accepted"], json!(0), "{again}");
    assert_eq!(text(&server, &["quarantine", "user_engagement"], 0).lines().count(), 18);

    // It outlives a restart, and an erase takes the entity out of it.
    assert_eq!(server.stop(), 0);
    let server = Server::start(data.path());
    assert_eq!(text(&server, &["quarantine", "user_engagement"], 0).lines().count(), 18);
    text(&server, &["erase", "user_engagement", "--key", "user_id=91"], 0);
    assert_eq!(text(&server, &["quarantine", "user_engagement"], 0).lines().count(), 17);
    let none = server.run(&["quarantine", "user_engagement__quarantine"]);
    let told = String::from_utf8_lossy(&none.stderr);
    assert!(told.contains("has no quarantine"), "{told}");
}

#[test]
fn metrics_tell_what_failed_and_how_fresh_views_are() {
    let data = tempfile::tempdir().unwrap();
    let server = loaded(data.path());
    let label = "{view=\"app/user_engagement@1\"";
    for (family, labels, value) in [
        ("view_rows_unfit_total", ",outcome=\"quarantined\"}", 18),
        ("view_rows_unfit_total", ",outcome=\"refused\"}", 1),
        ("check_rows_failed_total", ",check=\"minutes: 0.0 to 1440.0\"}", 3),
        ("check_recent_rows", ",check=\"minutes: null at most 0.05 of the time\"}", 200),
        ("check_recent_nulls", ",check=\"minutes: null at most 0.05 of the time\"}", 13),
        ("view_fresh_within_seconds", "}", 86_400),
    ] {
        let name = format!("thermae_{family}{label}{labels}");
        assert_eq!(server.metric(&name), value, "{name}");
    }
    // A shard publishes its figures ten times a second.
    let age = || server.metric(&format!("thermae_view_age_seconds{label}}}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while age() == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let age = age();
    assert!(age > 86_400, "the example's events are of 2026-11-24 at the latest, {age} s");
    let late = server.metric(&format!("thermae_view_late_seconds{label}}}"));
    // Read one after the other.
    assert!(late.abs_diff(age.saturating_sub(86_400)) <= 60, "{late} s late, {age} s old");
    assert_eq!(server.metric(&format!("thermae_view_late{label}}}")), 1);
    let status = text(&server, &["status"], 0);
    let json: Json = serde_json::from_str(&text(&server, &["stat", "--json"], 0)).unwrap();
    assert!(
        status.contains("rows that failed checks are counted, and null rates looked at, since 20"),
        "{status}"
    );
    assert!(status.contains("13 of the last 200 rows were null"), "{status}");
    assert!(json["counted_since"].as_i64().unwrap() > 1_700_000_000_000_000);
}

#[test]
fn a_client_is_told_which_check_a_row_fails() {
    let data = tempfile::tempdir().unwrap();
    let server = loaded(data.path());
    let client = Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap();
    let view = client.view("app", "user_engagement").unwrap();
    let values = |minutes: f32, device: &str| {
        [
            Value::Float32(minutes),
            Value::Int64(4),
            Value::from("DE"),
            Value::from(device),
            Value::Null,
        ]
    };
    let mut batch = WriteBatch::put(&view);
    for (user, values) in
        [(1_001, values(8.0, "ios-17")), (1_002, values(-8.0, "ios-17")), (1_003, values(8.0, "x"))]
    {
        batch.push(&[KeyValue::Int(user)], 1_764_000_000_000_000, NO_TIME, &values).unwrap();
    }
    let written = client.write(&mut batch).unwrap();
    assert!(matches!(written.outcomes[0], RowOutcome::Ok { .. }), "{written:?}");
    assert_eq!(written.outcomes[1], RowOutcome::Quarantined { check: 0 });
    assert_eq!(written.outcomes[2], RowOutcome::FailsCheck { check: 4 });
    assert!(
        written.message.contains("row 1") && written.message.contains("minutes: 0.0 to 1440.0"),
        "{}",
        written.message
    );
    // What is computed is there to be read.
    let told = text(
        &server,
        &[
            "get",
            "user_engagement:minutes_a_session",
            "--key",
            "user_id=1001",
            "--read-time",
            "2025-11-24T16:00:00Z",
            "--json",
        ],
        0,
    );
    assert!(told.contains("2.0"), "{told}");
}
