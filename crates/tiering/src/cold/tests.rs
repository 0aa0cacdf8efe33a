//! Files written and read back: bit for bit, in order, from any place, and whatever becomes of their bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archive;
mod damage;
pub(super) mod faults;
mod golden;
mod round_trip;
pub(super) mod rows;
mod seek;
