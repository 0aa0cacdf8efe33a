//! Progress on long work: a bar on standard error if that is a terminal, nothing otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Rows, and rows a second.
    Rows,
    /// Bytes, and bytes a second.
    Bytes,
    /// Milliseconds of a measurement.
    Milliseconds,
    /// Entities.
    Entities,
}

/// Progress of one piece of work; the bar goes when this is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins. `total` is how much there is to do, if that is known.
    pub fn new(label: &str, total: Option<u64>, unit: Unit) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = match (unit, total.is_some()) {
            (Unit::Rows, true) => {
                "{msg} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left"
            }
            (Unit::Rows, false) => "{msg} {spinner} {human_pos} rows, {per_sec}",
            (Unit::Entities, true) => {
                "{msg} {wide_bar} {human_pos}/{human_len} entities, {elapsed}"
            }
            (Unit::Entities, false) => "{msg} {spinner} {human_pos} entities, {elapsed}",
            (Unit::Bytes, true) => {
                "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left"
            }
            (Unit::Bytes, false) => "{msg} {spinner} {bytes}, {bytes_per_sec}",
            (Unit::Milliseconds, _) => "{msg} {wide_bar} {eta} left",
        };
        // A template that does not parse leaves the plain bar; a test parses each of them.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// What is being done, in other words than before.
    pub fn say(&self, label: &str) {
        self.bar.set_message(label.to_owned());
    }

    /// This much is done.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_without_a_terminal_is_silent_and_does_not_fail() {
        for total in [None, Some(10)] {
            for unit in [Unit::Rows, Unit::Bytes, Unit::Milliseconds, Unit::Entities] {
                let progress = Progress::new("loading", total, unit);
                progress.at(5);
                assert!(progress.bar.is_hidden() || std::io::stderr().is_terminal());
            }
        }
    }
}
