//! The crash campaign: `simulate SEEDS [FIRST] [--plant]`. Prints its counts; exits 1 on a broken
//! promise, naming the seed that repeats it. With `--plant` each bug in turn must be found.

use std::process::ExitCode;

use thermae_tests::campaign::{Plant, Report, run};

/// Seeds in which promises were broken, and the sum of the others.
fn campaign(first: u64, seeds: u64, plant: Plant) -> (u64, Report) {
    let mut sum = Report::default();
    let mut broken = 0_u64;
    for seed in first..first + seeds {
        match run(seed, plant) {
            Ok(report) => sum.add(&report),
            Err(error) => {
                broken += 1;
                if broken <= 10 && plant == Plant::Nothing {
                    println!("seed {seed}: {error}");
                }
            }
        }
    }
    (broken, sum)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = args.iter().filter_map(|a| a.parse::<u64>().ok());
    let seeds = numbers.next().unwrap_or(1_000);
    let first = numbers.next().unwrap_or(0);
    if args.iter().any(|a| a == "--plant") {
        let mut all_found = true;
        for plant in Plant::BUGS {
            let (broken, _) = campaign(first, seeds, plant);
            println!("{plant:?}: found in {broken} of {seeds} seeds");
            all_found &= broken > 0;
        }
        return if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (broken, sum) = campaign(first, seeds, Plant::Nothing);
    println!(
        "{seeds} seeds: {broken} broken promises; {} crashes ({} of them during recovery), {} writes \
         acknowledged, {} unacknowledged ones lost, {} disk faults injected, {} damages refused",
        sum.crashes,
        sum.crashes_in_recovery,
        sum.acknowledged,
        sum.lost,
        sum.faults,
        sum.damages_refused
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
