//! `thermae restore`: a data directory of a backup.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use thermae_engine::backup::{self, ArchiveRoots};
use thermae_engine::cold::{LocalObjects, Objects, OpenOptions, is_url, open_url};
use thermae_env::{Env, RealEnv};
use thermae_formats::time::format_timestamp_us;

use super::args::{Global, RestoreArgs};
use super::backup::{place_at, with_bar};
use super::exit::{Done, Failure};
use crate::table::{bytes, thousands};

/// Runs the command.
pub fn run(args: &RestoreArgs, global: &Global) -> Result<Done, Failure> {
    let place = place_at(&args.place, &backup::scratch_dir(&args.data))?;
    let name = args.name.as_ref();
    let from = args.archive.as_deref().map(|root| root_at(root, false)).transpose()?;
    let to = args.with_archive.as_deref().map(|root| root_at(root, true)).transpose()?;
    let restored = with_bar("restoring", 0, |work| match from {
        None => backup::restore(&place, name, &args.data, work),
        Some(from) => {
            let roots = ArchiveRoots { from, to };
            backup::restore_with_archive(&place, name, &args.data, &roots, work)
        }
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

/// The root of an archive: a directory, made if it `may_be_new`, or an address.
fn root_at(root: &Path, may_be_new: bool) -> Result<Arc<dyn Objects>, Failure> {
    let what =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", root.display()));
    if let Some(url) = root.to_str().filter(|root| is_url(root)) {
        return open_url(url, &OpenOptions::default()).map_err(|error| what(&error));
    }
    if may_be_new {
        RealEnv::new().create_dir_all(root).map_err(|error| what(&error))?;
    }
    LocalObjects::new(root).map(|root| Arc::new(root) as _).map_err(|error| what(&error))
}
