//! kill -9 cycles on a real server: `kill BINARY CYCLES`. Prints its counts; exits 1 on a broken
//! promise.

use std::path::PathBuf;
use std::process::ExitCode;

use thermae_tests::bar::bar;
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
    let bar = bar(cycles, "kills");
    let told =
        kill_cycles(&PathBuf::from(binary), dir.path(), cycles, |cycle| bar.set_position(cycle));
    bar.finish_and_clear();
    match told {
        Ok(rows) => {
            println!(
                "{cycles} kills: {} rows acknowledged and found again, {} in doubt ({} entities kept one)",
                rows.durable, rows.in_doubt, rows.survived_in_doubt
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("broken promise: {error}");
            ExitCode::FAILURE
        }
    }
}
