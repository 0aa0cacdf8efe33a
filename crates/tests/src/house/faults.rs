//! The table of faults names a test for each, and the tests are there.

use std::collections::BTreeSet;

use super::Violation;

/// The faults that the table must have a row for.
pub const FAULTS: [&str; 23] = [
    "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "D12", "D13", "D14", "M1",
    "M2", "M3", "C1", "N1", "N2", "N3", "N4", "H1",
];

/// Tests that `document` names as `path.rs::test_name`, with the line.
pub fn named_tests(document: &str) -> Vec<(usize, &str, &str)> {
    let mut named = Vec::new();
    for (number, line) in document.lines().enumerate() {
        // Between backticks: every second piece.
        for code in line.split('`').skip(1).step_by(2) {
            if let Some((path, test)) = code.rsplit_once(".rs::") {
                named.push((number + 1, &code[..path.len() + 3], test));
            }
        }
    }
    named
}

/// Rows that are missing, and tests that are not there. `source` gives a file's text.
pub fn check(
    path: &str,
    document: &str,
    source: impl Fn(&str) -> Option<String>,
) -> Vec<Violation> {
    let rows: BTreeSet<_> =
        document.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    let missing = FAULTS.iter().filter(|fault| !rows.contains(*fault));
    let mut found: Vec<_> =
        missing.map(|fault| Violation::new(path, 0, format!("no row for {fault}"))).collect();
    for (line, file, test) in named_tests(document) {
        match source(file) {
            None => found.push(Violation::new(path, line, format!("{file} is not there"))),
            Some(text) if !has_test(&text, test) => {
                found.push(Violation::new(path, line, format!("{file} has no test {test}")));
            }
            Some(_) => {}
        }
    }
    found
}

/// Whether a function of this name follows a `#[test]`.
fn has_test(text: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with(&function) && is_test {
            return true;
        }
        // Other attributes may stand between.
        is_test = line == "#[test]" || (is_test && line.starts_with("#["));
    }
    false
}
