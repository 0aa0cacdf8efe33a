//! Golden files as text: bytes that must never change within a format version.
#![allow(clippy::unwrap_used)]

/// Hex of `bytes`, 32 a line; lines of zeroes are left out, the length ends it.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(32).enumerate().filter(|(_, c)| c.iter().any(|&b| b != 0)) {
        let hex: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{:08x} {hex}\n", line * 32);
    }
    text + &format!("length {}\n", bytes.len())
}

/// The bytes of a [`dump`].
pub(crate) fn undump(text: &str) -> Vec<u8> {
    let (lines, len) = text.trim_end().rsplit_once("length ").unwrap();
    let mut bytes = vec![0; len.parse().unwrap()];
    for line in lines.lines() {
        let (at, hex) = line.split_once(' ').unwrap();
        let at = usize::from_str_radix(at, 16).unwrap();
        for pair in 0..hex.len() / 2 {
            bytes[at + pair] = u8::from_str_radix(&hex[2 * pair..2 * pair + 2], 16).unwrap();
        }
    }
    bytes
}

/// Asserts that `bytes` are those of the golden file `name`.
pub(crate) fn check(name: &str, bytes: &[u8]) {
    let path = format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("THERMAE_BLESS").is_some() {
        std::fs::write(&path, dump(bytes)).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        dump(bytes),
        golden,
        "{path} (THERMAE_BLESS=1 rewrites it: only with a new version)"
    );
    assert_eq!(undump(&golden), bytes);
}
