//! Tier policies as pure functions: what a row's age means for where it lives.
//!
//! `ttl` only masks at read (`formats::visibility`); `keep_for` alone removes; `hot_for` and
//! `warm_for` only move. The warm trees and the archive, which carry these decisions out, are not
//! here yet.
#![forbid(unsafe_code)]

pub mod residency;
