//! kill -9 cycles on a real server: `kill BINARY CYCLES`. Prints its counts; exits 1 on a broken
//! promise.

use std::path::PathBuf;
use std::process::ExitCode;

use thermae_tests::kill::kill_cycles;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(binary), Some(cycles)) = (args.next(), args.next().and_then(|n| n.parse().ok()))
    else {
        eprintln!("usage: kill BINARY CYCLES");
        return ExitCode::from(2);
    };
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => {
            eprintln!("no temporary directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    match kill_cycles(&PathBuf::from(binary), dir.path(), cycles, |_| {}) {
        Ok(report) => {
            println!(
                "{} kills: {} rows acknowledged and found again, {} in doubt ({} entities kept one)",
                report.cycles, report.acknowledged, report.in_doubt, report.survived_in_doubt
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("broken promise: {error}");
            ExitCode::FAILURE
        }
    }
}
