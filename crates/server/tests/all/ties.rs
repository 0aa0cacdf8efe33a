//! Purchases of one customer on one day (`examples/cdnow`): the one that was recorded last is the answer of a training
//! read, by a plain computation over the same file. `examples/cdnow/compare.py` does that for all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::process::Server;

/// `ttl` of the view.
const TTL_DAYS: i64 = 30;
/// Days from each purchase for which its customer is asked: before it, after it, and at both sides of the `ttl`.
const OFFSETS: [i64; 6] = [-1, 0, 1, 29, 30, 31];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/cdnow").join(name)
}

/// Days since 1970 of a date.
fn day(text: &str) -> i64 {
    thermae_formats::time::parse_timestamp_us(text).unwrap() / 86_400_000_000
}

fn date(day: i64) -> String {
    thermae_formats::time::format_timestamp_us(day * 86_400_000_000)
}

#[test]
fn of_several_purchases_of_a_day_the_one_recorded_last_is_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let run = |arguments: &[&str]| {
        let output = server.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    let source = example("data/ties.csv");
    run(&["apply", example("features.toml").to_str().unwrap()]);
    run(&["ingest", "purchase", source.to_str().unwrap()]);
    let text = std::fs::read_to_string(&source).unwrap();
    let mut bought: BTreeMap<(&str, i64), Vec<[&str; 3]>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let [customer, at, line, cds, dollars] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        bought.entry((customer, day(at))).or_default().push([line, cds, dollars]);
    }
    let tied = bought.values().filter(|of_day| of_day.len() > 1).count();
    assert!(tied > 40, "{tied} days have several");
    let (mut spine, mut expected) = (String::from("customer,asked\n"), Vec::new());
    for (customer, at) in bought.keys() {
        for asked in OFFSETS.map(|offset| at + offset) {
            spine.push_str(&format!("{customer},{}\n", date(asked)));
            let known = bought.range((*customer, asked - TTL_DAYS)..=(*customer, asked));
            expected.push(known.last().and_then(|(_, of_day)| of_day.last().copied()));
        }
    }
    let (asked, answer) = (folder.path().join("spine.csv"), folder.path().join("train.csv"));
    std::fs::write(&asked, spine).unwrap();
    let (asked, out) = (asked.to_str().unwrap(), answer.to_str().unwrap());
    run(&["history", "purchase", "--spine", asked, "--event-time", "asked", "--out", out]);
    let answer = std::fs::read_to_string(&answer).unwrap();
    let mut lines = answer.lines();
    assert_eq!(lines.next(), Some("customer,asked,line,cds,dollars"));
    let mut rows = 0;
    for (found, expected) in lines.zip(&expected) {
        let found: Vec<&str> = found.split(',').skip(2).collect();
        let number = |text: &str| text.parse::<f64>().ok();
        let wanted = expected.unwrap_or_default().map(number);
        assert_eq!(found.into_iter().map(number).collect::<Vec<_>>(), wanted, "row {rows}");
        rows += 1;
    }
    assert_eq!(rows, expected.len());
    assert_eq!(server.stop(), 0);
}
