//! The house rules as checkers: each is a function from text to violations, so that each can be shown
//! to go red on a planted violation. docs/house-rules.md says the rules in words.

pub mod banned;
pub mod circles;
pub mod committed;
pub mod dependencies;
pub mod faults;
pub mod layering;
pub mod lengths;
pub mod mask;
pub mod sources;
pub mod unsafety;

use std::fmt;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path relative to the repository root.
    pub path: String,
    /// 1-based line, 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl Violation {
    /// A violation at `path:line`.
    pub fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// All violations as one printable list, for an assertion's message.
pub fn report(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {violation}")).collect()
}
