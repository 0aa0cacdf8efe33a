//! The crash campaign: `simulate SEEDS [FIRST] [--plant]`. Prints its counts; exits 1 on a broken
//! promise, naming the seed that repeats it.

use thermae_tests::campaign::{Plant, Report, run};

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let plant =
        if args.iter().any(|a| a == "--plant") { Plant::SyncIsSkipped } else { Plant::Nothing };
    let mut numbers = args.iter().filter_map(|a| a.parse::<u64>().ok());
    let seeds = numbers.next().unwrap_or(1_000);
    let first = numbers.next().unwrap_or(0);
    let mut sum = Report::default();
    let mut broken = 0_u64;
    for seed in first..first + seeds {
        match run(seed, plant) {
            Ok(report) => {
                sum.crashes += report.crashes;
                sum.crashes_in_recovery += report.crashes_in_recovery;
                sum.acknowledged += report.acknowledged;
                sum.lost += report.lost;
                sum.faults += report.faults;
            }
            Err(error) => {
                broken += 1;
                if broken <= 10 && plant == Plant::Nothing {
                    println!("seed {seed}: {error}");
                }
            }
        }
    }
    println!(
        "{seeds} seeds, plant {plant:?}: {broken} broken promises; {} crashes ({} of them during \
         recovery), {} writes acknowledged, {} unacknowledged ones lost, {} disk faults injected",
        sum.crashes, sum.crashes_in_recovery, sum.acknowledged, sum.lost, sum.faults
    );
    let as_it_should = (broken > 0) == (plant != Plant::Nothing);
    if as_it_should { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
