//! Tests of the hot table through its public surface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod concurrent;
mod evict;
mod full;
mod hostile;
mod load;
mod model;
mod support;
