//! The page of all comparisons: made from results, nothing lost on the way, and the committed one is up to date.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use thermae_benches::document::causes::Causes;
use thermae_benches::document::page::{UNKNOWN, page};
use thermae_benches::document::part::{Figure, Part, Role, is_lost};
use thermae_benches::document::{self, page, plots, read, readme, results};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn entry(part: Part) -> page::Entry<'static> {
    page::Entry { name: "wire", title: "Over the wire", part: Some(part) }
}

fn causes(text: &str) -> Causes {
    let file = tempfile(text);
    let read = Causes::read(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    read
}

fn tempfile(text: &str) -> PathBuf {
    let name = format!("thermae-causes-{}-{:?}", std::process::id(), std::thread::current().id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn part(ours: &[f64], peer: &[f64], is_more_better: bool) -> Part {
    let mut figure = Figure::new("Writes", "100 rows", "rows/s", is_more_better);
    figure.add("thermae", Role::Ours, ours.to_vec());
    figure.add("valkey", Role::Peer, peer.to_vec());
    figure.add("floor", Role::Beside, vec![1.0]);
    Part { command: "bench".into(), figures: vec![figure], ..Part::default() }
}

#[test]
fn a_loss_is_told_with_its_cause_and_without_one_that_it_is_not_known() {
    let lost = || entry(part(&[80.0, 90.0, 70.0], &[100.0, 100.0, 100.0], true));
    let text = page(&[lost()], &Causes::default());
    assert!(
        text.contains(UNKNOWN) && text.contains("  * Writes, to valkey: 100 rows 0.80\n"),
        "{text}"
    );
    assert!(text.contains("100 (100-100)<br>**0.80**"), "{text}");
    let known = "[[cause]]\npart = \"wire\"\ngroup = \"Wri\"\npeers = [\"valkey\"]\nwhy = \"One sync each.\"\n";
    let text = page(&[lost()], &causes(known));
    assert!(text.contains("* One sync each.\n") && !text.contains(UNKNOWN), "{text}");
    let other = known.replace("valkey", "redis");
    assert!(page(&[lost()], &causes(&other)).contains(UNKNOWN));
    // A cause that nothing calls for is not shown.
    let won = entry(part(&[120.0], &[100.0], true));
    let text = page(&[won], &causes(known));
    assert!(
        text.contains("Nothing that was measured.") && !text.contains("One sync each"),
        "{text}"
    );
}

#[test]
fn a_rate_that_is_the_clients_is_said_to_be_so() {
    let beside_null = |null: f64| {
        let mut part = part(&[80.0], &[40.0], true);
        part.figures[0].add("null server", Role::Beside, vec![null]);
        page(&[entry(part)], &Causes::default())
    };
    let bound = beside_null(100.0);
    assert!(
        bound.contains("**Client-bound**, 100 rows: ") && bound.contains("1.25 times"),
        "{bound}"
    );
    assert!(!beside_null(105.0).contains("Client-bound"));
    // In a result of `bench wire` it is no peer that we lose to.
    let text = r#"{"command": "c", "machine": {"cpu": "", "cores": 1, "memory_bytes": 1, "kernel": "",
        "load_before": ""}, "absent": [], "versions": {}, "latency": [], "bytes": [], "rates": [
        {"what": "read", "keys": 1, "window": 2, "target": "thermae", "rounds": [1.0]},
        {"what": "read", "keys": 1, "window": 2, "target": "null server", "rounds": [9.0]}]}"#;
    let part = results::part("wire", text).unwrap();
    assert_eq!(part.figures[0].lines[1].role, Role::Beside);
}

#[test]
fn less_is_better_turns_the_ratio_over_and_three_in_a_hundred_are_even() {
    let times = |part: Part| part.figures[0].times(&part.figures[0].lines[1]).unwrap();
    assert_eq!(times(part(&[10.0], &[25.0], false)).median, 2.5);
    assert_eq!(times(part(&[10.0], &[25.0], true)).median, 0.4);
    assert!(is_lost(times(part(&[96.0], &[100.0], true))));
    assert!(!is_lost(times(part(&[98.0], &[100.0], true))));
    let beside = part(&[1.0], &[1.0], true);
    assert_eq!(beside.figures[0].times(&beside.figures[0].lines[2]), None);
}

#[test]
fn a_part_without_a_result_and_a_peer_that_is_absent_are_named() {
    let absent = Part { absent: vec!["redis: no network".into()], ..Part::default() };
    let none = page::Entry { name: "flash", title: "Flash", part: None };
    let text = page(&[entry(absent), none], &Causes::default());
    assert!(text.contains("**Not measured**: redis: no network."), "{text}");
    assert!(text.contains("no result: `cargo xtask bench peers --only flash`"), "{text}");
}

#[test]
fn a_result_of_another_form_is_refused() {
    let error =
        results::part("wire", "{\"command\": \"c\", \"latency\": 3}").unwrap_err().to_string();
    assert!(error.contains("latency"), "{error}");
    assert!(results::part("flash", "{\"command\": \"c\"}").is_err());
}

#[test]
fn the_committed_page_is_what_the_committed_results_make() {
    let entries = read(&docs().join("benchmarks")).unwrap();
    let causes = Causes::read(&docs().join("benchmarks/causes.toml")).unwrap();
    let committed = |file: &str| std::fs::read_to_string(docs().join(file)).unwrap();
    let text = page(&entries, &causes);
    assert!(
        committed("benchmarks.md") == text,
        "cargo xtask bench document writes docs/benchmarks.md anew"
    );
    assert!(!text.contains(UNKNOWN), "a loss that docs/benchmarks/causes.toml says nothing of");
    for (name, part) in entries.iter().filter_map(|entry| Some((entry.name, entry.part.as_ref()?)))
    {
        for (file, svg) in plots::plots(name, part) {
            assert!(committed(&format!("benchmarks/{file}")) == svg, "{file} is of other results");
            assert!(text.contains(&format!("(benchmarks/{file})")), "{file} is not shown");
        }
    }
    let readme = committed("../README.md");
    let wire = entries[0].part.as_ref().unwrap();
    assert!(
        readme::with_table(&readme, wire).unwrap() == readme,
        "the measured table of README.md is of another run"
    );
    assert_eq!(entries.len(), document::PARTS.len());
}
