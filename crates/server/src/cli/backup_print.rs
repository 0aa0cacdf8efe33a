//! Backups, for people and for programs.

use serde_json::{Value as Json, json};
use thermae_engine::backup::Listed;
use thermae_formats::backup::Backup;
use thermae_formats::time::format_timestamp_us;

use crate::table::{bytes, thousands};

/// What was taken, in a few lines.
pub fn taken(taken: &Json, place: &str) -> String {
    let number = |name: &str| taken[name].as_u64().unwrap_or(0);
    let text = |name: &str| taken[name].as_str().unwrap_or("").to_owned();
    let lines = format!(
        "backup {} in {place}: {} rows, {} files, {}; {} of them new, {}\n\
         It holds everything that was acknowledged before {}.\n",
        text("name"),
        thousands(number("rows")),
        thousands(number("files")),
        bytes(number("bytes")),
        thousands(number("new_files")),
        bytes(number("new_bytes")),
        text("taken"),
    );
    lines + &removed(taken)
}

/// What was removed, in a line, if anything was.
pub fn removed(told: &Json) -> String {
    let names: Vec<&str> =
        told["removed"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    if names.is_empty() {
        return String::new();
    }
    let freed = bytes(told["removed_bytes"].as_u64().unwrap_or(0));
    format!("removed {}; {freed} freed\n", names.join(", "))
}

/// A line a backup.
pub fn list(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "no backups\n".to_owned();
    }
    let line = |listed: &Listed| match &listed.backup {
        Ok(backup) => format!(
            "{}  {} rows  {} files  {}  {} shards  {} partitions  epoch {}{}\n",
            listed.name,
            thousands(backup.rows()),
            thousands(backup.files.len() as u64),
            bytes(backup.bytes()),
            backup.manifest.trees.len(),
            backup.manifest.partitions,
            backup.manifest.epoch,
            if backup.archive.is_some() { "  and its archive" } else { "" },
        ),
        Err(error) => format!("{}  DAMAGED: {error}\n", listed.name),
    };
    listed.iter().map(line).collect()
}

/// The same as JSON.
pub fn list_json(listed: &[Listed]) -> Json {
    let one = |listed: &Listed| match &listed.backup {
        Ok(backup) => backup_json(&listed.name.to_string(), backup),
        Err(error) => json!({ "name": listed.name.to_string(), "error": error.to_string() }),
    };
    json!({ "backups": listed.iter().map(one).collect::<Vec<_>>() })
}

fn backup_json(name: &str, backup: &Backup) -> Json {
    let id: String = backup.manifest.store_id.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "name": name,
        "taken": format_timestamp_us(backup.taken_us),
        "store_id": id,
        "rows": backup.rows(),
        "files": backup.files.len(),
        "bytes": backup.bytes(),
        "shards": backup.manifest.trees.len(),
        "partitions": backup.manifest.partitions,
        "epoch": backup.manifest.epoch,
        "archive": backup.archive.as_ref().map(|archive| format!("{:032x}", archive.id)),
    })
}
