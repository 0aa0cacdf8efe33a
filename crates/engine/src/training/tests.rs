#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batches;
mod columns;
mod ends;
mod names;
mod rules;
mod world;
