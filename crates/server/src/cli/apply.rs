//! `thermae apply`: definitions to the server, and what that changes.

use serde::Deserialize;
use serde_json::json;
use thermae_client::Client;

use super::args::{ApplyArgs, Global};
use super::connect::{connect, failed};
use super::exit::{Done, Failure};
use crate::definitions::{Definitions, read_file};

/// What became of one view.
#[derive(Clone, Debug, Deserialize)]
pub struct Applied {
    /// `project/name`.
    pub view: String,
    /// `created`, `updated` or `unchanged`.
    pub action: String,
    /// What changed.
    #[serde(default)]
    pub changes: Vec<String>,
}

#[derive(Deserialize)]
struct ApplyReply {
    applied: Vec<Applied>,
}

/// Runs the command.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<Done, Failure> {
    let definitions = read_file(&args.file).map_err(Failure::of)?;
    let client = connect(global)?;
    let reply = send(&client, &definitions, args.dry_run)?;
    if global.json {
        println!("{reply}");
        return Ok(Done::All);
    }
    for view in parse(&reply)? {
        println!("{}", line(&view, args.dry_run));
        for change in &view.changes {
            println!("    {change}");
        }
    }
    Ok(Done::All)
}

/// Applies definitions; the reply is the server's JSON.
pub fn send(client: &Client, definitions: &Definitions, dry_run: bool) -> Result<String, Failure> {
    let request = json!({"views": definitions.views, "dry_run": dry_run});
    client.apply(&request.to_string()).map_err(failed)
}

/// Reads the server's reply.
pub fn parse(reply: &str) -> Result<Vec<Applied>, Failure> {
    let reply: ApplyReply = serde_json::from_str(reply)
        .map_err(|e| Failure::Failed(format!("the server's reply cannot be read: {e}")))?;
    Ok(reply.applied)
}

fn line(view: &Applied, dry_run: bool) -> String {
    let (sign, would) = match (view.action.as_str(), dry_run) {
        ("created", false) => ("+", "created"),
        ("created", true) => ("+", "would be created"),
        ("updated", false) => ("~", "updated"),
        ("updated", true) => ("~", "would be updated"),
        (other, _) => (" ", other),
    };
    format!("{sign} {}  {would}", view.view)
}
