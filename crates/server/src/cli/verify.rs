//! `thermae verify`: every byte of a data directory, read and checked.

use std::path::Path;

use serde_json::json;
use thermae_engine::log::{Severity, VerifyReport};
use thermae_engine::verify::verify_directory;
use thermae_env::RealEnv;

use super::args::{Global, VerifyArgs};
use super::exit::{Done, Failure};
use crate::progress::{Progress, Unit};
use crate::table::{bytes, thousands};

/// Runs the command.
pub fn run(args: &VerifyArgs, global: &Global) -> Result<Done, Failure> {
    if !args.data.is_dir() {
        return Err(Failure::Failed(format!("{} is no directory", args.data.display())));
    }
    let mut bar: Option<Progress> = None;
    let report = verify_directory(&RealEnv::new(), &args.data, &mut |done, total| {
        bar.get_or_insert_with(|| Progress::new("verifying", Some(total), Unit::Bytes)).at(done);
    });
    drop(bar);
    show(&args.data, &report.map_err(Failure::of)?, global)
}

/// Prints what was found in `directory`.
pub fn show(directory: &Path, report: &VerifyReport, global: &Global) -> Result<Done, Failure> {
    let damages = report.findings.iter().filter(|f| f.severity == Severity::Damage).count();
    if global.json {
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|f| {
                json!({
                    "file": f.file.display().to_string(),
                    "offset": f.offset,
                    "severity": if f.severity == Severity::Damage { "damage" } else { "note" },
                    "what": f.what,
                })
            })
            .collect();
        println!(
            "{}",
            json!({
                "directory": directory.display().to_string(),
                "sound": damages == 0,
                "files": report.files,
                "bytes": report.bytes,
                "tables": report.tables,
                "rows": report.rows,
                "batches": report.batches,
                "records": report.records,
                "findings": findings,
            })
        );
    } else {
        for finding in &report.findings {
            let kind = if finding.severity == Severity::Damage { "DAMAGE" } else { "note" };
            println!(
                "{kind}  {}, offset {}: {}",
                finding.file.display(),
                finding.offset,
                finding.what
            );
        }
        println!(
            "{}: {} files, {}, {} tables, {} rows, {} batches, {} records: {}",
            directory.display(),
            report.files,
            bytes(report.bytes),
            thousands(report.tables),
            thousands(report.rows),
            thousands(report.batches),
            thousands(report.records),
            if damages == 0 { "sound".to_owned() } else { format!("{damages} damaged places") }
        );
    }
    Ok(if damages == 0 { Done::All } else { Done::Damage })
}
