//! Arguments of `thermae erase`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::view_ref::ViewRef;

/// `thermae erase`
#[derive(Args, Debug)]
#[command(after_help = "\
What was known of the entities in this view is gone for every reader when the server acknowledges, whatever its event
time; a key that was never there is no error. Then the server removes every byte of it from log, tables and archive,
and this command waits for that; interrupted, it goes on all the same. Erasing an entity from other views is a
command for each of them. What is written later is new.

Backups below the server's --backup-dir that still hold an entity are named, with how to remove them; exit code 3 says
that there are such. A restore from one brings the entity back: erase it again then.

Examples:
  thermae erase users --key uid=7
  thermae erase shop/users --keys gone.csv --json")]
pub struct EraseArgs {
    /// The feature view: NAME, PROJECT/NAME or PROJECT/NAME@VERSION; each version has rows of its
    /// own, and without one the newest is meant
    #[arg(value_name = "VIEW")]
    pub view: ViewRef,
    /// Join keys of one entity: origin=JFK, or origin=JFK,dest=LAX; may be given again
    #[arg(long = "key", value_name = "NAME=VALUE", required_unless_present = "keys")]
    pub key: Vec<String>,
    /// A file of entities, with a column for each join key (.parquet, .csv, .ndjson, .jsonl)
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Wait until no byte is left [the default]
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Return when nobody reads them any more; the server goes on by itself
    #[arg(long)]
    pub no_wait: bool,
}
