//! The faults of docs/faults.md that need the whole of the engine, simulated and real.

mod access;
mod clock;
mod disk_full;
mod foreign;
mod in_doubt;
mod memory;
mod shards;
mod slowed;
mod small_disk;
mod unreadable;
