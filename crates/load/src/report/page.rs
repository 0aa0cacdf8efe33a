//! The page: what was driven at what, what came of it, and plots.

use std::fmt::Write as _;

use super::plot::{Line, Plot};
use super::{PLOT_STYLE, bytes, escape, headroom, nanoseconds, number};
use crate::figures::Sample;
use crate::machine::Machine;
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
th.why,td.bars{text-align:left}.rungs td.why{min-width:250px}.bars{width:22%;min-width:90px}.bars i,.bars b{display:inline-block;height:12px;background:#9db8cc;vertical-align:middle}
.bars b{background:#1b5e8c}
@media screen and (max-width:600px){.t{font-size:17px}.x,.y,.l{font-size:15px}body{padding:16px}}
@media print{*{-webkit-print-color-adjust:exact;print-color-adjust:exact}@page{margin:14mm}body{padding:0;font-size:11px;max-width:none}.plots{grid-template-columns:1fr 1fr}
svg,.fact,.note,tr{break-inside:avoid}h2{break-after:avoid}table{font-size:9.5px}th,td{padding:2px 4px}pre{font-size:9px}}";

/// The beginning of a page: a title, and lines below it.
pub fn head(title: &str, program: &str, lines: &[&str]) -> String {
    let title = escape(title);
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title}: {}</title>\n\
         <style>{PLOT_STYLE}{STYLE}</style></head><body>\n<h1>{title}</h1>\n",
        escape(program),
    );
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "<p class=\"lead\">{}</p>", escape(line));
    }
    out
}

/// The whole page.
pub fn page(outcome: &Outcome) -> String {
    let lines = [outcome.workload.description.as_str(), &where_and_when(outcome)];
    let mut out = head(&outcome.workload.name, &outcome.program, &lines);
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
    let drive = &outcome.workload.drive;
    format!(
        "{way}; {}; client: threads {}, connections {}, in flight on each {}",
        machine(&outcome.machine),
        drive.threads,
        drive.connections,
        drive.in_flight,
    )
}

/// A machine in a few words.
pub fn machine(machine: &Machine) -> String {
    format!(
        "{}, {} cores, {}, Linux {}, load before {}",
        machine.cpu,
        machine.cores,
        bytes(machine.memory_bytes as f64),
        machine.kernel,
        machine.load_before,
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
         <th>p99</th><th>p99.9</th><th>max</th><th>not in time</th><th>errors</th><th>headroom</th><th></th></tr>\n",
    );
    for step in &outcome.steps {
        let latency = &step.latency;
        let scheduled = step.offered_per_s.map_or("closed".to_owned(), number);
        let mut cells = vec![scheduled, number(step.answered_per_s), number(step.rows_per_s)];
        let times =
            [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns];
        cells.extend(times.map(|ns| nanoseconds(ns as f64)));
        cells.push(number(step.unfinished as f64));
        cells.push(number((step.failed + step.refused) as f64));
        cells.push(headroom(step.headroom));
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
        time.sampled("cold", |s| share(s.cold_share)),
        time.sampled("not there", |s| share(s.missing_share)),
    ];
    let cores = match outcome.way {
        Way::Embedded { .. } => {
            vec![time.sampled("store and client, one process", |s| s.cpu_cores)]
        }
        _ => {
            vec![time.sampled("store", |s| s.cpu_cores), time.sampled("client", |s| s.client_cores)]
        }
    };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::drive::Recorded;
    use crate::presets::preset;

    /// A result with steps, seconds and samples of every kind.
    fn outcome() -> Outcome {
        let workload = preset("ycsb-b").unwrap();
        let step = |rate: Option<f64>| {
            let mut recorded = Recorded::new(2).unwrap();
            for second in 0..3_u64 {
                let mut latency = crate::drive::histogram(2).unwrap();
                latency.record(40_000 + second).unwrap();
                recorded.operations[0].latency.record(50_000 << second).unwrap();
                recorded.seconds.push(crate::drive::Second { requests: 9, rows: 9, latency });
            }
            recorded.answered = 27;
            let sample = |at: u32| Sample {
                at_s: f64::from(at),
                cpu_cores: 0.9,
                client_cores: 1.0,
                resident_bytes: 3 << 30,
                read_bytes_per_s: 1e9,
                written_bytes_per_s: 2e8,
                hot_share: Some(0.9),
                memory_share: Some(0.02),
                warm_share: Some(0.06),
                cold_share: Some(0.01),
                missing_share: Some(0.01),
            };
            Step::of(&workload, &recorded, rate, 3.0, (0..3).map(sample).collect())
        };
        let steps = vec![step(None), step(Some(1e4)), step(Some(2e5))];
        Outcome {
            format: crate::outcome::FORMAT,
            program: "thermae <0>".to_owned(),
            at_us: 0,
            machine: Machine::default(),
            way: Way::Wire { server: "http://somewhere".to_owned() },
            workload,
            rows_loaded: 5,
            load_rows_per_s: 1.0,
            client_per_s: Some(30.0),
            promise: None,
            held_per_s: None,
            steps,
            notes: vec!["a <note>".to_owned()],
        }
    }

    #[test]
    fn a_page_has_every_plot_within_its_box_and_asks_for_nothing() {
        let page = page(&outcome());
        for title in [
            "Latency over the scheduled rate",
            "Requests a second",
            "Latency over time",
            "Where keys were answered",
            "Cores busy",
            "Memory of the store&#39;s process",
            "Disk",
        ] {
            assert!(page.contains(&format!("class=\"t\">{title}</text>")), "{title}: {page}");
        }
        assert_eq!(page.matches("<svg").count(), 7);
        for tier in ["hot", "other memory", "warm", "cold", "not there"] {
            assert!(page.contains(&format!(">{tier}</text>")), "{tier}: {page}");
        }
        assert_eq!(super::super::plot::tests::outside(&page), Vec::<String>::new());
        for tag in ["<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(tag), "the page asks for more: {tag}");
        }
        assert!(page.contains("a &lt;note&gt;") && !page.contains("<note>"));
    }
}
