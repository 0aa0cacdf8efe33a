//! Files of at most 600 lines, functions of at most 70.

use super::mask::is_ident;
use super::{Violation, sources::Source};

/// Most lines of one file.
pub const FILE_LINES: usize = 600;
/// Most lines of one function, from `fn` to its closing brace.
pub const FUNCTION_LINES: usize = 70;

/// Named exceptions: (path, function or "" for the file, why it may be longer).
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Files and functions that are too long and have no named exception.
pub fn check(source: &Source, exceptions: &[(&str, &str, &str)]) -> Vec<Violation> {
    let excused = |name: &str| {
        exceptions.iter().any(|(path, function, _)| *path == source.path && *function == name)
    };
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES && !excused("") {
        let what = format!("{lines} lines; a file has one job and at most {FILE_LINES}: split it");
        found.push(Violation::new(&source.path, 0, what));
    }
    for (name, at, end) in functions(&source.code) {
        let length = source.line(end) - source.line(at) + 1;
        if length > FUNCTION_LINES && !excused(&name) {
            let what = format!("fn {name} has {length} lines, at most {FUNCTION_LINES}: split it");
            found.push(Violation::new(&source.path, source.line(at), what));
        }
    }
    found
}

/// Every function with a body: name, offset of `fn`, offset of the closing brace.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let bytes = code.as_bytes();
    code.match_indices("fn ")
        .filter(|(at, _)| *at == 0 || !is_ident(bytes[at - 1]))
        .filter_map(|(at, _)| {
            let rest = code[at + 3..].trim_start();
            let length = rest.bytes().take_while(|byte| is_ident(*byte)).count();
            let name = rest.get(..length).filter(|name| !name.is_empty())?;
            Some((name.to_owned(), at, body_end(bytes, at)?))
        })
        .collect()
}

/// The closing brace of the body of the function at `at`; `None` for a declaration without one.
fn body_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut braces, mut nesting) = (0usize, 0usize);
    for (offset, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => nesting += 1,
            b')' | b']' => nesting = nesting.saturating_sub(1),
            b';' if braces == 0 && nesting == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(offset);
                }
            }
            _ => {}
        }
    }
    None
}
