//! Inside a crate, modules import each other without a circle.
//!
//! An edge is a path from one file's module to another's, through `crate::`, `super::` or `self::`, in
//! code that is not test code; re-exports are followed to the module that owns the item. A folder and
//! the files in it are one unit with one face: edges between a module and its own ancestors do not count.

use super::{Violation, mask::is_ident, sources::Source};
use std::collections::{BTreeMap, BTreeSet};

/// One path of a `use` tree or an expression, and the name it is bound to.
struct Leaf {
    path: Vec<String>,
    name: String,
}

/// The modules of one crate: its own code, and what each re-exports.
struct Crate<'a> {
    modules: BTreeMap<Vec<String>, &'a Source>,
    exports: BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>>,
}

/// Circles among the modules of the crate whose sources lie under `folder` (`crates/x/src/`).
pub fn check(folder: &str, sources: &[Source]) -> Vec<Violation> {
    let mut house = Crate { modules: BTreeMap::new(), exports: BTreeMap::new() };
    for source in sources {
        if let Some(module) = module_of(folder, &source.path) {
            house.modules.insert(module, source);
        }
    }
    for (module, source) in &house.modules {
        let exports = exports(module, source);
        house.exports.insert(module.clone(), exports);
    }
    let edges: BTreeMap<_, _> =
        house.modules.keys().map(|module| (module.clone(), house.edges(module))).collect();
    circles(&edges)
        .into_iter()
        .map(|circle| {
            let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            let what =
                format!("import circle {}: move what both need below both", names.join(" -> "));
            Violation::new(folder, 0, what)
        })
        .collect()
}

/// The module path of a file, `None` outside the folder and for binaries.
fn module_of(folder: &str, path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix(folder)?.strip_suffix(".rs")?;
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    match parts.last().map(String::as_str) {
        Some("main") => return None,
        Some("lib" | "mod") => {
            parts.pop();
        }
        _ => {}
    }
    (parts.first().map(String::as_str) != Some("bin")).then_some(parts)
}

impl Crate<'_> {
    /// The modules that `module` reaches, its own ancestors and descendants left out.
    fn edges(&self, module: &[String]) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        for leaf in references(self.modules[module]) {
            let Some(path) = absolute(module, &leaf.path) else { continue };
            let target = self.owner(path, 8);
            if !target.starts_with(module) && !module.starts_with(&target) {
                found.insert(target);
            }
        }
        found
    }

    /// The module that owns the item at an absolute path; re-exports followed at most `hops` times.
    fn owner(&self, path: Vec<String>, hops: usize) -> Vec<String> {
        let length =
            (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]));
        let length = length.unwrap_or(0);
        let module = path[..length].to_vec();
        let exported = path.get(length).and_then(|name| self.exports.get(&module)?.get(name));
        match exported {
            Some(target) if hops > 0 => self.owner(target.clone(), hops - 1),
            _ => module,
        }
    }
}

/// What `pub use` of a module hands on: name to absolute path.
fn exports(module: &[String], source: &Source) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for at in source.find("use ") {
        let line_start = source.code[..at].rfind('\n').map_or(0, |newline| newline + 1);
        if !source.code[line_start..at].trim_start().starts_with("pub") {
            continue;
        }
        for leaf in leaves(&source.code, at + "use ".len()) {
            let first = leaf.path.first().map(String::as_str);
            let rooted = matches!(first, Some("crate" | "self" | "super"));
            let path = if rooted {
                absolute(module, &leaf.path)
            } else {
                Some([module, &leaf.path].concat())
            };
            if let Some(path) = path {
                found.insert(leaf.name, path);
            }
        }
    }
    found
}

/// Every path of a source that starts at `crate`, `super` or `self`, test code left out.
fn references(source: &Source) -> Vec<Leaf> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for at in source.find(start) {
            let continued = source.code[..at].ends_with("::");
            let macro_path = source.code[..at].ends_with('$');
            if !continued && !macro_path && !source.in_test(at) {
                found.extend(leaves(&source.code, at));
            }
        }
    }
    found
}

/// The leaves of the path or `use` tree that starts at `at`.
fn leaves(code: &str, at: usize) -> Vec<Leaf> {
    let mut found = Vec::new();
    tree(code.as_bytes(), at, &[], &mut found);
    found
}

/// Reads one tree, adds its leaves, and returns the offset behind it.
fn tree(bytes: &[u8], at: usize, prefix: &[String], found: &mut Vec<Leaf>) -> usize {
    let mut at = skip(bytes, at);
    let mut path = prefix.to_vec();
    loop {
        if bytes.get(at) == Some(&b'{') {
            at += 1;
            while !matches!(bytes.get(at), None | Some(b'}')) {
                let next = tree(bytes, at, &path, found);
                at = skip(bytes, next.max(at + 1));
                if bytes.get(at) == Some(&b',') {
                    at = skip(bytes, at + 1);
                }
            }
            return at + 1;
        }
        let length =
            bytes[at.min(bytes.len())..].iter().take_while(|byte| is_ident(**byte)).count();
        let word = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        at += length;
        if word.is_empty() {
            at += usize::from(bytes.get(at) == Some(&b'*'));
            break;
        }
        path.push(word);
        let next = skip(bytes, at);
        if !bytes[next..].starts_with(b"::") {
            break;
        }
        at = skip(bytes, next + 2);
    }
    if path.len() > prefix.len().max(1) && path.last().map(String::as_str) == Some("self") {
        path.pop();
    }
    let after = skip(bytes, at);
    let mut name = path.last().cloned().unwrap_or_default();
    if bytes[after..].starts_with(b"as ") {
        let start = skip(bytes, after + 3);
        let length = bytes[start..].iter().take_while(|byte| is_ident(**byte)).count();
        name = String::from_utf8_lossy(&bytes[start..start + length]).into_owned();
        at = start + length;
    }
    found.push(Leaf { path, name });
    at
}

fn skip(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// A path relative to `module` as a path from the crate's root.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        _ => {}
    }
    while rest.first().map(String::as_str) == Some("super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

type Graph = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// One circle for each back edge of a depth-first walk.
fn circles(graph: &Graph) -> Vec<Vec<Vec<String>>> {
    let (mut done, mut found) = (BTreeSet::new(), Vec::new());
    for module in graph.keys() {
        walk(graph, module, &mut Vec::new(), &mut done, &mut found);
    }
    found
}

fn walk(
    graph: &Graph,
    module: &[String],
    trail: &mut Vec<Vec<String>>,
    done: &mut BTreeSet<Vec<String>>,
    found: &mut Vec<Vec<Vec<String>>>,
) {
    if let Some(start) = trail.iter().position(|seen| seen == module) {
        let mut circle = trail[start..].to_vec();
        circle.push(module.to_vec());
        found.push(circle);
        return;
    }
    if done.contains(module) {
        return;
    }
    trail.push(module.to_vec());
    for next in graph.get(module).into_iter().flatten() {
        walk(graph, next, trail, done, found);
    }
    trail.pop();
    done.insert(module.to_vec());
}
