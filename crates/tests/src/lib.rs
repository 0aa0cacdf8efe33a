//! Tests across crates: the naive model, crash campaigns, wire agreement, house rules.
pub mod agreement;
pub mod bar;
pub mod campaign;
pub mod damage;
pub mod forgotten;
pub mod house;
pub mod kill;
pub mod ledger;
pub mod model;
pub mod mutate;
pub mod numbered;
pub mod over_map;
pub mod over_wire;
pub mod powercut;
pub mod served;
pub mod server_process;
pub mod stress;
