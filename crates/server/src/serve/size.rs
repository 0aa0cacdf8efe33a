//! Sizes as people write them: `8GiB`, `512MiB`, `1.5 GB`, `4096`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written as a plain number or with a unit.
///
/// `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024 and `KB`, `MB`, `GB`, `TB` powers of 1000, as
/// the standards have it; `K`, `M`, `G`, `T` alone mean the powers of 1024, because that is what
/// memory is sold in. Case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// The size in bytes.
    pub bytes: u64,
}

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: {reason}; write for example 512MiB, 8GiB or 4096")]
pub struct SizeError {
    /// The text as it was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let wrong = |reason| SizeError { text: text.to_owned(), reason };
        let trimmed = text.trim();
        let split =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim().to_ascii_lowercase();
        let scale =
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(
                || wrong("the unit is not one of B, KiB, MiB, GiB, TiB, KB, MB, GB, TB"),
            )?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 {
            return Err(wrong("it does not start with a number"));
        }
        let whole: u64 = whole.parse().map_err(|_| wrong("the number is too large"))?;
        let mut bytes =
            u128::from(whole).checked_mul(u128::from(scale)).ok_or(wrong("it is too large"))?;
        if !fraction.is_empty() {
            let parts: u64 = fraction.parse().map_err(|_| wrong("the fraction is no number"))?;
            let tenths = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
            bytes += u128::from(parts) * u128::from(scale) / tenths;
        }
        Ok(Self { bytes: u64::try_from(bytes).map_err(|_| wrong("it is too large"))? })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (name, scale) in units {
            if self.bytes >= scale && self.bytes.is_multiple_of(scale) {
                return write!(f, "{}{name}", self.bytes / scale);
            }
        }
        write!(f, "{}B", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("8GiB", 8 << 30),
            ("8 gib", 8 << 30),
            ("8G", 8 << 30),
            ("1.5GiB", 3 << 29),
            ("2KB", 2000),
            ("0.5KiB", 512),
            (" 512MiB ", 512 << 20),
        ] {
            assert_eq!(text.parse::<Size>().unwrap().bytes, bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_reason() {
        for text in ["", "GiB", "8Q", "-1", "1.2.3G", "99999999999T", "184467440737095516160"] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains("is not a size"), "{error}");
        }
    }

    #[test]
    fn a_printed_size_reads_back() {
        for bytes in [0, 1, 1000, 1024, 3 << 20, 8 << 30, (8 << 30) + 1, 5 << 40] {
            let size = Size { bytes };
            assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
    }
}
