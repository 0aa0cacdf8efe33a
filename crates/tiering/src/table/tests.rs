#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damage;
mod faults;
mod filters;
mod golden;
mod jumps;
mod round_trip;
mod support;
