//! What can be typed about the registry; the doc comments are the help.

use clap::Args;

use crate::cli::view_ref::ViewRef;

/// `thermae switch`
#[derive(Args, Debug)]
#[command(after_help = "\
Load a new version of a view beside the old one, then switch: from that moment on, whoever names the view
without a version reads and writes the new one. --back undoes it.

Examples:
  thermae switch weather_by_origin@2
  thermae switch weather_by_origin --back")]
pub struct SwitchArgs {
    /// The feature view with the version to switch to: VIEW@VERSION or PROJECT/VIEW@VERSION
    #[arg(value_name = "VIEW")]
    pub view: ViewRef,
    /// Switch back to the version that was served before
    #[arg(long)]
    pub back: bool,
}

/// `thermae lineage`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  thermae lineage                              # every edge
  thermae lineage weather_by_origin:temp       # what feeds a feature, and what it feeds
  thermae lineage service:nyc/delays --json")]
pub struct LineageArgs {
    /// Of what: VIEW, VIEW:FEATURE, or KIND:NAME where several are called so; everything without it
    #[arg(value_name = "WHAT")]
    pub what: Option<String>,
}

/// `thermae impact`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  thermae impact weather_by_origin:temp")]
pub struct ImpactArgs {
    /// What is to change: VIEW:FEATURE, VIEW, or KIND:NAME
    #[arg(value_name = "FEATURE")]
    pub what: String,
}

/// `thermae quarantine`
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a JSON document: key, reasons, quarantined_at, event_time, created_time, row. They stay for as long as the
view's quarantine_for says. What is to be kept longer, or loaded again when the checks are mended, is exported:
thermae export VIEW__quarantine --out rows.parquet.

Examples:
  thermae quarantine user_engagement
  thermae quarantine user_engagement --key user=7 | jq .reasons")]
pub struct QuarantineArgs {
    /// The feature view: VIEW or PROJECT/VIEW, either with @VERSION
    #[arg(value_name = "VIEW")]
    pub view: ViewRef,
    /// Only this entity: origin=JFK, or origin=JFK,dest=LAX; may be given again
    #[arg(long = "key", value_name = "NAME=VALUE")]
    pub key: Vec<String>,
    /// So many rows at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}
