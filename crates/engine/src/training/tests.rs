#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod columns;
mod ends;
mod names;
mod rules;
mod world;
