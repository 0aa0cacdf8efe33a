//! A result as one HTML page that needs nothing else: no script, no network, plots as SVG, fit for paper.

mod bars;
mod ladder;
mod page;
mod plot;

pub use bars::{Bar, Bars};
pub use ladder::ladder_page;
pub use page::page;
pub use plot::{Line, Plot};

/// How text and lines of plots look.
const PLOT_STYLE: &str = "\
.t{font:600 14px system-ui,sans-serif}.x,.y,.l{font:12px system-ui,sans-serif;fill:#333}.x{text-anchor:middle}.y{text-anchor:end}
.g{stroke:#e3e3e3;fill:none}.a{stroke:#666;fill:none}.m{stroke:#bbb;stroke-dasharray:1 3;fill:none}";

/// An `<svg>` element as a file of its own, on a white ground: as legible where the page around it is dark.
pub fn standalone(svg: &str) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let head = svg.split_once('>').map_or("", |(head, _)| head);
    let head = head.replacen("<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"", 1);
    format!(
        "{head}>\n<style>{PLOT_STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{body}"
    )
}

/// How many times as much the client could have done, for people; nothing where that was not measured.
pub fn headroom(times: Option<f64>) -> String {
    times.map_or("-".to_owned(), |times| format!("{times:.2}x"))
}

/// A time in nanoseconds in a unit that people read.
pub fn nanoseconds(ns: f64) -> String {
    match ns {
        _ if ns < 1e3 => format!("{ns:.0} ns"),
        _ if ns < 1e6 => format!("{} us", short(ns / 1e3)),
        _ if ns < 1e9 => format!("{} ms", short(ns / 1e6)),
        _ => format!("{} s", short(ns / 1e9)),
    }
}

/// A number with at most four digits and a letter for thousands: `12.3k`, `4.56M`.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size < 1e3 => short(value),
        size if size < 1e6 => format!("{}k", short(value / 1e3)),
        size if size < 1e9 => format!("{}M", short(value / 1e6)),
        _ => format!("{}G", short(value / 1e9)),
    }
}

/// Bytes in a binary unit.
pub fn bytes(value: f64) -> String {
    let (mut size, mut unit) = (value, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", short(size), units[unit])
}

/// Three digits, without zeros behind the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Text that stands for itself in HTML, whatever is in it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(nanoseconds(840.0), "840 ns");
        assert_eq!(
            (nanoseconds(12_340.0), nanoseconds(4_100_000.0)),
            ("12.3 us".into(), "4.1 ms".into())
        );
        assert_eq!(
            (number(0.0), number(950.0), number(12_340.0)),
            ("0".into(), "950".into(), "12.3k".into())
        );
        assert_eq!((number(4_560_000.0), number(100_000.0)), ("4.56M".into(), "100k".into()));
        assert_eq!((bytes(1023.0), bytes(1536.0)), ("1023 B".into(), "1.5 KiB".into()));
        let file = standalone("<svg viewBox=\"0 0 1 1\"><path/></svg>");
        assert!(
            file.starts_with("<svg xmlns=")
                && file.contains("<rect")
                && file.ends_with("<path/></svg>")
        );
        assert_eq!(escape("<a b='1'>&\""), "&lt;a b=&#39;1&#39;&gt;&amp;&quot;");
    }
}
