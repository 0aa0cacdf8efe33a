//! The one integration binary: every test that spans crates, as modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpora;
mod house;
