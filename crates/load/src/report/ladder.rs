//! The ladder as a page: each rung a bar as long as its time, the part that it added in another colour.

use std::fmt::Write as _;

use super::page::{head, machine};
use super::{bytes, escape, headroom, nanoseconds, number};
use crate::ladder::{Ladder, Rung};

/// Names of the three families, by a rung that only they have.
const FAMILIES: [(&str, &str); 3] = [
    ("memory", "Reads of memory"),
    ("disk read", "Reads of the disk"),
    ("disk write", "Durable writes"),
];

/// The whole page.
pub fn ladder_page(made: &Ladder) -> String {
    let rows = format!("{} rows of ten float32 under an int64 key", number(made.rows as f64));
    let program = concat!("thermae ", env!("CARGO_PKG_VERSION"));
    let lines = [rows.as_str(), &machine(&made.machine)];
    let mut out = head("The ladder of this machine", program, &lines);
    out.push_str(
        "<p>Half of the requests were quicker than the bar; the dark part of it is what the rung adds to the one that \
         it stands on.</p>\n",
    );
    for group in groups(made) {
        family(&mut out, group);
    }
    if let Some(stream) = made.stream_bytes_per_s {
        let stream = bytes(stream);
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "<p>One stream of durable writes of 1 MiB, four on their way: {stream}/s.</p>"
        );
    }
    scaling(&mut out, made);
    for absent in &made.absent {
        let _ = writeln!(out, "<div class=\"note\">Not measured: {}</div>", escape(absent));
    }
    out.push_str("</body></html>\n");
    out
}

/// The rungs of each family and number of keys.
fn groups(made: &Ladder) -> impl Iterator<Item = &[Rung]> {
    made.rungs
        .chunk_by(|a, b| a.keys == b.keys && !FAMILIES.iter().any(|(name, _)| *name == b.name))
}

fn family(out: &mut String, rungs: &[Rung]) {
    let Some(first) = rungs.first() else { return };
    let name = FAMILIES.iter().find(|(name, _)| *name == first.name);
    let name = name.map_or("Above the store", |(_, name)| *name);
    let unit = match (first.name.as_str(), first.keys) {
        ("disk read", keys) => format!("{keys} in flight"),
        (_, 1) => "1 key".to_owned(),
        (_, keys) => format!("{keys} keys a request"),
    };
    let _ = write!(
        out,
        "<h2>{name}, {unit}</h2>\n<div class=\"wide\"><table class=\"rungs\"><tr><th>rung</th><th class=\"bars\"></th><th>p50</th>\
         <th>p99</th><th>keys/s</th><th>share lost</th><th class=\"why\">for what</th></tr>\n"
    );
    let longest = rungs.iter().map(|rung| rung.p50_ns).max().unwrap_or(1).max(1) as f64;
    for rung in rungs {
        let whole = rung.p50_ns as f64 * 100.0 / longest;
        let added = whole * rung.lost_share.unwrap_or(0.0).clamp(0.0, 1.0);
        let lost = rung.lost_text();
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"bars\"><i style=\"width:{:.1}%\"></i><b style=\"width:{added:.1}%\"></b></td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{lost}</td><td class=\"why\">{}</td></tr>",
            escape(&rung.name),
            whole - added,
            nanoseconds(rung.p50_ns as f64),
            nanoseconds(rung.p99_ns as f64),
            number(rung.keys_per_s),
            escape(&rung.why),
        );
    }
    out.push_str("</table></div>\n");
}

fn scaling(out: &mut String, made: &Ladder) {
    out.push_str(
        "<h2>More threads that read the store</h2>\n<div class=\"wide\"><table><tr><th>threads</th><th>rows/s</th>\
         <th>of as many times one</th><th>headroom</th><th></th></tr>\n",
    );
    for one in &made.scaling {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{:.0}%</td><td>{}</td><td class=\"why\">{}</td></tr>",
            one.threads,
            number(one.rows_per_s),
            one.efficiency * 100.0,
            headroom(one.headroom),
            one.judgement(),
        );
    }
    out.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Scaling;
    use crate::machine::Machine;

    #[test]
    fn every_rung_has_a_bar_within_its_cell_in_the_table_of_its_family() {
        let rung = |name: &str, keys, p50_ns, lost_share| Rung {
            name: name.to_owned(),
            keys,
            p50_ns,
            p99_ns: 2 * p50_ns,
            keys_per_s: 1e6,
            more_ns: None,
            lost_share,
            why: "<because>".to_owned(),
        };
        let made = Ladder {
            machine: Machine::default(),
            rows: 1000,
            rungs: vec![
                rung("memory", 1, 100, None),
                rung("store", 1, 400, Some(0.75)),
                rung("memory", 100, 3000, None),
                rung("disk read", 1, 50_000, None),
                rung("warm", 1, 40_000, Some(-0.25)),
                rung("disk write", 1, 2_000_000, None),
            ],
            stream_bytes_per_s: Some(1e9),
            scaling: vec![Scaling {
                threads: 1,
                rows_per_s: 1e7,
                efficiency: 1.0,
                headroom: Some(1.1),
                is_client_bound: true,
            }],
            absent: vec!["wire: no server".to_owned()],
        };
        let page = ladder_page(&made);
        assert_eq!(page.matches("<table class=\"rungs\">").count(), 4, "{page}");
        assert!(page.contains("&lt;because&gt;") && page.contains("Not measured: wire"));
        assert!(page.contains("<td>1.10x</td><td class=\"why\">client-bound</td>"), "{page}");
        let widths: Vec<f64> = page
            .split("width:")
            .filter_map(|rest| rest.split_once("%\"></")?.0.parse().ok())
            .collect();
        assert_eq!(widths.len(), 12, "{widths:?}");
        assert!(widths.chunks(2).all(|bar| bar[0] >= 0.0 && bar[0] + bar[1] <= 100.05));
        assert_eq!(widths[2..4], [25.0, 75.0]);
    }
}
