//! Rewriting tables into fewer: which (`plan.rs`), in what windows of time (`windows.rs`), and doing so (`run.rs`).

pub mod plan;
pub(crate) mod run;
mod source;
pub mod windows;

pub use source::TableSource;
