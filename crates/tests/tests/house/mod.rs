//! The house rules hold for the repository; `planted` shows that each rule can go red.

mod planted;

use thermae_tests::house::{
    Violation, banned, circles, committed, dependencies, faults, layering, lengths, report,
    sources, unsafety,
};
use toml::Table;

fn assert_clean(violations: &[Violation]) {
    assert!(violations.is_empty(), "{} violations:{}", violations.len(), report(violations));
}

/// Every manifest of the workspace: relative path and content.
fn manifests() -> Vec<(String, Table)> {
    let root = sources::root();
    sources::files(&root)
        .iter()
        .filter(|path| path.ends_with("Cargo.toml"))
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            (sources::relative(&root, path), text.parse().unwrap())
        })
        .collect()
}

/// Dependencies from a registry, of both workspaces: the product's and the peers'.
fn declared(manifests: &[(String, Table)]) -> Vec<String> {
    manifests.iter().flat_map(|(_, manifest)| dependencies::registry_names(manifest)).collect()
}

fn sources_now() -> Vec<sources::Source> {
    let loaded = sources::load(&sources::root());
    assert!(loaded.len() > 20, "only {} sources found: the walk is broken", loaded.len());
    loaded
}

#[test]
fn crates_see_only_the_crates_below_them() {
    assert!(layering::is_strict_order(layering::ROOMS));
    let manifests = manifests();
    assert!(manifests.len() >= 12, "only {} manifests found", manifests.len());
    let crates = manifests.iter().filter(|(path, _)| path != "Cargo.toml");
    let found: Vec<_> =
        crates.flat_map(|(path, manifest)| layering::check(path, manifest)).collect();
    assert_clean(&found);
}

#[test]
fn no_import_circle_inside_a_crate() {
    let sources = sources_now();
    let found: Vec<_> = manifests()
        .iter()
        .map(|(path, _)| path.replace("Cargo.toml", "src/"))
        .flat_map(|folder| circles::check(&folder, &sources))
        .collect();
    assert_clean(&found);
}

#[test]
fn files_and_functions_are_short() {
    let sources = sources_now();
    let check = |source| lengths::check(source, lengths::EXCEPTIONS);
    assert_clean(&sources.iter().flat_map(check).collect::<Vec<_>>());
    for (path, function, why) in lengths::EXCEPTIONS {
        assert!(!why.is_empty(), "{path} {function}: an exception says why");
        let source = sources.iter().find(|source| source.path == *path);
        let needed = source.is_some_and(|source| !lengths::check(source, &[]).is_empty());
        assert!(needed, "{path} {function}: the exception is no longer needed");
    }
}

#[test]
fn banned_calls_stand_only_where_they_may() {
    let check = |source| banned::check(source, banned::BANS);
    assert_clean(&sources_now().iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn unsafe_stands_in_named_files_and_is_explained() {
    let check = |source| unsafety::check(source, unsafety::ALLOWED);
    assert_clean(&sources_now().iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn committed_text_names_no_machine() {
    let root = sources::root();
    let mut found = Vec::new();
    for path in sources::files(&root) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        found.extend(committed::check(&sources::relative(&root, &path), &text));
    }
    assert_clean(&found);
}

#[test]
fn every_dependency_is_declared_once_and_explained() {
    let manifests = manifests();
    let names = declared(&manifests);
    assert!(names.len() > 10, "only {} dependencies found", names.len());
    let document = sources::root().join("docs/dependencies.md");
    let document = std::fs::read_to_string(document).unwrap();
    let mut found = dependencies::unexplained(&names, &document);
    for (path, manifest) in &manifests {
        found.extend(dependencies::undeclared(path, manifest));
    }
    assert_clean(&found);
}

#[test]
fn every_dependency_is_used() {
    let manifests = manifests();
    let sources = sources_now();
    let mut found = dependencies::untaken(&declared(&manifests), &manifests);
    for (path, manifest) in &manifests {
        found.extend(dependencies::unused(path, manifest, &sources));
    }
    assert_clean(&found);
}

#[test]
fn every_test_that_the_table_of_faults_names_is_there() {
    let root = sources::root();
    let document = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    assert!(faults::named_tests(&document).len() > 50);
    let source = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    assert_clean(&faults::check("docs/faults.md", &document, source));
}

#[test]
fn peers_are_built_as_the_product_is() {
    let manifests = manifests();
    let release = |wanted: &str| {
        let (_, manifest) = manifests.iter().find(|(path, _)| path == wanted).unwrap();
        let mut release = manifest["profile"]["release"].as_table().unwrap().clone();
        // Whether a C++ library has debug information is no matter.
        release.remove("package");
        release
    };
    assert_eq!(release("crates/peers/Cargo.toml"), release("Cargo.toml"));
}
