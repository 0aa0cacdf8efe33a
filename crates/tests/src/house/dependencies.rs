//! Every dependency is declared once, in the workspace, and explained once, in docs/dependencies.md.

use super::Violation;
use toml::Table;

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Workspace dependencies of the root manifest that come from a registry.
pub fn registry_names(root_manifest: &Table) -> Vec<String> {
    let table = root_manifest.get("workspace").and_then(|value| value.get("dependencies"));
    let Some(table) = table.and_then(|value| value.as_table()) else { return Vec::new() };
    table
        .iter()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(name, _)| name.clone())
        .collect()
}

/// Dependencies without a line of the form `| name | ...` or `* name: ...` (name in backquotes or not).
pub fn unexplained(names: &[String], document: &str) -> Vec<Violation> {
    let explained = |name: &str| {
        document.lines().any(|line| {
            let line = line.trim_start().replace('`', "");
            let Some(rest) = line.strip_prefix("| ").or_else(|| line.strip_prefix("* ")) else {
                return false;
            };
            let end = rest.find(['|', ':']).unwrap_or(0);
            rest[..end].split(',').any(|word| word.trim() == name)
        })
    };
    names
        .iter()
        .filter(|name| !explained(name))
        .map(|name| {
            let what = format!("{name} is used but not explained: add a line for it");
            Violation::new("docs/dependencies.md", 0, what)
        })
        .collect()
}

/// Dependencies of one crate that name a version or path themselves instead of `workspace = true`.
pub fn undeclared(path: &str, manifest: &Table) -> Vec<Violation> {
    let mut found = Vec::new();
    for section in SECTIONS {
        let Some(table) = manifest.get(section).and_then(|value| value.as_table()) else {
            continue;
        };
        for (name, value) in table {
            if value.get("workspace").and_then(|flag| flag.as_bool()) != Some(true) {
                let what = format!("{section}: {name} must be `workspace = true`");
                found.push(Violation::new(path, 0, what));
            }
        }
    }
    found
}
