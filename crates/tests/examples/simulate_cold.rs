//! The campaign over machine and object store: `simulate_cold CRASHES [FIRST] [--plant]`. Runs seeds until machines
//! have stopped so often in the middle of something, and prints its counts; exits 1 on a broken promise, naming the
//! seed that repeats it. With `--plant` each bug in turn must be found.

use std::process::ExitCode;

use thermae_engine::planted::Bug;
use thermae_tests::campaign::{ColdReport, cold_run};

/// Bugs that there are to plant.
const BUGS: [Bug; 2] = [Bug::LeaveBeforeArchived, Bug::MergeOntoNothing];
/// Seeds that are tried with each.
const PLANTED_SEEDS: u64 = 200;
/// Broken promises that are told in full.
const TOLD: u64 = 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = args.iter().filter_map(|a| a.parse::<u64>().ok());
    let crashes = numbers.next().unwrap_or(1_000);
    let first = numbers.next().unwrap_or(0);
    if args.iter().any(|a| a == "--plant") {
        let mut all_found = true;
        for bug in BUGS {
            let is_found = |seed: &u64| cold_run(*seed, Some(bug)).is_err();
            let found = (first..first + PLANTED_SEEDS).filter(is_found).count();
            println!("{bug:?}: found in {found} of {PLANTED_SEEDS} seeds");
            all_found &= found > 0;
        }
        return if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (mut sum, mut broken, mut seed) = (ColdReport::default(), 0, first);
    while sum.crashes < crashes {
        match cold_run(seed, None) {
            Ok(report) => sum.add(&report),
            Err(error) => {
                broken += 1;
                if broken <= TOLD {
                    println!("seed {seed}: {error}");
                }
                if broken == crashes {
                    break;
                }
            }
        }
        seed += 1;
    }
    println!(
        "{} seeds: {broken} broken promises; {} lives, {} of them ended in the middle of something, {} calls of the \
         object store failed; {} versions archived in {} batches, {} merges of files; {} snapshots compared, {} of \
         them again later; {} times every newest row compared, {} rows given by the archive, {} not at first, {} \
         rounds of writes refused and sent again; digests of {} stores compared",
        seed - first,
        sum.lives,
        sum.crashes,
        sum.failed_calls,
        sum.archived,
        sum.batches,
        sum.merges,
        sum.snapshots,
        sum.read_again,
        sum.compared,
        sum.served_from_cold,
        sum.unavailable,
        sum.refused,
        sum.digests,
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
