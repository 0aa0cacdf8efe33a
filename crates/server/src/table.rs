//! Tables on a terminal: aligned columns that fit its width.

use std::fmt::Write as _;

/// Width when the output is no terminal: lines stay whole for `grep` and files.
const UNBOUNDED: usize = usize::MAX;
/// A column is not made narrower than this.
const MIN_COLUMN_CHARS: usize = 6;
const GAP: &str = "  ";

/// A table to print.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headers: Vec<String>,
    /// Numbers stand at the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns. A header that begins with `>` makes a column of numbers, aligned to
    /// the right; the sign is not shown.
    pub fn new<S: AsRef<str>>(headers: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self::default();
        for header in headers {
            let header = header.as_ref();
            table.right.push(header.starts_with('>'));
            table.headers.push(printable(header.strip_prefix('>').unwrap_or(header)));
        }
        table
    }

    /// Adds a row. Missing cells are empty, surplus ones are left out.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> =
            cells.into_iter().take(self.headers.len()).map(|c| printable(c.as_ref())).collect();
        row.resize(self.headers.len(), String::new());
        self.rows.push(row);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text that fits the terminal that standard output is, if it is one.
    pub fn for_stdout(&self) -> String {
        self.render(stdout_width())
    }

    /// The table as text, no line longer than `width` characters: wide columns are cut (`…`), and if
    /// that is not enough, each row is written as lines of `header  value`.
    pub fn render(&self, width: usize) -> String {
        let natural: Vec<usize> = (0..self.headers.len()).map(|c| self.natural_width(c)).collect();
        match fit(&natural, width) {
            Some(widths) => self.horizontal(&widths),
            None => self.vertical(width),
        }
    }

    fn natural_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| chars(&row[column]));
        cells.chain([chars(&self.headers[column])]).max().unwrap_or(0)
    }

    fn horizontal(&self, widths: &[usize]) -> String {
        let mut out = String::new();
        for row in std::iter::once(&self.headers).chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                if column > 0 {
                    line.push_str(GAP);
                }
                let cell = cut(cell, *width);
                let pad = " ".repeat(width.saturating_sub(chars(&cell)));
                if self.right[column] {
                    line.push_str(&pad);
                    line.push_str(&cell);
                } else {
                    line.push_str(&cell);
                    line.push_str(&pad);
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    fn vertical(&self, width: usize) -> String {
        let label = self.headers.iter().map(|h| chars(h)).max().unwrap_or(0).min(width / 2);
        let room = width.saturating_sub(label + GAP.len()).max(1);
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            for (header, cell) in self.headers.iter().zip(row) {
                let header = cut(header, label);
                let line = format!("{header:label$}{GAP}{}", cut(cell, room));
                // Writing into a String cannot fail.
                let _ = writeln!(out, "{}", line.trim_end());
            }
        }
        out
    }
}

/// Widths that fit, made by narrowing the widest columns first; `None` if even the narrowest do not.
fn fit(natural: &[usize], width: usize) -> Option<Vec<usize>> {
    let mut widths = natural.to_vec();
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    let room = width.saturating_sub(gaps);
    loop {
        let total: usize = widths.iter().sum();
        if total <= room {
            return Some(widths);
        }
        let widest = widths.iter().copied().max().unwrap_or(0);
        if widest <= MIN_COLUMN_CHARS {
            return None;
        }
        // All the widest shrink together to the next width below, or by what is too much.
        let count = widths.iter().filter(|w| **w == widest).count();
        let next = widths.iter().copied().filter(|w| *w < widest).max().unwrap_or(0);
        let step = (widest - next.max(MIN_COLUMN_CHARS)).min((total - room).div_ceil(count)).max(1);
        widths.iter_mut().filter(|w| **w == widest).for_each(|w| *w -= step);
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, width: usize) -> String {
    if chars(text) <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// Control characters are shown, not obeyed: a value must not move the cursor of who reads it.
fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let escaped: Box<dyn Iterator<Item = char>> = if c.is_control() {
                Box::new(c.escape_default())
            } else {
                Box::new([c].into_iter())
            };
            escaped
        })
        .collect()
}

/// Columns of the terminal that standard output is; without limit if it is none.
pub fn stdout_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(UNBOUNDED)
}

/// A number with commas: `26,115`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in the largest unit that keeps three digits: `1.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", units[unit]) }
}

/// A time in nanoseconds in a unit that people read: `840 ns`, `12.3 us`, `4.1 ms`.
pub fn nanoseconds(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["view", ">rows", "description"]);
        table.row(["weather", "26,115", "hourly weather where the flight leaves"]);
        table.row(["planes", "3", "short"]);
        table
    }

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        assert_eq!(
            table().render(100),
            "view       rows  description\n\
             weather  26,115  hourly weather where the flight leaves\n\
             planes        3  short\n"
        );
    }

    #[test]
    fn the_widest_column_is_cut_first() {
        let text = table().render(30);
        assert_eq!(
            text,
            "view       rows  description\n\
             weather  26,115  hourly weath…\n\
             planes        3  short\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
    }

    #[test]
    fn a_terminal_too_narrow_for_columns_gets_lines() {
        let text = table().render(20);
        assert!(
            text.starts_with("view        weather\nrows        26,115\ndescripti…  h"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 20), "{text}");
        assert_eq!(text.matches("\n\n").count(), 1, "rows are set apart: {text}");
    }

    #[test]
    fn every_width_is_kept() {
        for width in 8..120 {
            let text = table().render(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
    }

    #[test]
    fn control_characters_are_shown() {
        let mut table = Table::new(["v"]);
        table.row(["a\u{1b}[31m\nb"]);
        assert_eq!(table.render(80), "v\na\\u{1b}[31m\\nb\n");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!((bytes(1023), bytes(1 << 20)), ("1023 B".to_owned(), "1.0 MiB".to_owned()));
        assert_eq!(
            (nanoseconds(840), nanoseconds(12_300), nanoseconds(4_100_000)),
            ("840 ns".to_owned(), "12.3 us".to_owned(), "4.1 ms".to_owned())
        );
    }
}
