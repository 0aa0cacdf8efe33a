//! The bench program at its smallest: every path runs and every answer is right. No figure is judged.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Runs one benchmark at its smallest; the result and the tables that it wrote.
fn run_small(which: &str, options: &[&str]) -> (serde_json::Value, String) {
    let name = format!("thermae-{which}-smoke-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (json, markdown) = (folder.join("result.json"), folder.join("result.md"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_thermae-benches"));
    command.args([which, "--small"]).args(options).arg("--json").arg(&json);
    let output = command.arg("--markdown").arg(&markdown).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let table = std::fs::read_to_string(&markdown).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    (result, table)
}

#[test]
fn wire_runs_small_and_writes_its_result() {
    let (result, table) = run_small("wire", &[]);
    let names = |list: &str| -> Vec<String> {
        let lines = result[list].as_array().unwrap();
        lines.iter().map(|line| line["target"].as_str().unwrap().to_owned()).collect()
    };
    for target in ["loopback floor", "thermae", "thermae mapped", "memory", "hot table", "store"] {
        assert!(names("latency").iter().any(|name| name == target), "{target} was not measured");
    }
    for target in ["thermae", "null server"] {
        assert_eq!(names("rates").iter().filter(|name| *name == target).count(), 2, "{target}");
    }
    assert!(table.contains("### One request at a time, blocking client: p99"), "{table}");
}

#[test]
fn runtime_runs_small_and_writes_its_result() {
    let (result, table) = run_small("runtime", &[]);
    let mut targets = vec!["thermae ring", "epoll", "plain recv"];
    if cfg!(feature = "glommio") {
        targets.push("glommio");
    } else {
        assert!(result["skipped"][0].as_str().unwrap().starts_with("glommio"));
    }
    for list in ["latency", "rates"] {
        let lines = result[list].as_array().unwrap();
        for target in &targets {
            assert_eq!(
                lines.iter().filter(|line| line["target"] == *target).count(),
                2,
                "{target}"
            );
        }
    }
    assert!(table.contains("| 64 x 32 | 1 | epoll |"), "{table}");
}

#[test]
fn warm_runs_small_and_every_row_is_right() {
    let folder = std::env::temp_dir();
    let (result, table) = run_small("warm", &["--folder", folder.to_str().unwrap()]);
    assert!(result["load"]["tiers"]["latest"]["rows"].as_u64().unwrap() > 0);
    assert!(result["verified"].as_u64().unwrap() > 1000);
    let names = |list: &str| result[list].as_array().unwrap().len();
    assert_eq!((names("device"), names("reads"), names("skewed")), (3, 6, 1));
    assert!(table.contains("| hit | 256 |"), "{table}");
}

#[test]
fn beside_runs_small_and_the_load_arrives() {
    let (result, table) = run_small("beside", &[]);
    let phase = |name: &str| result[name][0].clone();
    assert_eq!(phase("idle")["latency"]["requests"], phase("loading")["latency"]["requests"]);
    assert!(phase("loading")["rows_added"].as_u64().unwrap() > 100);
    assert!(table.contains("| beside the load |"), "{table}");
}

#[test]
fn recovery_runs_small_and_the_newest_row_is_there() {
    let folder = std::env::temp_dir();
    let (result, table) = run_small("recovery", &["--folder", folder.to_str().unwrap()]);
    assert!(result["killed"][0]["records"].as_u64().unwrap() > 0);
    assert!(result["checked"].as_u64().unwrap() > 500);
    assert!(table.contains("| SIGTERM |"), "{table}");
}

/// A peer that is not there is named: a result without its figures is a result.
#[test]
fn crosscheck_runs_small_or_says_what_is_missing() {
    let (result, table) = run_small("crosscheck", &[]);
    if result["absent"].as_array().unwrap().is_empty() {
        assert!(table.contains("| redis-benchmark |"), "{table}");
        assert!(result["figures"][0]["lines"][0]["rounds"][0].as_f64().unwrap() > 0.0);
    } else {
        assert!(table.contains("**Not measured**: redis-benchmark and Redis: "), "{table}");
        assert!(table.contains("cargo xtask bench peers fetches it"), "{table}");
    }
}

#[test]
fn flash_runs_small_and_every_row_is_right() {
    let (result, table) = run_small("flash", &[]);
    let figure = &result["figures"][0];
    assert_eq!(
        (&figure["group"], &figure["lines"][0]["who"]),
        (&"Look-ups".into(), &"thermae".into())
    );
    let is_absent = !result["absent"].as_array().unwrap().is_empty();
    assert_eq!(figure["lines"].as_array().unwrap().len(), if is_absent { 1 } else { 3 });
    assert!(table.contains("| zipf 0.99, 32 keys |"), "{table}");
}
