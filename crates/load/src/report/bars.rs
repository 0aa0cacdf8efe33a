//! Figures of several, side by side, as bars in one SVG: a group of bars under each heading, with a thin line from the
//! least to the greatest of their rounds.

use std::fmt::Write as _;

use super::{escape, number};

const WIDTH: f64 = 640.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 34.0;
const ROW: f64 = 19.0;
const HEADING: f64 = 26.0;

/// One bar.
pub struct Bar {
    /// To the left of it.
    pub name: String,
    /// Its length, and the least and the greatest that it stands for.
    pub value: f64,
    /// See `value`.
    pub range: (f64, f64),
    /// Whether it is to be told apart from the others.
    pub is_ours: bool,
}

/// Bars under headings, all to one scale.
pub struct Bars {
    /// Above them.
    pub title: String,
    /// Headings, and the bars of each.
    pub groups: Vec<(String, Vec<Bar>)>,
}

impl Bars {
    /// The bars as an `<svg>` element.
    pub fn svg(&self) -> String {
        let bars = self.groups.iter().flat_map(|(_, bars)| bars);
        let most = bars.clone().map(|bar| bar.range.1).filter(|most| most.is_finite());
        let most = most.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let height = TOP + HEADING * self.groups.len() as f64 + ROW * bars.count() as f64 + 8.0;
        let scale = (WIDTH - LEFT - RIGHT) / most;
        let title = escape(&self.title);
        // Writing into a String cannot fail.
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
             <text x=\"12\" y=\"20\" class=\"t\">{title}</text>\n"
        );
        let mut top = TOP;
        for (heading, bars) in &self.groups {
            let heading = escape(heading);
            let _ = writeln!(
                out,
                "<text x=\"12\" y=\"{:.1}\" class=\"l\">{heading}</text>",
                top + 16.0
            );
            top += HEADING;
            for bar in bars {
                bar.draw(&mut out, top, scale);
                top += ROW;
            }
        }
        out.push_str("</svg>\n");
        out
    }
}

impl Bar {
    fn draw(&self, out: &mut String, top: f64, scale: f64) {
        let (colour, middle) = (if self.is_ours { "#c2410c" } else { "#6b8cae" }, top + 8.0);
        let end = LEFT + self.value * scale;
        let (low, high) = (LEFT + self.range.0 * scale, LEFT + self.range.1 * scale);
        let name = escape(&self.name);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{name}</text>\n\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" fill=\"{colour}\"/>\n\
             <path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#222\" stroke-width=\"1.2\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"l\">{}</text>",
            LEFT - 8.0,
            top + 12.0,
            top + 1.5,
            end - LEFT,
            high.max(end) + 6.0,
            top + 12.0,
            number(self.value)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_range_ends_inside_and_bars_are_to_scale() {
        let bar = |value: f64, is_ours| Bar {
            name: "<a>".into(),
            value,
            range: (value, value * 2.0),
            is_ours,
        };
        let groups = vec![("1 key".to_owned(), vec![bar(10.0, true), bar(5.0, false)])];
        let svg = Bars { title: "t".into(), groups }.svg();
        let widths: Vec<f64> = svg
            .split("width=\"")
            .filter_map(|rest| rest.split_once("\" height=\"13\"")?.0.parse().ok())
            .collect();
        assert_eq!(widths, [(WIDTH - LEFT - RIGHT) / 2.0, (WIDTH - LEFT - RIGHT) / 4.0]);
        assert!(svg.contains("&lt;a&gt;") && svg.contains("#c2410c"), "{svg}");
    }
}
