//! The `thermae` command with a bug: rows are acknowledged before they are on the disk. For campaigns
//! that must be seen to find it.

use std::process::ExitCode;

use thermae_engine::planted::{Bug, plant_everywhere};

fn main() -> ExitCode {
    plant_everywhere(Bug::AcknowledgeBeforeSync);
    thermae_server::cli::main()
}
