//! The ladder of benchmarks and the peers they run beside.

pub mod floor;
pub mod measure;
pub mod peers;
pub mod pin;
pub mod resp;
pub mod socket;
pub mod stats;
pub mod target;
pub mod workload;
