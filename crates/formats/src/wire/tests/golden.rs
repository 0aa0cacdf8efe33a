//! Bytes that must never change within a protocol version.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::samples;
use super::*;

fn path(file: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    folder.join(format!("wire-{file}.txt"))
}

fn text(file: &str) -> String {
    let mut text = format!("# Frames of docs/protocol.md, version 1: {file}. Name, then bytes.\n");
    for (_, name, frame) in samples::all().iter().filter(|sample| sample.0 == file) {
        write!(text, "\n{name}\n").unwrap();
        for line in frame.chunks(32) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{}", hex.join(" ")).unwrap();
        }
    }
    text
}

#[test]
fn frames_are_the_golden_bytes() {
    let mut files: Vec<&str> = samples::all().iter().map(|sample| sample.0).collect();
    files.dedup();
    for file in files {
        let now = text(file);
        // A deliberate change of format: THERMAE_BLESS=1 writes the files anew, for review.
        if std::env::var_os("THERMAE_BLESS").is_some() {
            std::fs::write(path(file), &now).unwrap();
        }
        let golden = std::fs::read_to_string(path(file)).expect("the golden file is there");
        assert_eq!(golden, now, "the bytes of {file} have changed");
    }
}

#[test]
fn every_kind_has_a_golden_frame() {
    let codes: Vec<u8> = samples::all().iter().map(|sample| sample.2[4]).collect();
    for code in 0..=255 {
        assert_eq!(Kind::from_code(code).is_ok(), codes.contains(&code), "kind {code}");
    }
}
