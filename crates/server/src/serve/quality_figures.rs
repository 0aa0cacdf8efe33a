//! How feature views do, as metric families: freshness, and rows that failed checks.

use thermae_features::store::ViewHealth;

use crate::http::EngineFamily;

const SECOND_US: i64 = 1_000_000;

type Rows = Vec<(Vec<(&'static str, String)>, u64)>;

/// The figures of all views that are not retired, at a time in microseconds UTC. Counters begin anew with the process.
pub fn families(health: &[ViewHealth], now_us: i64) -> Vec<EngineFamily> {
    let mut families = freshness(health, now_us);
    families.extend(checks(health));
    families
}

fn freshness(health: &[ViewHealth], now_us: i64) -> Vec<EngineFamily> {
    let of_views = |pick: &dyn Fn(&ViewHealth) -> Option<i64>| -> Rows {
        let one = |view: &ViewHealth| {
            let seconds = u64::try_from(pick(view)? / SECOND_US).ok()?;
            Some((vec![("view", name(view))], seconds))
        };
        health.iter().filter_map(one).collect()
    };
    let limited = |view: &ViewHealth| view.fresh_within_us > 0;
    let age = |view: &ViewHealth| Some(now_us.saturating_sub(view.newest_event_time?).max(0));
    let within = |view: &ViewHealth| limited(view).then_some(view.fresh_within_us);
    let late = |view: &ViewHealth| limited(view).then(|| view.late_by_us.unwrap_or(0));
    let is_late = health.iter().filter(|view| limited(view));
    let is_late =
        is_late.map(|view| (vec![("view", name(view))], u64::from(view.late_by_us.is_some())));
    vec![
        gauge("view_age_seconds", "Age of the newest event time that is known", of_views(&age)),
        gauge("view_fresh_within_seconds", "How old it may be, as defined", of_views(&within)),
        gauge("view_late_seconds", "By how much it is older than that", of_views(&late)),
        gauge("view_late", "1 if it is, or if no row is known", is_late.collect()),
    ]
}

fn checks(health: &[ViewHealth]) -> Vec<EngineFamily> {
    let (mut outcomes, mut failed): (Rows, Rows) = Default::default();
    let (mut recent_rows, mut recent_nulls): (Rows, Rows) = Default::default();
    for view in health {
        let Some(figures) = &view.checks else { continue };
        let counts = [
            ("refused", figures.refused),
            ("quarantined", figures.quarantined),
            ("warned", figures.warned),
        ];
        for (outcome, count) in counts {
            outcomes.push((vec![("view", name(view)), ("outcome", outcome.to_owned())], count));
        }
        for check in &figures.checks {
            let labels = vec![("view", name(view)), ("check", check.check.clone())];
            if let Some(recent) = check.recent {
                recent_rows.push((labels.clone(), recent.rows));
                recent_nulls.push((labels.clone(), recent.nulls));
            }
            failed.push((labels, check.failed));
        }
    }
    let counter = |name, help, values| EngineFamily { name, help, counter: true, values };
    vec![
        counter("view_rows_unfit", "Rows that failed checks, by what became of them", outcomes),
        counter("check_rows_failed", "Rows that failed this check", failed),
        gauge("check_recent_rows", "The last rows that a null rate looked at", recent_rows),
        gauge("check_recent_nulls", "Those of them that were null", recent_nulls),
    ]
}

fn gauge(name: &'static str, help: &'static str, values: Rows) -> EngineFamily {
    EngineFamily { name, help, counter: false, values }
}

fn name(view: &ViewHealth) -> String {
    format!("{}/{}@{}", view.project, view.name, view.version)
}
