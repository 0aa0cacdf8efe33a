//! Tests across crates: the naive model, crash campaigns, wire agreement, house rules.
pub mod house;
pub mod mutate;
