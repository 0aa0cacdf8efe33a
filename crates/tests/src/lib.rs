//! Tests across crates: the naive model, crash campaigns, wire agreement, house rules.
pub mod agreement;
pub mod campaign;
pub mod house;
pub mod kill;
pub mod model;
pub mod mutate;
pub mod over_map;
pub mod over_wire;
pub mod server_process;
pub mod stress;
