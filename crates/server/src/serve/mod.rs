//! Starting, configuring and stopping a server.

pub mod address;
pub mod config;
pub mod error;
mod figures;
pub mod limits;
pub mod listeners;
pub mod options;
mod quality_figures;
pub mod running;
pub mod signals;
pub mod size;
mod tier_figures;

pub use config::ConfigError;
pub use error::ServeError;
pub use limits::Limits;
pub use options::{DEFAULT_LISTEN, Flags, ServeOptions};
pub use running::{Running, Stopped, run, start};
pub use size::Size;
