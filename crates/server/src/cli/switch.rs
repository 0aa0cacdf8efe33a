//! `thermae switch`: a view's bare name means another version.

use serde_json::{Value as Json, json};

use super::args::Global;
use super::args::SwitchArgs;
use super::connect::{connect, failed};
use super::exit::{Done, Failure};

/// Runs the command.
pub fn run(args: &SwitchArgs, global: &Global) -> Result<Done, Failure> {
    if args.back == args.view.version.is_some() {
        let text = "name a version to switch to, as VIEW@2, or write VIEW --back";
        return Err(Failure::Usage(text.to_owned()));
    }
    let view = args.view.to_string();
    let request = if args.back { json!({"switch_back": view}) } else { json!({"switch": view}) };
    let reply = connect(global)?.apply(&request.to_string()).map_err(failed)?;
    if global.json {
        println!("{reply}");
        return Ok(Done::All);
    }
    let told: Json = serde_json::from_str(&reply)
        .map_err(|e| Failure::Failed(format!("the server's reply cannot be read: {e}")))?;
    println!("{view} {}; the registry is at version {} now", done(args.back), told["version"]);
    Ok(Done::All)
}

fn done(is_back: bool) -> &'static str {
    if is_back { "means again what it meant before" } else { "is what the bare name means" }
}
