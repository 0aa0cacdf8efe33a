//! A progress bar for long campaigns; silent where standard error is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `total` steps called `what`.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    // A template that does not parse leaves the plain bar.
    if let Ok(style) = ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} {msg}, {elapsed} gone, {eta} left",
    ) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}
