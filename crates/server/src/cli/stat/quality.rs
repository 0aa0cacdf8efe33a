//! What `thermae stat` says of freshness and checks.

use thermae_formats::time::{format_duration_us, format_timestamp_us};

use crate::cli::health::{Recent, Told};
use crate::table::{Table, thousands};

/// Views that promise freshness or have checks; none if there are none.
pub(super) fn table(told: &Told, now_us: i64) -> Option<Table> {
    let mut table = Table::new([
        "quality of",
        "newest event time",
        ">age",
        ">fresh within",
        ">refused",
        ">quarantined",
        ">warned",
    ]);
    let asked = told.health.iter().filter(|view| view.fresh_within_us > 0 || view.checks.is_some());
    let mut rows = 0;
    for view in asked {
        rows += 1;
        let newest = view.newest_event_time;
        let checks = view.checks.as_ref();
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), thousands);
        table.row([
            format!("{}/{}@{}", view.project, view.name, view.version),
            newest.map_or_else(|| "none known".to_owned(), format_timestamp_us),
            newest.map_or_else(|| "-".to_owned(), |newest| age(now_us.saturating_sub(newest))),
            match view.fresh_within_us {
                0 => "-".to_owned(),
                within => format_duration_us(within),
            },
            count(checks.map(|checks| checks.refused)),
            count(checks.map(|checks| checks.quarantined)),
            count(checks.map(|checks| checks.warned)),
        ]);
    }
    (rows > 0).then_some(table)
}

/// What is late, and which checks failed.
pub(super) fn notes(told: &Told, now_us: i64) -> Vec<String> {
    let mut notes = Vec::new();
    if told.health.iter().any(|view| view.checks.is_some()) && told.counted_since > 0 {
        let since = format_timestamp_us(told.counted_since);
        notes.push(format!(
            "rows that failed checks are counted, and null rates looked at, since {since}, when the server opened the \
             store"
        ));
    }
    for view in &told.health {
        let name = format!("{}/{}@{}", view.project, view.name, view.version);
        let within = format_duration_us(view.fresh_within_us);
        match (view.late_by_us, view.newest_event_time) {
            (None, _) => {}
            (Some(_), None) => notes.push(format!(
                "{name} is late: it is to be fresh within {within}, and no row of it is known"
            )),
            (Some(late), Some(newest)) => notes.push(format!(
                "{name} is late by {}: its newest event time is {} old, and may be {within}",
                age(late),
                age(now_us.saturating_sub(newest))
            )),
        }
        let checks = || view.checks.iter().flat_map(|checks| &checks.checks);
        for check in checks() {
            if let Some(Recent { rows: rows @ 1.., nulls }) = check.recent {
                let (nulls, rows) = (thousands(nulls), thousands(rows));
                notes.push(format!(
                    "{name}: {:?}: {nulls} of the last {rows} rows were null",
                    check.check
                ));
            }
        }
        for check in checks().filter(|check| check.failed > 0) {
            let rows = thousands(check.failed);
            notes.push(format!("{name}: {rows} rows failed the check {:?}", check.check));
        }
    }
    notes
}

/// A duration without what nobody looks at in one of its size.
fn age(duration_us: i64) -> String {
    let seconds = 1_000_000;
    let unit = match duration_us {
        us if us >= 24 * 3_600 * seconds => 3_600 * seconds,
        us if us >= 3_600 * seconds => 60 * seconds,
        us if us >= seconds => seconds,
        _ => 1_000,
    };
    format_duration_us((duration_us / unit * unit).max(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::cli::health::read;

    #[test]
    fn what_is_late_and_what_failed_is_said() {
        let health = read(
            r#"{"version":3,"counted_since":1000000,"health":[
                {"project":"p","name":"a","version":1,"newest_event_time":1000000,"fresh_within_us":60000000,
                 "late_by_us":39000000,
                 "checks":{"refused":4,"quarantined":2,"warned":0,
                           "checks":[{"check":"n: 0 to 9","on_failure":"refuse","failed":6},{"check":"x","failed":0,"recent":{"rows":1200,"nulls":30}}]}},
                {"project":"p","name":"b","version":2,"newest_event_time":null,"fresh_within_us":1000000,"late_by_us":0},
                {"project":"p","name":"c","version":1,"newest_event_time":5,"fresh_within_us":0}]}"#,
        )
        .unwrap();
        let shown = table(&health, 100_000_000).unwrap().for_stdout();
        for part in ["p/a@1", "99s", "none known", "p/b@2"] {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
        assert!(!shown.contains("p/c@1"), "{shown}");
        let notes = notes(&health, 100_000_000);
        assert_eq!(
            notes,
            [
                "rows that failed checks are counted, and null rates looked at, since 1970-01-01T00:00:01Z, when the server \
                 opened the store",
                "p/a@1 is late by 39s: its newest event time is 99s old, and may be 1m",
                "p/a@1: \"x\": 30 of the last 1,200 rows were null",
                "p/a@1: 6 rows failed the check \"n: 0 to 9\"",
                "p/b@2 is late: it is to be fresh within 1s, and no row of it is known",
            ]
        );
        assert!(table(&Told::default(), 0).is_none());
    }
}
