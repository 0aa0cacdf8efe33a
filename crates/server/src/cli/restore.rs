//! `thermae restore`: a data directory of a backup.

use serde_json::json;
use thermae_engine::backup::{self, Place};
use thermae_env::RealEnv;
use thermae_formats::time::format_timestamp_us;

use super::args::{Global, RestoreArgs};
use super::backup::with_bar;
use super::exit::{Done, Failure};
use crate::table::{bytes, thousands};

/// Runs the command.
pub fn run(args: &RestoreArgs, global: &Global) -> Result<Done, Failure> {
    let place = Place::new(RealEnv::new(), &args.place);
    let restored = with_bar("restoring", 0, |work| {
        backup::restore(&place, args.name.as_ref(), &args.data, work)
    });
    let restored = restored.map_err(Failure::of)?;
    let taken = format_timestamp_us(restored.taken_us);
    if global.json {
        println!(
            "{}",
            json!({
                "directory": args.data.display().to_string(),
                "name": restored.name.to_string(),
                "taken": taken,
                "files": restored.files,
                "bytes": restored.bytes,
                "rows": restored.rows,
            })
        );
    } else {
        println!(
            "restored {} to {}: {} rows, {} files, {}\nIt goes back to {taken}: what was acknowledged later is not \
             in it.",
            restored.name,
            args.data.display(),
            thousands(restored.rows),
            thousands(restored.files),
            bytes(restored.bytes),
        );
    }
    Ok(Done::All)
}
