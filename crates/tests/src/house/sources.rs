//! The repository's Rust files, read once: text, code without comments, and which lines are test code.

use super::mask::{is_ident, mask};
use std::path::{Path, PathBuf};

/// One Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path relative to the repository root, `/` separated.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The same length, with comments and literals blanked.
    pub code: String,
    /// Per line (0-based): inside an item under `#[cfg(test)]`, or in a test file.
    pub test_lines: Vec<bool>,
}

impl Source {
    /// Builds a source from a path and its text; `tests/` and `benches/` folders are test code.
    pub fn new(path: &str, text: &str) -> Self {
        let code = mask(text);
        let lines = text.lines().count();
        let whole = path.contains("/tests/") || path.starts_with("crates/tests/");
        let mut test_lines = vec![whole; lines];
        for (start, end) in test_items(&code) {
            let (first, last) = (line_of(&code, start), line_of(&code, end));
            for flag in test_lines.iter_mut().take(last).skip(first - 1) {
                *flag = true;
            }
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, test_lines }
    }

    /// The 1-based line of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        line_of(&self.code, offset)
    }

    /// Whether the byte offset lies in test code.
    pub fn in_test(&self, offset: usize) -> bool {
        self.test_lines.get(self.line(offset) - 1).copied().unwrap_or(false)
    }

    /// Offsets at which `word` stands in code, not as the tail of a longer identifier.
    pub fn find(&self, word: &str) -> Vec<usize> {
        let bounded = word.as_bytes().first().is_some_and(|byte| is_ident(*byte));
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|at| !bounded || *at == 0 || !is_ident(self.code.as_bytes()[at - 1]))
            .collect()
    }
}

/// The 1-based line of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Byte ranges of the items that follow `#[cfg(test)]` (also inside `all(...)`).
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for marker in ["#[cfg(test)]", "#[cfg(all(test", "#![cfg(test)]"] {
        for (at, _) in code.match_indices(marker) {
            let end = if marker.starts_with("#!") { code.len() } else { item_end(code, at) };
            items.push((at, end));
        }
    }
    items
}

/// The end of the item whose attributes start at `at`: its closing brace, or a `;` before any brace.
fn item_end(code: &str, at: usize) -> usize {
    let bytes = code.as_bytes();
    let (mut depth, mut nesting) = (0usize, 0usize);
    for (offset, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => nesting += 1,
            b')' | b']' => nesting = nesting.saturating_sub(1),
            b';' if depth == 0 && nesting == 0 => return offset,
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// The repository root, two folders above this crate.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below `root` that a commit would hold: not `.git`, not build folders, not links.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.extend(Some(path).filter(|_| {
                    !matches!(name.as_str(), ".git" | "target" | "node_modules" | "artifacts")
                })),
                // In a second work tree `.git` is a file, with a path of the machine.
                Ok(kind) if kind.is_file() && name != ".git" => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// `path` relative to `root`, with `/` between parts.
pub fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// Every Rust source of the repository; out-of-line `#[cfg(test)] mod x;` files count as test code.
pub fn load(root: &Path) -> Vec<Source> {
    let mut sources: Vec<Source> = files(root)
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some((relative(root, path), std::fs::read_to_string(path).ok()?)))
        .map(|(path, text)| Source::new(&path, &text))
        .collect();
    let test_files: Vec<String> = sources.iter().flat_map(outlined_tests).collect();
    for source in &mut sources {
        if test_files.iter().any(|prefix| is_module_file(&source.path, prefix)) {
            source.test_lines.fill(true);
        }
    }
    sources
}

/// Module paths (file path without `.rs`) that a source declares by `#[cfg(test)] mod name;`.
fn outlined_tests(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder.to_owned(),
        _ => stem.to_owned(),
    };
    let here = source.path.rsplit_once('/').map_or("", |(here, _)| here);
    test_items(&source.code)
        .into_iter()
        .filter_map(|(start, end)| {
            let item = &source.code[start..end];
            let name = item.rsplit_once("mod ")?.1.trim();
            let text = &source.text[start..end];
            if let Some((_, path)) = text.split_once("#[path = \"") {
                return Some(format!("{here}/{}", path.split_once(".rs\"")?.0));
            }
            name.bytes().all(is_ident).then(|| format!("{folder}/{name}"))
        })
        .collect()
}

fn is_module_file(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
