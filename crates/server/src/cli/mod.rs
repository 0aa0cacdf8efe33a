//! The command line: what can be typed, and where it goes.

mod answers;
mod apply;
mod args;
mod backfill;
mod backup;
mod backup_print;
mod bench;
mod connect;
mod delete;
mod describe;
mod erase;
mod erase_print;
mod erase_status;
mod exit;
mod export;
mod get;
mod get_computed;
mod get_print;
mod health;
mod history;
mod history_plan;
mod ingest;
mod keys;
mod lineage;
mod quarantine;
mod quickstart;
mod quickstart_mapped;
mod quickstart_read;
mod quickstart_show;
mod quickstart_time;
mod quickstart_training;
mod restore;
mod serve;
mod stat;
mod switch;
mod verify;
mod view_ref;

use clap::Parser;
use serde_json::json;

pub use args::Cli;
use args::Command;
pub use exit::{Done, Failure};

/// Parses the process's arguments, runs the command, and gives the process's exit code.
pub fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output with code 0, a usage error to standard error with code 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(exit::USAGE);
            // If even this cannot be printed there is nobody to tell.
            let _ = error.print();
            return std::process::ExitCode::from(code);
        }
    };
    let as_json = cli.global.json;
    match run(cli) {
        Ok(done) => std::process::ExitCode::from(done.code()),
        Err(failure) => {
            if as_json {
                println!("{}", json!({"error": failure.to_string(), "exit_code": failure.code()}));
            } else {
                eprintln!("error: {failure}");
            }
            std::process::ExitCode::from(failure.code())
        }
    }
}

/// Runs one command.
///
/// # Errors
/// A [`Failure`] with the text to show and the exit code.
pub fn run(cli: Cli) -> Result<Done, Failure> {
    let global = cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(&args, &global),
        Command::Apply(args) => apply::run(&args, &global),
        Command::Ingest(args) => ingest::run(&args, &global),
        Command::Backfill(args) => backfill::run(&args, &global),
        Command::Get(args) => get::run(&args, &global),
        Command::Delete(args) => delete::run(&args, &global),
        Command::Erase(args) => erase::run(&args, &global),
        Command::Export(args) => export::run(&args, &global),
        Command::History(args) => history::run(&args, &global),
        Command::Describe(args) => describe::run(&args, &global),
        Command::Switch(args) => switch::run(&args, &global),
        Command::Lineage(args) => lineage::lineage(&args, &global),
        Command::Impact(args) => lineage::impact(&args, &global),
        Command::Quarantine(args) => quarantine::run(&args, &global),
        Command::Stat(args) => stat::run(&args, &global),
        Command::Backup(args) => backup::run(&args, &global),
        Command::Restore(args) => restore::run(&args, &global),
        Command::Verify(args) => verify::run(&args, &global),
        Command::Bench(args) => bench::run(&args, &global),
        Command::Plan(args) => bench::plan::run(&args, &global),
        Command::Quickstart(args) => quickstart::run(&args, &global),
    }
}
