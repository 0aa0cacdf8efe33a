//! Fuzz targets as plain functions: `cargo xtask fuzz` runs them under libFuzzer, the tests run them over
//! the committed corpora and seeded mutations of them.
//!
//! A target never panics for any bytes; what it asserts is that whatever decodes encodes to the same
//! bytes or the same meaning, and that nothing is made that is much larger than its input. Formats under
//! a checksum are also entered behind it: the target seals the fuzzer's bytes first, or no mutation
//! would get past the door.

#![allow(clippy::expect_used, clippy::panic)] // A broken property must panic: that is the finding.

#[cfg(feature = "definitions")]
pub mod definitions;
pub mod hot;
pub mod log;
pub mod rows;
pub mod seeds;
pub mod table;
mod table_seeds;
pub mod text;
pub mod wire;

/// A target: bytes in, a panic when a property does not hold.
pub type Target = fn(&[u8]);

/// Every target by name. Each has a libFuzzer binary `fuzz_targets/NAME.rs` and a corpus `corpus/NAME/`.
pub const TARGETS: &[(&str, Target)] = &[
    #[cfg(feature = "definitions")]
    ("definitions", definitions::definitions),
    ("backup", log::backup),
    ("checkpoint", log::checkpoint),
    ("hot_layout", hot::hot_layout),
    ("key", rows::key),
    ("log_batch", log::log_batch),
    ("log_files", log::log_files),
    ("projection", rows::projection),
    ("row", rows::row),
    ("schema_json", text::schema_json),
    ("table", table::table),
    ("value_text", text::value_text),
    ("wire_control", wire::wire_control),
    ("wire_read", wire::wire_read),
    ("wire_reply", wire::wire_reply),
    ("wire_stream", wire::wire_stream),
    ("wire_write", wire::wire_write),
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
