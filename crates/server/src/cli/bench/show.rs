//! A result as text.

use thermae_load::outcome::Outcome;
use thermae_load::report::{headroom, nanoseconds, number};

use crate::table::Table;

/// The steps as a table, with what to know.
pub fn text(outcome: &Outcome) -> String {
    let mut table = Table::new([
        ">scheduled/s",
        ">answered/s",
        ">rows/s",
        ">p50",
        ">p99",
        ">p99.9",
        ">max",
        ">errors",
        ">headroom",
        "",
    ]);
    for step in &outcome.steps {
        let ns = |ns: u64| {
            #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
            nanoseconds(ns as f64)
        };
        let errors = step.failed + step.refused + step.unfinished;
        table.row([
            step.offered_per_s.map_or("closed".to_owned(), number),
            number(step.answered_per_s),
            number(step.rows_per_s),
            ns(step.latency.p50_ns),
            ns(step.latency.p99_ns),
            ns(step.latency.p999_ns),
            ns(step.latency.max_ns),
            errors.to_string(),
            headroom(step.headroom),
            step.judgement(),
        ]);
    }
    let mut text = String::new();
    let name = &outcome.workload.name;
    text.push_str(&format!("{name}, {}: {}\n\n", outcome.way.name(), outcome.workload.description));
    text.push_str(&table.for_stdout());
    if let (Some(held), Some(promise)) = (outcome.held_per_s, outcome.promise) {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let under = nanoseconds(promise.under_ns as f64);
        let quantile = promise.quantile * 100.0;
        text.push_str(&format!("\n{} requests/s keep p{quantile} under {under}\n", number(held)));
    }
    for note in &outcome.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
