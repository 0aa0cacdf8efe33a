//! Damage to every byte of small stores: `damage EVERY`. Prints its counts by kind of file and of
//! damage; exits 1 on a broken promise.

use std::process::ExitCode;

use thermae_tests::bar::bar;
use thermae_tests::damage::{Counts, Damage, Ending, Report, Sample, cases, run};

/// The samples, and bytes of tables up to which their hot tables begin whole.
const SAMPLES: [(Ending, u64, &str); 4] = [
    (Ending::Tables, 0, "all rows in tables"),
    (Ending::Tables, 1 << 30, "all rows in tables, read into memory at the open"),
    (Ending::Rested, 0, "newest rows in the log"),
    (Ending::CutOff, 0, "killed at the last acknowledgement"),
];

fn main() -> ExitCode {
    let every = std::env::args().nth(1).and_then(|text| text.parse().ok()).filter(|&n| n > 0);
    let Some(every) = every else {
        eprintln!("usage: damage EVERY");
        return ExitCode::from(2);
    };
    let mut sum = Report::default();
    for (ending, preload_bytes, name) in SAMPLES {
        match Sample::write(ending) {
            Ok(sample) => {
                let report = spread(&sample, &cases(&sample, every), preload_bytes);
                println!("{name}: {} files", sample.files.len());
                show(&report);
                sum.add(report);
            }
            Err(error) => {
                eprintln!("{name}: no sample: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("in all:");
    show(&sum);
    for why in &sum.first_broken {
        println!("broken promise: {why}");
    }
    println!("{} broken promises", sum.broken);
    if sum.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries the damages on every core.
fn spread(sample: &Sample, damages: &[Damage], preload_bytes: u64) -> Report {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = bar(damages.len() as u64, "damages");
    let (shown, mut sum) = (&bar, Report::default());
    let part = move |first| {
        let mine = damages.iter().skip(first).step_by(threads);
        run(sample, mine, preload_bytes, || shown.inc(1))
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        for part in parts {
            match part.join() {
                Ok(report) => sum.add(report),
                Err(_) => sum.broken += 1,
            }
        }
    });
    bar.finish_and_clear();
    sum
}

fn show(report: &Report) {
    let line = |name: &str, counts: &Counts| {
        println!(
            "  {name:22} {:>8} tried: {:>8} the same, {:>8} refused at the open, {:>7} with rows \
             refused, {:>7} told, {:>6} in the last batch",
            counts.cases,
            counts.same,
            counts.refused,
            counts.unreadable,
            counts.told,
            counts.last_batch
        );
    };
    for ((file, damage), counts) in &report.counts {
        line(&format!("{file:?} {damage:?}"), counts);
    }
    line("all", &report.sum(|_, _| true));
}
