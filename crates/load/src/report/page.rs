//! The page: what was driven at what, what came of it, and plots.

use std::fmt::Write as _;

use super::plot::{Line, Plot};
use super::{PLOT_STYLE, bytes, escape, nanoseconds, number};
use crate::figures::Sample;
use crate::outcome::{Outcome, SecondOutcome, Step};
use crate::target::Way;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;color:#1c1c1c;background:#fff;margin:0 auto;max-width:1180px;padding:24px}
h1{font-size:24px;margin:0 0 2px}h2{font-size:18px;margin:28px 0 8px}p{margin:4px 0}.lead{color:#555}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}.fact{border:1px solid #ccc;border-radius:6px;padding:8px 14px}
.fact b{display:block;font-size:20px}.fact span{color:#555;font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{padding:4px 8px;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child,td.why{text-align:left}td.why{white-space:normal}th{border-bottom:2px solid #888}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:18px}
svg{width:100%;height:auto;display:block}
pre{background:#f6f6f6;border:1px solid #ddd;border-radius:6px;padding:10px;font-size:12.5px;overflow-x:auto;white-space:pre-wrap}
.note{border-left:4px solid #c2410c;padding:4px 10px;margin:6px 0;background:#fdf3ee}.none{color:#777;font-style:italic}
@media print{@page{margin:14mm}body{padding:0;font-size:11px;max-width:none}.plots{grid-template-columns:1fr 1fr}
svg,.fact,.note,tr{break-inside:avoid}h2{break-after:avoid}table{font-size:9.5px}th,td{padding:2px 4px}pre{font-size:9px}}";

/// The whole page.
pub fn page(outcome: &Outcome) -> String {
    let name = escape(&outcome.workload.name);
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{name}: {}</title>\n\
         <style>{STYLE}{PLOT_STYLE}</style></head><body>\n<h1>{name}</h1>\n<p class=\"lead\">{}</p>\n<p class=\"lead\">{}</p>\n",
        escape(&outcome.program),
        escape(&outcome.workload.description),
        escape(&where_and_when(outcome)),
    );
    facts(&mut out, outcome);
    for note in &outcome.notes {
        let _ = writeln!(out, "<div class=\"note\">{}</div>", escape(note));
    }
    steps(&mut out, outcome);
    out.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
    for plot in plots(outcome) {
        let _ = write!(out, "<div>{}</div>", plot.svg());
    }
    out.push_str("</div>\n<h2>The workload</h2>\n");
    // A workload was read from TOML, so that it can be written as such.
    let toml = toml::to_string(&outcome.workload).unwrap_or_default();
    let _ = write!(out, "<pre>{}</pre>\n</body></html>\n", escape(&toml));
    out
}

fn where_and_when(outcome: &Outcome) -> String {
    let way = match &outcome.way {
        Way::Wire { server } => format!("over the wire to {server}"),
        Way::Mapped { server } => format!("through the maps of {server}"),
        Way::Embedded { data, cores, memory_bytes } => {
            let memory = bytes(*memory_bytes as f64);
            format!("embedded, {} with {memory} and {cores} shards", data.display())
        }
    };
    let machine = &outcome.machine;
    let drive = &outcome.workload.drive;
    format!(
        "{way}; {}, {} cores, {}, Linux {}, load before {}; client: {} threads, {} connections, {} in flight each",
        machine.cpu,
        machine.cores,
        bytes(machine.memory_bytes as f64),
        machine.kernel,
        machine.load_before,
        drive.threads,
        drive.connections,
        drive.in_flight,
    )
}

fn facts(out: &mut String, outcome: &Outcome) {
    let mut all: Vec<(String, String)> = Vec::new();
    if let (Some(held), Some(promise)) = (outcome.held_per_s, outcome.promise) {
        let quantile = promise.quantile * 100.0;
        let under = nanoseconds(promise.under_ns as f64);
        let what = format!("requests/s with p{quantile} under {under}");
        all.push((number(held), what));
    }
    let closed = outcome.steps.iter().find(|step| step.offered_per_s.is_none());
    if let Some(step) = closed {
        all.push((number(step.answered_per_s), "requests/s, closed loop".to_owned()));
        all.push((number(step.rows_per_s), "rows/s, closed loop".to_owned()));
    }
    if let Some(client) = outcome.client_per_s {
        all.push((number(client), "requests/s of the client alone".to_owned()));
    }
    if outcome.rows_loaded > 0 {
        let rate = number(outcome.load_rows_per_s);
        all.push((rate, format!("rows/s while loading {}", number(outcome.rows_loaded as f64))));
    }
    out.push_str("<div class=\"facts\">");
    for (value, what) in all {
        let _ =
            write!(out, "<div class=\"fact\"><b>{value}</b><span>{}</span></div>", escape(&what));
    }
    out.push_str("</div>\n");
}

fn steps(out: &mut String, outcome: &Outcome) {
    out.push_str(
        "<h2>Steps</h2>\n<p class=\"lead\">Latency counts from when a request was due, not from when it left.</p>\n\
         <div class=\"wide\"><table><tr><th>scheduled/s</th><th>answered/s</th><th>rows/s</th><th>p50</th><th>p90</th>\
         <th>p99</th><th>p99.9</th><th>max</th><th>late</th><th>errors</th><th>headroom</th><th></th></tr>\n",
    );
    for step in &outcome.steps {
        let latency = &step.latency;
        let scheduled = step.offered_per_s.map_or("closed".to_owned(), number);
        let headroom = step.headroom.map_or("-".to_owned(), |times| format!("{times:.2}x"));
        let mut cells = vec![scheduled, number(step.answered_per_s), number(step.rows_per_s)];
        let times =
            [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns];
        cells.extend(times.map(|ns| nanoseconds(ns as f64)));
        cells.push(number(step.unfinished as f64));
        cells.push(number((step.failed + step.refused) as f64));
        cells.push(headroom);
        out.push_str("<tr>");
        for cell in cells {
            let _ = write!(out, "<td>{}</td>", escape(&cell));
        }
        let _ = writeln!(out, "<td class=\"why\">{}</td></tr>", escape(&step.judgement()));
    }
    out.push_str("</table></div>\n");
}

fn percent(value: f64) -> String {
    format!("{}%", number(value))
}

fn share(some: Option<f64>) -> f64 {
    some.map_or(f64::NAN, |share| share * 100.0)
}

fn per_s(value: f64) -> String {
    format!("{}/s", bytes(value))
}

/// What is plotted over the seconds of all steps, one after the other.
struct Timeline<'a> {
    outcome: &'a Outcome,
    starts: Vec<f64>,
}

impl Timeline<'_> {
    fn plot(&self, title: &str, y_text: fn(f64) -> String, lines: Vec<Line>) -> Plot {
        Plot {
            title: title.to_owned(),
            x_name: "seconds measured, one step after the other".to_owned(),
            y_text,
            x_text: number,
            is_log: false,
            is_log_x: false,
            is_bytes: false,
            dots: false,
            marks: self.starts.clone(),
            lines,
        }
    }

    fn by_second(&self, name: &str, pick: fn(&SecondOutcome) -> f64) -> Line {
        let mut points = Vec::new();
        for (step, start) in self.outcome.steps.iter().zip(&self.starts) {
            let of = step.by_second.iter().enumerate();
            points.extend(of.map(|(at, second)| (start + at as f64 + 0.5, pick(second))));
            points.push((f64::NAN, f64::NAN));
        }
        Line { name: name.to_owned(), points }
    }

    fn sampled(&self, name: &str, pick: fn(&Sample) -> f64) -> Line {
        let mut points = Vec::new();
        for (step, start) in self.outcome.steps.iter().zip(&self.starts) {
            points.extend(step.samples.iter().map(|sample| (start + sample.at_s, pick(sample))));
            points.push((f64::NAN, f64::NAN));
        }
        Line { name: name.to_owned(), points }
    }
}

fn plots(outcome: &Outcome) -> Vec<Plot> {
    let time = Timeline { outcome, starts: starts(outcome) };
    let requests = vec![time.by_second("answered", |second| second.requests as f64)];
    let latency = vec![
        time.by_second("p50", |second| second.p50_ns as f64),
        time.by_second("p99", |second| second.p99_ns as f64),
    ];
    let tiers = vec![
        time.sampled("hot", |s| share(s.hot_share)),
        time.sampled("other memory", |s| share(s.memory_share)),
        time.sampled("warm", |s| share(s.warm_share)),
        time.sampled("not there", |s| share(s.missing_share)),
    ];
    let cores =
        vec![time.sampled("store", |s| s.cpu_cores), time.sampled("client", |s| s.client_cores)];
    let memory = vec![time.sampled("resident", |s| s.resident_bytes as f64)];
    let disk = vec![
        time.sampled("read", |s| s.read_bytes_per_s),
        time.sampled("written", |s| s.written_bytes_per_s),
    ];
    vec![
        over_rate(outcome),
        time.plot("Requests a second", number, requests),
        Plot { is_log: true, ..time.plot("Latency over time", nanoseconds, latency) },
        time.plot("Where keys were answered", percent, tiers),
        time.plot("Cores busy", number, cores),
        Plot { is_bytes: true, ..time.plot("Memory of the store's process", bytes, memory) },
        Plot { is_bytes: true, ..time.plot("Disk", per_s, disk) },
    ]
}

fn over_rate(outcome: &Outcome) -> Plot {
    let mut steps: Vec<&Step> =
        outcome.steps.iter().filter(|step| step.offered_per_s.is_some()).collect();
    steps.sort_by(|a, b| a.offered_per_s.unwrap_or(0.0).total_cmp(&b.offered_per_s.unwrap_or(0.0)));
    let line = |name: &str, pick: fn(&crate::outcome::Latency) -> u64| {
        let points = steps
            .iter()
            .map(|step| (step.offered_per_s.unwrap_or(0.0), pick(&step.latency) as f64));
        Line { name: name.to_owned(), points: points.collect() }
    };
    let mut lines = Vec::new();
    if !steps.is_empty() {
        lines = vec![
            line("p50", |l| l.p50_ns),
            line("p99", |l| l.p99_ns),
            line("p99.9", |l| l.p999_ns),
            line("max", |l| l.max_ns),
        ];
    }
    Plot {
        title: "Latency over the scheduled rate".to_owned(),
        x_name: "requests a second".to_owned(),
        y_text: nanoseconds,
        x_text: number,
        is_log: true,
        is_log_x: false,
        is_bytes: false,
        dots: true,
        marks: Vec::new(),
        lines,
    }
}

/// When each step begins, seconds of measured time before it.
fn starts(outcome: &Outcome) -> Vec<f64> {
    let mut at = 0.0;
    let start = |step: &Step| {
        let start = at;
        at += step.seconds;
        start
    };
    outcome.steps.iter().map(start).collect()
}
