//! `thermae lineage` and `thermae impact`: what comes from what.

use serde_json::{Value as Json, json};

use super::args::Global;
use super::args::{ImpactArgs, LineageArgs};
use super::connect::{connect, failed};
use super::exit::{Done, Failure};

/// Runs `thermae lineage`.
pub fn lineage(args: &LineageArgs, global: &Global) -> Result<Done, Failure> {
    let told = ask(global, &json!({"lineage": args.what.clone().unwrap_or_default()}))?;
    let Some(told) = told else { return Ok(Done::All) };
    let lineage = &told["lineage"];
    if args.what.is_none() {
        for edge in lineage["edges"].as_array().into_iter().flatten() {
            println!("{} -> {}", text(&edge[0]), text(&edge[1]));
        }
        return Ok(Done::All);
    }
    println!("{}", text(&lineage["of"]));
    list("comes from", &lineage["upstream"]);
    list("feeds", &lineage["downstream"]);
    Ok(Done::All)
}

/// Runs `thermae impact`.
pub fn impact(args: &ImpactArgs, global: &Global) -> Result<Done, Failure> {
    let Some(told) = ask(global, &json!({"impact": args.what}))? else { return Ok(Done::All) };
    let impact = &told["impact"];
    println!("a change of {} reaches", text(&impact["of"]));
    list("features", &impact["features"]);
    list("services", &impact["services"]);
    list("models", &impact["models"]);
    list("tell", &impact["owners"]);
    Ok(Done::All)
}

/// Asks the registry; what it told is printed here, and nothing comes back, where JSON is wanted.
fn ask(global: &Global, request: &Json) -> Result<Option<Json>, Failure> {
    let reply = connect(global)?.registry(&request.to_string()).map_err(failed)?;
    if global.json {
        println!("{reply}");
        return Ok(None);
    }
    let told = serde_json::from_str(&reply)
        .map_err(|e| Failure::Failed(format!("the server's reply cannot be read: {e}")))?;
    Ok(Some(told))
}

fn list(what: &str, names: &Json) {
    let names: Vec<&str> = names.as_array().into_iter().flatten().map(text).collect();
    println!(
        "  {what}: {}",
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    );
}

fn text(name: &Json) -> &str {
    name.as_str().unwrap_or_default()
}
