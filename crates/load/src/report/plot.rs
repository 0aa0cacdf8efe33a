//! One plot as SVG: lines over an axis, told apart by colour and by dashes, so that paper without colour will do.

use std::fmt::Write as _;

use super::escape;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
/// What a letter takes, at the size of text on a narrow screen.
const LETTER: f64 = 8.2;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 62.0;
const COLOURS: [&str; 6] = ["#1b5e8c", "#c2410c", "#2e7d32", "#6a1b9a", "#795548", "#37474f"];
const DASHES: [&str; 6] = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 4"];

/// Along the horizontal axis, and along the vertical one.
type Point = (f64, f64);

/// A line of a plot.
pub struct Line {
    /// In the legend.
    pub name: String,
    /// Where it goes; a gap is a line that ends.
    pub points: Vec<Point>,
}

/// A plot.
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Below the horizontal axis.
    pub x_name: String,
    /// How numbers of the vertical axis are written.
    pub y_text: fn(f64) -> String,
    /// How numbers of the horizontal axis are written.
    pub x_text: fn(f64) -> String,
    /// The vertical axis is logarithmic.
    pub is_log: bool,
    /// The horizontal axis is logarithmic.
    pub is_log_x: bool,
    /// The vertical axis is of bytes: round numbers are those of binary units.
    pub is_bytes: bool,
    /// Dots at the points: they are few.
    pub dots: bool,
    /// Where something begins, with what: thin vertical lines.
    pub marks: Vec<f64>,
    /// The lines.
    pub lines: Vec<Line>,
}

struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    is_log: bool,
}

impl Axis {
    fn share(&self, value: f64) -> f64 {
        if self.is_log {
            let at = value.max(self.low).ln() - self.low.ln();
            return at / (self.high.ln() - self.low.ln());
        }
        (value - self.low) / (self.high - self.low)
    }

    fn linear(low: f64, high: f64, most: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let rough = (high - low) / most;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(power * 10.0);
        let top = (high / step).ceil() * step;
        let first = (low / step).floor() * step;
        let count = ((top - first) / step).round() as usize;
        let ticks = (0..=count).map(|at| first + step * at as f64).collect();
        Self { low: first, high: top, ticks, is_log: false }
    }

    /// Round in the binary unit that the highest value is written in.
    fn binary(high: f64, most: f64) -> Self {
        let unit = 1024_f64.powf((high.max(1.0).ln() / 1024_f64.ln()).floor());
        let axis = Self::linear(0.0, high / unit, most);
        let ticks = axis.ticks.iter().map(|tick| tick * unit).collect();
        Self { low: axis.low * unit, high: axis.high * unit, ticks, is_log: false }
    }

    fn log(low: f64, high: f64) -> Self {
        let (low, high) = (low.max(1e-9), high.max(low.max(1e-9) * 1.1));
        let bottom = 10_f64.powf(low.log10().floor());
        let mut top = 10_f64.powf(high.log10().ceil());
        if top <= bottom {
            top = bottom * 10.0;
        }
        let decades = (top / bottom).log10().round() as i32;
        let within: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks = (0..=decades)
            .flat_map(|decade| within.iter().map(move |step| bottom * 10_f64.powi(decade) * step));
        let ticks = ticks.filter(|tick| *tick <= top * 1.0001).collect();
        Self { low: bottom, high: top, ticks, is_log: true }
    }
}

impl Plot {
    /// The plot as an `<svg>` element; a sentence instead where there is nothing to draw.
    pub fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let (mut x, mut y) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
        for (at, value) in all().filter(|(at, value)| at.is_finite() && value.is_finite()) {
            x = (x.0.min(*at), x.1.max(*at));
            y = (y.0.min(*value), y.1.max(*value));
        }
        if x.0 > x.1 {
            let title = escape(&self.title);
            return format!("<p class=\"none\">{title}: nothing was measured.</p>");
        }
        let x = match self.is_log_x {
            true => Axis::log(x.0, x.1),
            false => Axis::linear(0.0_f64.min(x.0), x.1, 7.0),
        };
        let y = match (self.is_log, self.is_bytes) {
            (true, _) => Axis::log(y.0, y.1),
            (false, true) => Axis::binary(y.1, 5.0),
            (false, false) => Axis::linear(0.0_f64.min(y.0), y.1, 5.0),
        };
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title)
        );
        self.frame(&mut out, &x, &y);
        let place = |point: &(f64, f64)| {
            let left = LEFT + x.share(point.0) * (WIDTH - LEFT - RIGHT);
            let top = HEIGHT - BOTTOM - y.share(point.1) * (HEIGHT - TOP - BOTTOM);
            (left, top)
        };
        for (at, line) in self.lines.iter().enumerate() {
            self.line(&mut out, at, line, &place);
        }
        self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn frame(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        // Writing into a String cannot fail.
        let _ =
            writeln!(out, "<text x=\"{LEFT}\" y=\"18\" class=\"t\">{}</text>", escape(&self.title));
        for tick in &y.ticks {
            let at = bottom - y.share(*tick) * (bottom - TOP);
            let _ = writeln!(out, "<path d=\"M{LEFT} {at:.1}H{right}\" class=\"g\"/>");
            let text = escape(&(self.y_text)(*tick));
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{text}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        for tick in &x.ticks {
            let at = LEFT + x.share(*tick) * (right - LEFT);
            let _ = writeln!(out, "<path d=\"M{at:.1} {bottom}v4\" class=\"a\"/>");
            let text = escape(&(self.x_text)(*tick));
            let _ = writeln!(
                out,
                "<text x=\"{at:.1}\" y=\"{:.1}\" class=\"x\">{text}</text>",
                bottom + 17.0
            );
        }
        for mark in &self.marks {
            let at = LEFT + x.share(*mark) * (right - LEFT);
            let _ = writeln!(out, "<path d=\"M{at:.1} {TOP}V{bottom}\" class=\"m\"/>");
        }
        let _ = writeln!(out, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" class=\"a\"/>");
        let (middle, below) = (f64::midpoint(LEFT, right), bottom + 34.0);
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{below}\" class=\"x\">{}</text>",
            escape(&self.x_name)
        );
    }

    fn line(&self, out: &mut String, at: usize, line: &Line, place: &dyn Fn(&Point) -> Point) {
        let (colour, dash) = (COLOURS[at % COLOURS.len()], DASHES[at % DASHES.len()]);
        let mut path = String::new();
        let mut is_open = false;
        let is_drawn = |point: Option<&(f64, f64)>| {
            point.is_some_and(|point| point.0.is_finite() && point.1.is_finite())
        };
        for (place_of, point) in line.points.iter().enumerate() {
            // A line of one point would not be seen.
            let is_alone = !is_open && !is_drawn(line.points.get(place_of + 1));
            if !point.0.is_finite() || !point.1.is_finite() {
                is_open = false;
                continue;
            }
            let (left, top) = place(point);
            let _ = write!(path, "{}{left:.1} {top:.1}", if is_open { 'L' } else { 'M' });
            is_open = true;
            if self.dots || is_alone {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"2.6\" fill=\"{colour}\"/>"
                );
            }
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-dasharray=\"{dash}\"/>"
        );
    }

    fn legend(&self, out: &mut String) {
        let mut left = LEFT;
        let top = HEIGHT - 8.0;
        for (at, line) in self.lines.iter().enumerate() {
            let (colour, dash) = (COLOURS[at % COLOURS.len()], DASHES[at % DASHES.len()]);
            let _ = writeln!(
                out,
                "<path d=\"M{left:.0} {:.1}h24\" stroke=\"{colour}\" stroke-width=\"2.2\" stroke-dasharray=\"{dash}\"/>",
                top - 4.0
            );
            let name = escape(&line.name);
            let _ = writeln!(
                out,
                "<text x=\"{:.0}\" y=\"{top}\" class=\"l\">{name}</text>",
                left + 29.0
            );
            left += 44.0 + LETTER * line.name.chars().count() as f64;
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::report::number;

    #[test]
    fn axes_begin_and_end_at_round_numbers() {
        let axis = Axis::linear(0.0, 87_000.0, 5.0);
        assert_eq!((axis.low, axis.high), (0.0, 100_000.0));
        assert_eq!(axis.ticks.len(), 6);
        let log = Axis::log(15_000.0, 2_300_000.0);
        assert!((log.low - 10_000.0).abs() < 1e-3 && (log.high - 10_000_000.0).abs() < 1.0);
        assert!((log.share(10_000.0)).abs() < 1e-9 && (log.share(10_000_000.0) - 1.0).abs() < 1e-9);
        let bytes = Axis::binary(200.0 * 1024.0 * 1024.0, 5.0);
        assert_eq!(bytes.ticks[1] / 1024.0 / 1024.0, 50.0);
        let flat = Axis::linear(0.0, 0.0, 5.0);
        assert!(flat.high > flat.low);
    }

    /// Texts, as wide as a browser draws them about, and points of paths that are not inside the picture.
    pub fn outside(svg: &str) -> Vec<String> {
        let number = |of: &str, name: &str| {
            let found = of.split_once(&format!("{name}=\""))?.1.split('"').next()?;
            found.parse::<f64>().ok()
        };
        let texts = svg.split("<text ").skip(1).filter_map(|rest| {
            let (head, rest) = rest.split_once('>')?;
            let (text, at) = (rest.split('<').next()?, number(head, "x")?);
            let width = LETTER * text.chars().count() as f64;
            let left = match head.split("class=\"").nth(1)?.chars().next()? {
                'x' => at - width / 2.0,
                'y' => at - width,
                _ => at,
            };
            let inside = left >= 0.0 && left + width <= WIDTH && number(head, "y")? <= HEIGHT;
            (!inside).then(|| format!("{text} at {left}"))
        });
        let paths = svg.split("d=\"M").skip(1).filter_map(|rest| {
            let path = rest.split('"').next()?;
            let mut pairs = path.split(['M', 'L']).filter_map(|pair| pair.split_once(' '));
            let is_out = |(x, y): (&str, &str)| {
                let y = y.split(['H', 'V', 'v', 'h']).next().and_then(|y| y.parse::<f64>().ok());
                let x = x.parse::<f64>().ok();
                !x.is_some_and(|x| (0.0..=WIDTH).contains(&x))
                    || !y.is_some_and(|y| (0.0..=HEIGHT).contains(&y))
            };
            pairs.any(is_out).then(|| path.to_owned())
        });
        texts.chain(paths).collect()
    }

    #[test]
    fn the_longest_labels_stay_inside_too() {
        let line = |name: &str| Line {
            name: name.to_owned(),
            points: vec![(0.0, 1.2e12), (99_999.0, 3.0)],
        };
        let mut plot = Plot {
            title: "Memory of the store's process".to_owned(),
            x_name: "seconds measured, one step after the other".to_owned(),
            y_text: |value| format!("{}/s", crate::report::bytes(value)),
            x_text: number,
            is_log: false,
            is_log_x: false,
            is_bytes: true,
            dots: false,
            marks: vec![0.0],
            lines: ["hot", "other memory", "warm", "not there"].map(line).into(),
        };
        assert_eq!(outside(&plot.svg()), Vec::<String>::new());
        plot.lines.extend(["one that is far too long", "and another one"].map(line));
        assert!(!outside(&plot.svg()).is_empty(), "what is outside is not noticed");
    }

    #[test]
    fn what_is_drawn_stays_inside_and_what_cannot_be_is_left_out() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 1e9), (3.0, 5.0)];
        let plot = Plot {
            title: "a <b>".to_owned(),
            x_name: "x".to_owned(),
            y_text: number,
            x_text: number,
            is_log: true,
            is_log_x: false,
            is_bytes: false,
            dots: true,
            marks: vec![1.5],
            lines: vec![Line { name: "p99".to_owned(), points }],
        };
        let svg = plot.svg();
        assert!(svg.contains("a &lt;b&gt;") && !svg.contains("NaN"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3);
        let places = svg
            .split("cx=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok());
        assert!(places.into_iter().all(|at| (LEFT..=WIDTH - RIGHT).contains(&at)), "{svg}");
        assert_eq!(outside(&svg), Vec::<String>::new());
        let none = Plot { lines: Vec::new(), ..plot };
        assert!(none.svg().contains("nothing was measured"));
    }
}
