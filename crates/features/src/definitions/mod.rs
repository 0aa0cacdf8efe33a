//! Definition files: a project and everything in it that is declared, in TOML.
//!
//! `docs/definitions.md` describes the format. Reading is strict: an unknown key, an unknown type or
//! an entity that is not declared is an error that names its line, because a misspelt `tll` that is
//! silently ignored serves stale features.

mod file;
mod read;
#[cfg(test)]
mod tests;
mod view;

pub use read::{DefinitionError, Definitions, read, read_file};
