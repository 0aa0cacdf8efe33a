//! Power cuts under a real server: `powercut BINARY CUTS ext4|xfs|both SEED [--plant]`. Prints its
//! counts; exits 1 on a broken promise, 77 where the machine cannot do it. With `--plant` BINARY has a
//! bug, which must be found.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use thermae_tests::bar::bar;
use thermae_tests::powercut::{Drive, FileSystem, Report, missing, round};

/// The exit code of a test that was skipped, as automake has it.
const SKIPPED: u8 = 77;
/// Cuts of one store: then its logs are many, and the next one begins on a new file system.
const ROUND_CUTS: u64 = 20;
/// Broken promises told in full.
const TOLD_MAX: usize = 10;

struct Options {
    binary: PathBuf,
    cuts: u64,
    disks: Vec<(FileSystem, Drive)>,
    seed: u64,
    has_plant: bool,
}

impl Options {
    fn parse(args: &[String]) -> Option<Options> {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let (words, has_plant) = match words.split_last()? {
            (&"--plant", words) => (words, true),
            _ => (words.as_slice(), false),
        };
        let [binary, cuts, file_systems, seed] = words else { return None };
        let file_systems = match *file_systems {
            "ext4" => vec![FileSystem::Ext4],
            "xfs" => vec![FileSystem::Xfs],
            "both" => vec![FileSystem::Ext4, FileSystem::Xfs],
            _ => return None,
        };
        let drives = |kind| [(kind, Drive::WriteThrough), (kind, Drive::WriteBack)];
        let disks = file_systems.into_iter().flat_map(drives).collect();
        let (cuts, seed) = (cuts.parse().ok()?, seed.parse().ok()?);
        Some(Options { binary: binary.into(), cuts, disks, seed, has_plant })
    }

    /// Cuts the disks in turn. Returns what was seen on each, and the promises broken.
    fn run(&self, is_over: &AtomicBool) -> (Vec<Report>, Vec<String>) {
        let each = self.cuts.div_ceil(self.disks.len() as u64);
        let bar = bar(each * self.disks.len() as u64, "power cuts");
        let mut reports = vec![Report::default(); self.disks.len()];
        let mut broken = Vec::new();
        // A planted bug is looked for in every cut by itself.
        let at_most = if self.has_plant { 1 } else { ROUND_CUTS };
        let (mut tried, mut seed) = (0, self.seed);
        while tried < each && !is_over.load(Ordering::Relaxed) {
            let cuts = at_most.min(each - tried);
            for (report, &disk) in reports.iter_mut().zip(&self.disks) {
                let done = bar.position();
                let tell = |cuts| {
                    bar.set_position(done + cuts);
                    !is_over.load(Ordering::Relaxed)
                };
                let (seen, outcome) = round(&self.binary, disk, cuts, seed, tell);
                report.add(&seen);
                if is_over.load(Ordering::Relaxed) {
                    // The signal may have reached the server too: what it did then tells nothing.
                    break;
                }
                broken.extend(outcome.err());
                bar.set_position(done + cuts);
            }
            (tried, seed) = (tried + cuts, seed + 1);
        }
        bar.finish_and_clear();
        (reports, broken)
    }
}

fn tell(name: &str, report: &Report) {
    let rows = &report.rows;
    println!(
        "{name}: {} power cuts seen ({} while a server started), {} that did not take; rows \
         acknowledged {} durable and {} logged; {} in doubt ({} of them kept), {} refused; logged \
         rows lost {} (the oldest {:.1} ms before its cut)",
        report.cuts,
        report.cuts_in_recovery,
        report.unseen,
        rows.durable,
        rows.logged,
        rows.in_doubt,
        rows.survived_in_doubt,
        rows.refused,
        rows.lost_logged,
        rows.oldest_lost.as_secs_f64() * 1e3,
    );
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = Options::parse(&args) else {
        eprintln!("usage: powercut BINARY CUTS ext4|xfs|both SEED [--plant]");
        return ExitCode::from(2);
    };
    let missing = missing(&options.disks);
    if !missing.is_empty() {
        println!("== power cuts: SKIPPED, {}", missing.join("; "));
        return ExitCode::from(SKIPPED);
    }
    // Both leave through the front door: nothing stays mounted.
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&is_over)) {
            eprintln!("no signal handler: {error}");
            return ExitCode::FAILURE;
        }
    }
    let (reports, broken) = options.run(&is_over);
    let mut seen = 0;
    for (report, (file_system, drive)) in reports.iter().zip(&options.disks) {
        tell(&format!("{file_system}, {drive}"), report);
        seen += report.cuts;
    }
    for error in broken.iter().take(TOLD_MAX) {
        println!("broken promise: {error}");
    }
    println!("{} broken promises", broken.len());
    if is_over.load(Ordering::Relaxed) {
        println!("interrupted");
        return ExitCode::FAILURE;
    }
    let is_as_wanted = broken.is_empty() != options.has_plant;
    if is_as_wanted && seen > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
