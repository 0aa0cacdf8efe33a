//! What was erased, for people and for programs.

use serde_json::{Value as Json, json};

use super::erase_status::{InBackup, Status};
use crate::table::thousands;

/// The same as JSON; without a status nobody waited for every byte.
pub fn json(view: &str, entities: usize, status: Option<&Status>) -> Json {
    let mut told = json!({
        "view": view,
        "entities": entities,
        "acknowledged": true,
        "complete": status.is_some(),
    });
    if let Some(status) = status {
        let backup = |one: &InBackup| json!({ "place": one.place, "backup": one.backup, "taken": one.taken, "entities": one.keys });
        told["log"] = json!({ "segments_removed": status.segments });
        told["tables"] = json!({ "rewritten": status.tables, "rows_removed": status.rows });
        told["archive"] = match &*status.archive {
            "none" => Json::Null,
            _ => {
                json!({ "rewritten": status.archive_files, "rows_removed": status.archive_rows })
            }
        };
        told["backups"] = status.backups.iter().map(backup).collect();
        told["unfinished_backups"] = json!(status.unfinished);
        told["unread_backups"] = json!(status.unread);
    }
    told
}

/// In a few lines.
pub fn text(view: &str, entities: usize, status: Option<&Status>) -> String {
    let what = counted(entities as u64, "entity", "entities");
    let mut lines = format!("erased {what} of {view}: nobody reads anything of before any more\n");
    let Some(status) = status else {
        lines += "What is left in files is removed by and by; nobody waits for it.\n";
        return lines;
    };
    lines += &format!(
        "No byte is left: {} of the log removed, {} rewritten without {}",
        counted(status.segments, "file", "files"),
        counted(status.tables, "table", "tables"),
        counted(status.rows, "version", "versions"),
    );
    if status.archive != "none" {
        lines += &format!(
            ", {} of the archive without {}",
            counted(status.archive_files, "file", "files"),
            counted(status.archive_rows, "version", "versions"),
        );
    }
    lines += ".\n";
    for one in &status.backups {
        lines += &format!(
            "STILL IN A BACKUP: {} {} of {}, with {}; remove it on the server's machine: thermae backup \
             BACKUP_DIR/{} --remove {}\n",
            one.place,
            one.backup,
            one.taken,
            counted(one.keys, "entity", "entities"),
            one.place,
            one.backup,
        );
    }
    for place in &status.unfinished {
        lines += &format!(
            "MAY BE IN AN INTERRUPTED BACKUP: {place}; the next backup there removes what that one left\n"
        );
    }
    for why in &status.unread {
        lines += &format!("MAY BE IN A BACKUP that cannot be looked through: {why}\n");
    }
    lines
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}
