//! `thermae describe`: which feature views there are, or one in full.

use serde_json::json;
use thermae_client::Described;
use thermae_formats::FeatureView;
use thermae_formats::time::format_duration_us;

use super::args::{DescribeArgs, Global};
use super::connect::{connect, describe, find_view};
use super::exit::{Done, Failure};
use crate::table::Table;

/// Runs the command.
pub fn run(args: &DescribeArgs, global: &Global) -> Result<Done, Failure> {
    let client = connect(global)?;
    match &args.view {
        Some(wanted) => {
            let found = find_view(&client, wanted)?;
            if global.json {
                println!("{}", to_json(&found));
            } else {
                print!("{}", one(&found.definition));
            }
        }
        None => {
            let views = describe(&client)?;
            if global.json {
                let views: Vec<_> = views.iter().map(to_json).collect();
                println!("{}", json!({"views": views}));
            } else if views.is_empty() {
                println!("no feature views yet: define some with `thermae apply FILE.toml`");
            } else {
                print!("{}", list(&views).for_stdout());
            }
        }
    }
    Ok(Done::All)
}

fn to_json(view: &Described) -> serde_json::Value {
    json!({"view_id": view.view_id, "schema_id": view.schema_id, "definition": view.definition})
}

fn keys(view: &FeatureView) -> String {
    let keys: Vec<&str> = view.join_keys.iter().map(|k| k.name.as_str()).collect();
    keys.join(", ")
}

/// A duration of which 0 means without limit.
fn limit(duration_us: i64) -> String {
    if duration_us == 0 { "unlimited".to_owned() } else { format_duration_us(duration_us) }
}

fn list(views: &[Described]) -> Table {
    let mut table =
        Table::new(["project", "view", ">version", "keys", ">features", "ttl", "description"]);
    for view in views.iter().map(|v| &v.definition) {
        table.row([
            view.project.clone(),
            view.name.clone(),
            view.version.to_string(),
            keys(view),
            view.features.len().to_string(),
            limit(view.ttl_us),
            view.description.clone(),
        ]);
    }
    table
}

fn one(view: &FeatureView) -> String {
    let mut head = Table::new(["feature view", &format!("{}/{}", view.project, view.name)]);
    let tiers = format!(
        "hot_for {}, warm_for {}, keep_for {}, history {}{}",
        limit(view.tiers.hot_for_us),
        limit(view.tiers.warm_for_us),
        limit(view.tiers.keep_for_us),
        view.tiers.history.name(),
        if view.tiers.serve_from_cold { ", serve_from_cold" } else { "" }
    );
    let join_keys: Vec<String> =
        view.join_keys.iter().map(|k| format!("{} {}", k.name, k.key_type)).collect();
    let tags: Vec<String> = view.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for (name, value) in [
        ("version", view.version.to_string()),
        ("description", view.description.clone()),
        ("entities", view.entities.join(", ")),
        ("join keys", join_keys.join(", ")),
        ("ttl", limit(view.ttl_us)),
        ("tiers", tiers),
        ("owner", view.owner.clone()),
        ("tags", tags.join(", ")),
        ("source", view.source.clone()),
    ] {
        if !value.is_empty() {
            head.row([name, &value]);
        }
    }
    let mut features = Table::new(["feature", "type", "default", "description"]);
    for feature in &view.features {
        let default = feature.default.as_ref().map(ToString::to_string).unwrap_or_default();
        features.row([
            feature.name.clone(),
            feature.value_type.to_string(),
            default,
            feature.description.clone(),
        ]);
    }
    format!("{}\n{}", head.for_stdout(), features.for_stdout())
}
