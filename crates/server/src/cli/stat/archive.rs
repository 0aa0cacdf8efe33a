//! The archive's line and facts of `thermae stat --tiers`.

use serde::Deserialize;

use crate::table::{bytes, thousands};

/// What is shown of the archive.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Archive {
    pub rows: u64,
    pub bytes: u64,
    files: u64,
    tables: u64,
    archived_rows: u64,
    merges: u64,
    failures: u64,
    lag_us: i64,
    waiting_bytes: u64,
    open_file_bytes: u64,
    /// What is damaged and set aside.
    pub damaged: Vec<String>,
    /// Why it does not get on.
    pub trouble: Option<String>,
}

impl Archive {
    /// What came in, and what was rewritten.
    pub fn movement(&self) -> String {
        let merges = if self.merges == 1 { "merge" } else { "merges" };
        format!("{} archived, {} {merges}", thousands(self.archived_rows), thousands(self.merges))
    }
}

/// What does not fit the table.
pub(super) fn fact(archive: Option<&Archive>) -> String {
    let Some(archive) = archive else {
        return "no archive: warm_for moves nothing; thermae serve --archive DIR begins one"
            .to_owned();
    };
    let waits = match archive.waiting_bytes {
        0 => "nothing in tables waits for it".to_owned(),
        some => format!("{} wait for it, since {} s", bytes(some), archive.lag_us / 1_000_000),
    };
    format!(
        "archive: {} files in {} tables; {waits}; {} failures; {} of open files in memory",
        thousands(archive.files),
        thousands(archive.tables),
        thousands(archive.failures),
        bytes(archive.open_file_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_told_in_a_line() {
        let archive = Archive {
            files: 1_200,
            tables: 2,
            archived_rows: 5_000,
            merges: 1,
            waiting_bytes: 1 << 20,
            lag_us: 31_000_000,
            ..Archive::default()
        };
        assert_eq!(archive.movement(), "5,000 archived, 1 merge");
        let fact = fact(Some(&archive));
        assert!(fact.contains("1,200 files in 2 tables"), "{fact}");
        assert!(fact.contains("since 31 s"), "{fact}");
        assert!(super::fact(None).contains("warm_for moves nothing"));
    }
}
