//! Starting, configuring and stopping a server.

pub mod address;
pub mod config;
pub mod limits;
pub mod options;
pub mod signals;
pub mod size;
