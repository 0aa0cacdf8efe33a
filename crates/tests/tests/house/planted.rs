//! Each checker against a planted violation: it must go red there, and stay green beside it.

use thermae_tests::house::sources::Source;
use thermae_tests::house::{
    banned, circles, committed, dependencies, faults, layering, lengths, mask::mask, report,
    unsafety,
};

fn source(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

#[test]
fn mask_blanks_comments_and_literals_only() {
    let text = "let a = \"x.unwrap()\"; // .unwrap()\nlet b = 'c'; let r: &'static str = r#\"\"todo!\"#; /* /* */ dbg! */ f::<'a>('\\'');";
    let masked = mask(text);
    assert_eq!(masked.len(), text.len());
    assert_eq!(masked.lines().count(), 2);
    for word in ["unwrap", "todo", "dbg", "x."] {
        assert!(!masked.contains(word), "{word} left in {masked}");
    }
    for word in ["let a =", "let b =", "&'static str =", "f::<'a>("] {
        assert!(masked.contains(word), "{word} missing from {masked}");
    }
}

#[test]
fn test_modules_are_told_apart() {
    let text = "fn a() { x.unwrap(); }\n#[cfg(test)]\nmod tests {\n fn b() { x.unwrap(); }\n}\nfn c() { x.unwrap(); }\n";
    let found = banned::check(&source("crates/hot/src/a.rs", text), banned::BANS);
    let lines: Vec<usize> = found.iter().map(|violation| violation.line).collect();
    assert_eq!(lines, [1, 6]);
}

#[test]
fn banned_calls_go_red_outside_their_rooms() {
    let planted = [
        ("use std::fs;\n", "crates/engine/src/a.rs"),
        ("fn f() { let t = std::time::Instant::now(); }", "crates/engine/src/a.rs"),
        ("fn f() { SystemTime::now(); }", "crates/hot/src/a.rs"),
        ("fn f() { thread::sleep(d); }", "crates/server/src/a.rs"),
        ("fn f() { println!(); }", "crates/server/src/a.rs"),
        ("fn f() { a.expect(\"b\"); }", "crates/formats/src/a.rs"),
        ("fn f() { todo!() }", "crates/tests/src/a.rs"),
        ("fn f() { UnixStream::connect(p) }", "crates/engine/src/a.rs"),
        ("fn f() { redb::Database::create(p) }", "crates/features/src/store/a.rs"),
    ];
    for (text, path) in planted {
        let found = banned::check(&source(path, text), banned::BANS);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    }
    let fine = [
        ("fn f() { rustix::fs::File::x(); expect(b); my_println!(); }", "crates/engine/src/a.rs"),
        ("fn f() { std::fs::read(p); println!(); }", "crates/server/src/cli/a.rs"),
        ("// Instant::now() is banned\n", "crates/engine/src/a.rs"),
    ];
    for (text, path) in fine {
        let found = banned::check(&source(path, text), banned::BANS);
        assert!(found.iter().all(|violation| violation.what.contains("fs::File")), "{found:?}");
    }
}

#[test]
fn long_functions_and_files_go_red() {
    let body = |lines: usize| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
    let check = |text: &str| lengths::check(&source("crates/x/src/a.rs", text), &[]).len();
    assert_eq!(check(&body(lengths::FUNCTION_LINES)), 0);
    assert_eq!(check(&body(lengths::FUNCTION_LINES + 1)), 1);
    assert_eq!(check(&"// line\n".repeat(lengths::FILE_LINES)), 0);
    assert_eq!(check(&"// line\n".repeat(lengths::FILE_LINES + 1)), 1);
    let excused = [("crates/x/src/a.rs", "long", "a table")];
    let long = source("crates/x/src/a.rs", &body(90));
    assert!(lengths::check(&long, &excused).is_empty());
    let generic = "trait T { fn a(&self) -> [u8; 4]; }\nfn b<const N: usize>(x: [u8; N]) { c() }\n";
    assert_eq!(lengths::functions(generic).len(), 1);
}

#[test]
fn unsafe_goes_red_when_unnamed_or_unexplained() {
    let explained = "fn f() {\n    // SAFETY: the pointer is ours.\n    unsafe { g() }\n}\n";
    let bare = "fn f() {\n    let a = 1;\n    unsafe { g() }\n}\n";
    let far = "// SAFETY: about something else.\nfn h() {}\nfn f() {\n    unsafe { g() }\n}\n";
    let check = |path, text| unsafety::check(&source(path, text), unsafety::ALLOWED).len();
    assert_eq!(check("crates/hot/src/map.rs", explained), 0);
    assert_eq!(check("crates/hot/src/map.rs", bare), 1);
    assert_eq!(check("crates/hot/src/map.rs", far), 1);
    assert_eq!(check("crates/engine/src/shard.rs", explained), 1);
    assert_eq!(check("crates/engine/src/shard.rs", "#![deny(unsafe_op_in_unsafe_fn)]"), 0);
    assert_eq!(check("crates/engine/src/shard.rs", "// no unsafe here\n"), 0);
}

#[test]
fn layering_goes_red_upwards_and_in_dev_dependencies() {
    let check = |text: &str| layering::check("Cargo.toml", &text.parse().unwrap()).len();
    let hot = "[package]\nname = \"thermae-hot\"\n";
    assert_eq!(check(&format!("{hot}[dependencies]\nthermae-formats = {{ workspace = true }}")), 0);
    assert_eq!(check(&format!("{hot}[dependencies]\nthermae-engine = {{ workspace = true }}")), 1);
    assert_eq!(
        check(&format!("{hot}[dev-dependencies]\nthermae-tests = {{ workspace = true }}")),
        1
    );
    assert_eq!(check("[package]\nname = \"thermae-attic\"\n"), 1);
    assert_eq!(check("[package]\nname = \"xtask\"\n[dependencies]\nthermae-server = \"1\""), 0);
    assert!(!layering::is_strict_order(&[("a", &["b"]), ("b", &[])]));
}

#[test]
fn import_circles_go_red() {
    let check = |files: &[(&str, &str)]| {
        let sources: Vec<Source> = files.iter().map(|(path, text)| source(path, text)).collect();
        circles::check("crates/x/src/", &sources).len()
    };
    let lib = ("crates/x/src/lib.rs", "pub use b::Thing;\nmod a; mod b; mod c;\n");
    let straight = [
        lib,
        ("crates/x/src/a.rs", "use crate::{b::Other, Thing};\n"),
        ("crates/x/src/b.rs", "pub struct Thing; // crate::a::f\n#[cfg(test)]\nuse crate::a::f;\n"),
    ];
    assert_eq!(check(&straight), 0);
    let direct = [
        lib,
        ("crates/x/src/a.rs", "use crate::b::Other;\n"),
        ("crates/x/src/b.rs", "fn f() { super::a::g() }\n"),
    ];
    assert_eq!(check(&direct), 1);
    let through_three_and_a_face = [
        lib,
        ("crates/x/src/a.rs", "use crate::Thing as T;\n"),
        ("crates/x/src/b.rs", "use crate::c::{self, d::{E, F}};\n"),
        ("crates/x/src/c/mod.rs", "pub mod d;\n"),
        ("crates/x/src/c/d.rs", "use crate::a;\n"),
    ];
    assert_eq!(check(&through_three_and_a_face), 1);
    let folder = [
        lib,
        ("crates/x/src/c/mod.rs", "pub mod d;\nuse self::d::E;\n"),
        ("crates/x/src/c/d.rs", "use super::Face;\n"),
    ];
    assert_eq!(check(&folder), 0);
}

#[test]
fn machine_paths_and_foreign_sources_go_red() {
    for (word, _) in committed::words() {
        assert_eq!(committed::check("README.md", &format!("see {word}x\n")).len(), 1, "{word}");
    }
    let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    assert!(committed::check("Cargo.lock", lock).is_empty());
    assert_eq!(committed::check("Cargo.lock", "source = \"git+https://a.b/c\"\n").len(), 1);
}

#[test]
fn unexplained_and_undeclared_dependencies_go_red() {
    let names = ["clap".to_owned(), "csv".to_owned()];
    let document = "| `clap` | command line |\nclap and csv\n";
    assert_eq!(dependencies::unexplained(&names, document).len(), 1);
    assert!(dependencies::unexplained(&names, "| clap, csv | both |\n").is_empty());
    let manifest = "[dependencies]\na = { workspace = true }\n[dev-dependencies]\nb = \"1\"\n";
    assert_eq!(dependencies::undeclared("x", &manifest.parse().unwrap()).len(), 1);
    let root = "[workspace.dependencies]\na = { path = \"a\" }\nb = \"1\"\n";
    assert_eq!(dependencies::registry_names(&root.parse().unwrap()), ["b"]);
}

#[test]
fn unused_dependencies_go_red() {
    let manifest = "[dependencies]\na-b = { workspace = true }\nc = { workspace = true }\n";
    let manifest: toml::Table = manifest.parse().unwrap();
    let sources = [
        source("crates/x/src/lib.rs", "use a_b::Thing; use c_d; // c is only in a comment\n"),
        source("crates/y/src/lib.rs", "use c::Thing;\n"),
    ];
    let found = dependencies::unused("crates/x/Cargo.toml", &manifest, &sources);
    assert_eq!(found.len(), 1, "{found:?}");
    let names = ["a-b".to_owned(), "d".to_owned()];
    let manifests = [("crates/x/Cargo.toml".to_owned(), manifest)];
    assert_eq!(dependencies::untaken(&names, &manifests).len(), 1);
}

#[test]
fn a_table_of_faults_goes_red_without_a_row_or_a_test() {
    let rows: Vec<_> = faults::FAULTS.iter().map(|fault| format!("| {fault} | what |\n")).collect();
    let text = "#[test]\n#[cfg(unix)]\nfn is_there() {}\nfn is_no_test() {}\n";
    let source = |path: &str| (path == "a/b.rs").then(|| text.to_owned());
    let check = |cell: &str| faults::check("t.md", &format!("{}| {cell} |", rows.concat()), source);
    assert!(check("`a/b.rs::is_there`").is_empty());
    for red in ["`a/b.rs::is_no_test`", "`a/b.rs::gone`", "`a/c.rs::is_there`"] {
        assert_eq!(check(red).len(), 1, "{red}");
    }
    let missing = faults::check("t.md", &rows[1..].concat(), source);
    assert_eq!(missing.len(), 1, "{}", report(&missing));
}
