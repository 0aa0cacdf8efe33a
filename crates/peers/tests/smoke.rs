//! The program at its smallest: every engine that was built runs and every answer is right. No figure is judged.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn warm_peers_runs_small_and_every_answer_is_right() {
    let folder = std::env::temp_dir().join(format!("thermae-peers-smoke-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (json, markdown) = (folder.join("result.json"), folder.join("result.md"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_thermae-peers"));
    command.args(["warm-peers", "--small", "--folder"]).arg(&folder);
    command.arg("--json").arg(&json).arg("--markdown").arg(&markdown);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let table = std::fs::read_to_string(&markdown).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    let count = |list: &str| result[list].as_array().unwrap().len();
    let (engines, absent) = (count("loads"), count("absent"));
    assert_eq!(absent, if cfg!(feature = "rocksdb") { 0 } else { 2 });
    assert_eq!(engines + absent, 4);
    // Hits and misses of three sizes and skewed ones of one; fjall with its page cache and without.
    assert_eq!(count("reads"), 7 * (engines + 1));
    assert_eq!(count("goals"), 2 * (engines - 1) + 2 * 4 * engines);
    assert!(result["verified"].as_u64().unwrap() > 1000);
    for line in result["loads"].as_array().unwrap() {
        assert_eq!(line["rounds"][0]["rows"], 20_000);
        assert!(line["table_bytes_per_row"]["median"].as_f64().unwrap() > 10.0, "{line}");
    }
    assert!(table.contains("| 256 | fjall, pages dropped |"), "{table}");
}
