//! `unsafe` stands only in named files, and each use says why it is sound.

use super::{Violation, mask::is_ident, sources::Source};

/// The files that may hold `unsafe`, and what for.
pub const ALLOWED: &[(&str, &str)] = &[
    ("crates/env/src/uring", "submission queue entries point at buffers we own until completion"),
    ("crates/env/src/sched", "a call that no crate we have makes safe, with a struct of integers"),
    ("crates/env/src/aligned", "4 KiB aligned buffers for direct I/O"),
    ("crates/hot/src/map", "memory maps and their views"),
    ("crates/hot/src/prefetch", "a hint to the cache, which may point anywhere"),
    ("crates/hot/src/words", "atomic words of a shared map"),
];

/// `unsafe` outside `allowed` path prefixes, and uses without a `SAFETY:` (or `# Safety`) comment
/// directly above or on the line.
pub fn check(source: &Source, allowed: &[(&str, &str)]) -> Vec<Violation> {
    let permitted = allowed.iter().any(|(prefix, _)| source.path.starts_with(prefix));
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for at in source.find("unsafe") {
        let after = source.code.as_bytes().get(at + "unsafe".len());
        if after.is_some_and(|byte| is_ident(*byte)) {
            continue;
        }
        let line = source.line(at);
        if !permitted {
            let what = "unsafe outside the named files (house::unsafety::ALLOWED)";
            found.push(Violation::new(&source.path, line, what));
        }
        if !is_explained(&lines, line - 1) {
            let what = "unsafe without a `// SAFETY:` comment above it";
            found.push(Violation::new(&source.path, line, what));
        }
    }
    found
}

/// The line itself, or the run of comments and attributes above the statement, explains the block.
fn is_explained(lines: &[&str], line: usize) -> bool {
    let explains = |text: &str| text.contains("SAFETY:") || text.contains("# Safety");
    if explains(lines[line]) {
        return true;
    }
    let mut seen_comment = false;
    for text in lines[..line].iter().rev() {
        let text = text.trim_start();
        let comment = text.starts_with("//");
        if comment && explains(text) {
            return true;
        }
        seen_comment |= comment;
        // A statement may begin a few lines above the keyword: walk up until it does.
        let ended = text.ends_with(';') || text.ends_with('}') || text.ends_with('{');
        if !comment && (seen_comment || ended || text.is_empty()) {
            return false;
        }
    }
    false
}
