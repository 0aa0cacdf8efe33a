//! Floats, bytes, UUIDs and truth values as text; each form reads back bit for bit.

use std::fmt::Write as _;

/// Reads `true` or `false` in any case, `1` or `0`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    let text = text.trim();
    if text == "1" || text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text == "0" || text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err("expected true, false, 1 or 0".to_owned())
    }
}

/// The bits in `NaN(0x...)`, if the text has that form.
fn nan_bits(text: &str) -> Option<Result<u64, String>> {
    let hex = text.strip_prefix("NaN(0x")?.strip_suffix(')')?;
    let digits_only = hex.bytes().all(|b| b.is_ascii_hexdigit());
    Some(match u64::from_str_radix(hex, 16) {
        Ok(bits) if digits_only => Ok(bits),
        _ => Err("a NaN's bits are hex digits, as in NaN(0x7fc00001)".to_owned()),
    })
}

/// Reads a float32 from text: decimal, `NaN`, `inf`, `-inf` or `NaN(0xBITS)`.
///
/// A decimal too large for a float32 is refused, not turned into infinity.
pub fn parse_float32(text: &str) -> Result<f32, String> {
    if let Some(bits) = nan_bits(text) {
        let value = u32::try_from(bits?).ok().map(f32::from_bits).filter(|v| v.is_nan());
        return value.ok_or_else(|| "not the bits of a float32 NaN".to_owned());
    }
    let value: f32 = text.parse().map_err(|e: std::num::ParseFloatError| e.to_string())?;
    if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err("out of range of a float32".to_owned());
    }
    Ok(value)
}

/// Reads a float64 from text, like [`parse_float32`].
pub fn parse_float64(text: &str) -> Result<f64, String> {
    if let Some(bits) = nan_bits(text) {
        let value = bits.map(f64::from_bits)?;
        return if value.is_nan() { Ok(value) } else { Err("not the bits of a NaN".to_owned()) };
    }
    let value: f64 = text.parse().map_err(|e: std::num::ParseFloatError| e.to_string())?;
    if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err("out of range of a float64".to_owned());
    }
    Ok(value)
}

/// Writes a float32 in its shortest form; a NaN other than the plain one by its bits.
pub fn format_float32(value: f32) -> String {
    match value {
        v if v.to_bits() == f32::NAN.to_bits() => "NaN".to_owned(),
        v if v.is_nan() => format!("NaN(0x{:08x})", v.to_bits()),
        v => format!("{v:?}"),
    }
}

/// Writes a float64 in its shortest form; a NaN other than the plain one by its bits.
pub fn format_float64(value: f64) -> String {
    match value {
        v if v.to_bits() == f64::NAN.to_bits() => "NaN".to_owned(),
        v if v.is_nan() => format!("NaN(0x{:016x})", v.to_bits()),
        v => format!("{v:?}"),
    }
}

/// Reads `0x` and an even number of hex digits.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let fault = || "bytes are written as 0x and pairs of hex digits".to_owned();
    let digits = text.trim().strip_prefix("0x").ok_or_else(fault)?.as_bytes();
    if digits.len() % 2 != 0 {
        return Err(fault());
    }
    let pair = |p: &[u8]| Some(hex_digit(p[0])? << 4 | hex_digit(p[1])?);
    digits.chunks_exact(2).map(|p| pair(p).ok_or_else(fault)).collect()
}

/// Writes `0x` and two hex digits for each byte.
pub fn format_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads 32 hex digits, bare or as `8-4-4-4-12`.
pub fn parse_uuid(text: &str) -> Result<[u8; 16], String> {
    let fault = || "a UUID is 32 hex digits, bare or as 8-4-4-4-12".to_owned();
    let bytes = text.as_bytes();
    let dashed = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|&i| bytes[i] == b'-');
    if !dashed && bytes.len() != 32 {
        return Err(fault());
    }
    let mut uuid = [0_u8; 16];
    let mut count = 0;
    for (i, byte) in bytes.iter().enumerate() {
        if dashed && matches!(i, 8 | 13 | 18 | 23) {
            continue;
        }
        uuid[count / 2] = uuid[count / 2] << 4 | hex_digit(*byte).ok_or_else(fault)?;
        count += 1;
    }
    Ok(uuid)
}

/// Writes a UUID as `8-4-4-4-12` hex digits.
pub fn format_uuid(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}
