//! What is asked of rows when they are written, judged in the engine's gate: so every way into a
//! store leads through it ([`Gate`](thermae_engine::Gate), set by `store::gate`). docs/definitions.md says what checks mean.
//!
//! `book` has the compiled rules of all views of a registry's version; `rows` judges the rows of a batch by them,
//! `window` parts of null over several; `quarantine` keeps what failed.

mod book;
mod quarantine;
mod rows;
mod window;

pub use book::{Book, CheckFigures, ViewFigures};
pub use window::Recent;
