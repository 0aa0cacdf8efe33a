//! `thermae apply`: definitions to the server, and what that changes.

use serde::Deserialize;
use serde_json::json;
use thermae_client::Client;
use thermae_features::definitions::{Definitions, read_file};

use super::args::{ApplyArgs, Global};
use super::connect::{connect, failed};
use super::exit::{Done, Failure};

/// What became of one object.
#[derive(Clone, Debug, Deserialize)]
pub struct Applied {
    /// As in `feature view nyc/weather@1`.
    pub object: String,
    /// `created`, `updated` or `unchanged`.
    pub action: String,
    /// What changed.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Services and models that read it.
    #[serde(default)]
    pub affects: Vec<String>,
}

/// One feature view of them.
#[derive(Clone, Debug, Deserialize)]
pub struct AppliedView {
    /// `project/name@version`.
    pub view: String,
}

/// What applying definitions did, or would do.
#[derive(Clone, Debug, Deserialize)]
pub struct ApplyReply {
    /// The feature views among the objects.
    pub applied: Vec<AppliedView>,
    /// Every object of the definitions.
    pub changes: Vec<Applied>,
    /// The registry's version before.
    pub base: u64,
    /// The registry's version afterwards.
    pub version: u64,
}

/// Runs the command.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<Done, Failure> {
    let definitions = read_file(&args.file).map_err(Failure::of)?;
    let client = connect(global)?;
    let reply = send(&client, &definitions, args)?;
    if global.json {
        println!("{reply}");
        return Ok(Done::All);
    }
    let reply = parse(&reply)?;
    for change in &reply.changes {
        println!("{}", line(change, args.dry_run));
        for line in &change.lines {
            println!("    {line}");
        }
        if !change.affects.is_empty() {
            println!("    read by {}", change.affects.join(", "));
        }
    }
    println!("{}", versions(&reply, args.dry_run));
    Ok(Done::All)
}

/// Applies definitions; the reply is the server's JSON.
pub fn send(
    client: &Client,
    definitions: &Definitions,
    args: &ApplyArgs,
) -> Result<String, Failure> {
    let mut request = json!({"objects": definitions.objects, "dry_run": args.dry_run});
    if let Some(version) = args.if_version {
        request["if_version"] = version.into();
    }
    if let Some(by) = &args.by {
        request["by"] = by.clone().into();
    }
    client.apply(&request.to_string()).map_err(failed)
}

/// Reads the server's reply.
pub fn parse(reply: &str) -> Result<ApplyReply, Failure> {
    serde_json::from_str(reply)
        .map_err(|e| Failure::Failed(format!("the server's reply cannot be read: {e}")))
}

fn line(change: &Applied, dry_run: bool) -> String {
    let (sign, would) = match (change.action.as_str(), dry_run) {
        ("created", false) => ("+", "created"),
        ("created", true) => ("+", "would be created"),
        ("updated", false) => ("~", "updated"),
        ("updated", true) => ("~", "would be updated"),
        (other, _) => (" ", other),
    };
    format!("{sign} {}  {would}", change.object)
}

fn versions(reply: &ApplyReply, dry_run: bool) -> String {
    let ApplyReply { base, version, .. } = reply;
    match (base == version, dry_run) {
        (true, _) => format!("nothing changes: the registry is at version {version}"),
        (false, false) => format!("the registry is at version {version} now"),
        (false, true) => format!(
            "the registry would go from version {base} to {version}; `thermae apply --if-version {base}` applies just this"
        ),
    }
}
