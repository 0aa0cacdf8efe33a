//! Mapped readers in other processes: `stress BINARY SECONDS`. Exits 1 on a torn, stale or foreign row.

use std::path::PathBuf;
use std::process::ExitCode;

use thermae_tests::stress::{read_for, stress};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["--reader", socket, seconds, seed] => reader(socket, seconds, seed),
        [binary, seconds] => parent(binary, seconds),
        _ => Err("usage: stress BINARY SECONDS".to_owned()),
    };
    match outcome {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn reader(socket: &str, seconds: &str, seed: &str) -> Result<String, String> {
    let seen = read_for(&PathBuf::from(socket), number(seconds)?, number(seed)?)?;
    Ok(format!(
        "reader {seed}: {} rows right, {} from the maps, mapped anew {} times, {} reads failed \
         between servers",
        seen.rows, seen.hits, seen.remaps, seen.failures
    ))
}

fn parent(binary: &str, seconds: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let myself = std::env::current_exe().map_err(|e| e.to_string())?;
    let restarts = stress(&PathBuf::from(binary), &myself, dir.path(), number(seconds)?)?;
    Ok(format!("{restarts} restarts and kills, no wrong row"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}
