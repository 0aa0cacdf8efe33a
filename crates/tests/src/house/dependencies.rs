//! Every dependency is declared once, in the workspace, and explained once, in docs/dependencies.md.

use super::{Violation, sources::Source};
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

/// The dependency tables of a manifest, those of single targets too.
fn tables(manifest: &Table) -> impl Iterator<Item = (&'static str, &Table)> {
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let targets = targets.into_iter().flat_map(|targets| targets.values());
    std::iter::once(manifest).chain(targets.filter_map(|target| target.as_table())).flat_map(
        |manifest| {
            SECTIONS
                .into_iter()
                .filter_map(|section| Some((section, manifest.get(section)?.as_table()?)))
        },
    )
}

/// Dependencies of one crate that name a version or path themselves instead of `workspace = true`.
pub fn undeclared(path: &str, manifest: &Table) -> Vec<Violation> {
    let mut found = Vec::new();
    for (section, table) in tables(manifest) {
        for (name, value) in table {
            if value.get("workspace").and_then(|flag| flag.as_bool()) != Some(true) {
                let what = format!("{section}: {name} must be `workspace = true`");
                found.push(Violation::new(path, 0, what));
            }
        }
    }
    found
}

/// Dependencies of one crate that no code of it names.
pub fn unused(path: &str, manifest: &Table, sources: &[Source]) -> Vec<Violation> {
    let folder = path.trim_end_matches("Cargo.toml");
    let own: Vec<&Source> = sources.iter().filter(|s| s.path.starts_with(folder)).collect();
    let is_used = |name: &str| {
        let name = name.replace('-', "_");
        // `serde_json` does not use `serde`.
        let ends = |code: &str, at: usize| !code[at + name.len()..].starts_with(is_ident_char);
        own.iter().any(|source| source.find(&name).iter().any(|at| ends(&source.code, *at)))
    };
    tables(manifest)
        .flat_map(|(_, table)| table.keys())
        .filter(|name| !is_used(name))
        .map(|name| Violation::new(path, 0, format!("{name} is not used: remove it")))
        .collect()
}

fn is_ident_char(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Dependencies of the root manifest that no crate takes.
pub fn untaken(names: &[String], manifests: &[(String, Table)]) -> Vec<Violation> {
    let takes =
        |manifest: &Table, name: &str| tables(manifest).any(|(_, table)| table.contains_key(name));
    names
        .iter()
        .filter(|name| !manifests.iter().any(|(_, manifest)| takes(manifest, name)))
        .map(|name| Violation::new("Cargo.toml", 0, format!("no crate takes {name}: remove it")))
        .collect()
}
