//! The ladder of benchmarks and the peers they run beside.

pub mod beside;
pub mod compare;
pub mod crosscheck;
pub mod files;
pub mod floor;
pub mod ladder;
pub mod machine;
pub mod mapped;
pub mod measure;
pub mod ours;
pub mod peers;
pub mod pin;
pub mod policy;
pub mod recovery;
pub mod report;
pub mod resp;
pub mod runtime;
pub mod socket;
pub mod stats;
pub mod target;
pub mod training;
pub mod warm;
pub mod wire;
pub mod workload;
pub mod writes;
