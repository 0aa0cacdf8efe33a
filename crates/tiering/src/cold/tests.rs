//! Files written and read back: bit for bit, in order, from any place, and whatever becomes of their bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod faults;
mod golden;
pub(super) mod rows;
mod round_trip;
mod seek;
