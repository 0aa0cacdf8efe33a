//! A crate sees only the crates below it: the drawing of docs/architecture.md as a table.

use super::Violation;
use toml::Table;

/// Each room and the rooms it may see, dev-dependencies included, bottom first.
pub const ROOMS: &[(&str, &[&str])] = &[
    ("formats", &[]),
    ("env", &["formats"]),
    ("hot", &["formats"]),
    ("tiering", &["formats", "env", "hot"]),
    ("engine", &["formats", "env", "hot", "tiering"]),
    ("client", &["formats", "hot"]),
    ("load", &["formats", "env", "engine", "client"]),
    ("features", &["formats", "env", "hot", "tiering", "engine"]),
    ("server", &["formats", "env", "hot", "tiering", "engine", "features", "client", "load"]),
    ("python", &["formats", "engine", "features", "client", "server"]),
];

/// Rooms that see every room and that only they themselves may see.
pub const WORKSHOPS: &[&str] = &["fuzz", "benches", "peers", "tests", "xtask"];

/// Workspace crates that a manifest depends on and may not, and rooms the table does not know.
pub fn check(path: &str, manifest: &Table) -> Vec<Violation> {
    let name = manifest.get("package").and_then(|value| value.get("name"));
    let name = name.and_then(|value| value.as_str()).unwrap_or_default();
    let room = name.trim_start_matches("thermae-");
    if WORKSHOPS.contains(&room) {
        return Vec::new();
    }
    let Some((_, below)) = ROOMS.iter().find(|(known, _)| *known == room) else {
        let what = format!("{name} has no place in house::layering::ROOMS");
        return vec![Violation::new(path, 0, what)];
    };
    seen(manifest)
        .into_iter()
        .filter(|seen| !below.contains(&seen.as_str()))
        .map(|seen| Violation::new(path, 0, format!("{room} may not see {seen}")))
        .collect()
}

/// The rooms that a manifest depends on, by any kind of dependency.
fn seen(manifest: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(section).and_then(|value| value.as_table()) else {
            continue;
        };
        found.extend(
            table.keys().filter_map(|name| Some(name.strip_prefix("thermae-")?.to_owned())),
        );
    }
    found
}

/// Whether the table itself is a strict order: each room sees only rooms listed before it.
pub fn is_strict_order(rooms: &[(&str, &[&str])]) -> bool {
    rooms.iter().enumerate().all(|(position, (_, below))| {
        below.iter().all(|seen| rooms[..position].iter().any(|(room, _)| room == seen))
    })
}
