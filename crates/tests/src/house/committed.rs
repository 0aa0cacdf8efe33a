//! Committed text names no machine of ours and no private registry.

use super::Violation;

/// Words that would tie the text to one machine: (word, why).
/// Written in halves, so that this file does not break its own rule.
pub fn words() -> Vec<(String, &'static str)> {
    let paths = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], ["/Us", "ers/"]];
    let registries = [["index", "-url"], ["replace", "-with"], ["sparse", "+http"]];
    let join = |halves: [&str; 2]| halves.concat();
    paths
        .map(|halves| (join(halves), "a path of one machine"))
        .into_iter()
        .chain(registries.map(|halves| (join(halves), "a registry of one machine")))
        .collect()
}

/// Lines of `text` that hold one of the words, and lock-file sources other than crates.io.
pub fn check(path: &str, text: &str) -> Vec<Violation> {
    let words = words();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, why) in &words {
            if line.contains(word.as_str()) {
                found.push(Violation::new(path, number + 1, format!("`{word}`: {why}")));
            }
        }
        let foreign = line.starts_with("source = ")
            && !line.contains("registry+https://github.com/rust-lang/crates.io-index");
        if path.ends_with("Cargo.lock") && foreign {
            let what = "a dependency from elsewhere than crates.io";
            found.push(Violation::new(path, number + 1, what));
        }
    }
    found
}
