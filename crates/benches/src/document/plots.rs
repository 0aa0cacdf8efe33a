//! Plots of a group of figures: lines over keys a request where there are many of those, bars otherwise.

use super::part::{Figure, Part, Role};
use crate::stats::Spread;
use thermae_load::report::{Bar, Bars, Line, Plot, number, standalone};

/// From so many sizes on they are lines.
const LINES_FROM: usize = 4;

/// Whether a group is drawn: not what one alone reached, nor a second percentile of what is drawn.
pub fn is_plotted(figures: &[&Figure]) -> bool {
    let is_one = figures.iter().all(|figure| figure.lines.len() < 2);
    !is_one && !figures.iter().any(|figure| figure.group.ends_with("p99"))
}

/// All plots of a part: names of files, and what they hold.
pub fn plots(name: &str, part: &Part) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for group in part.groups() {
        let figures = part.of_group(group);
        if is_plotted(&figures) {
            found.push((file(name, group), standalone(&draw(group, &figures))));
        }
    }
    found
}

/// The name of a group's plot.
pub fn file(part: &str, group: &str) -> String {
    format!("plots/{part}-{}.svg", slug(group))
}

/// Text as it stands in names of files, and in anchors of headings.
pub fn slug(text: &str) -> String {
    let letters = text.to_lowercase().replace(' ', "-");
    letters.chars().filter(|letter| letter.is_alphanumeric() || *letter == '-').collect()
}

fn draw(group: &str, figures: &[&Figure]) -> String {
    let unit = figures.first().map_or("", |figure| &figure.unit);
    let better = match figures.first().is_some_and(|figure| figure.is_more_better) {
        true => "more is better",
        false => "less is better",
    };
    let title = format!("{group}, {unit} ({better})");
    let keys: Vec<Option<f64>> = figures.iter().map(|figure| keys_of(&figure.at)).collect();
    if figures.len() < LINES_FROM || keys.iter().any(Option::is_none) {
        return bars(title, figures);
    }
    let mut lines: Vec<Line> = Vec::new();
    for (figure, keys) in figures.iter().zip(keys) {
        for line in &figure.lines {
            let point = (keys.unwrap_or(f64::NAN), median(&line.rounds));
            match lines.iter_mut().find(|drawn| drawn.name == line.who) {
                Some(drawn) => drawn.points.push(point),
                None => lines.push(Line { name: line.who.clone(), points: vec![point] }),
            }
        }
    }
    let plot = Plot {
        title,
        x_name: "keys a request".to_owned(),
        y_text: number,
        x_text: number,
        is_log: true,
        is_log_x: true,
        is_bytes: false,
        dots: true,
        marks: Vec::new(),
        lines,
    };
    plot.svg()
}

/// The number of `100 keys`.
fn keys_of(at: &str) -> Option<f64> {
    at.strip_suffix(" keys")?.parse().ok()
}

fn median(rounds: &[f64]) -> f64 {
    Spread::of(rounds.iter().copied()).map_or(f64::NAN, |found| found.median)
}

fn bars(title: String, figures: &[&Figure]) -> String {
    let group = |figure: &&Figure| {
        let bars = figure.lines.iter().filter_map(|line| {
            let found = Spread::of(line.rounds.iter().copied())?;
            let (name, is_ours) = (line.who.clone(), line.role == Role::Ours);
            Some(Bar { name, value: found.median, range: (found.min, found.max), is_ours })
        });
        (figure.at.clone(), bars.collect())
    };
    Bars { title, groups: figures.iter().map(group).collect() }.svg()
}
