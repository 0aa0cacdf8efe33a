//! What the columns of a CSV or an NDJSON hold.

use thermae_formats::{Scalar, ValueType};

use crate::ingest::cell::{Cell, Reader};
use crate::ingest::{IngestError, Source};

use super::How;

/// Integers up to this are the same as float64.
const EXACT: u64 = 1 << 53;

/// What all values of a column have been so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Bool,
    /// Whole numbers; whether each is an exact float64 too.
    Int {
        exact: bool,
    },
    Float,
    /// Arrays and objects.
    Json,
    Text,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Int { exact: a }, Self::Int { exact: b }) => Self::Int { exact: a && b },
            (Self::Float, Self::Int { exact: true }) | (Self::Int { exact: true }, Self::Float) => {
                Self::Float
            }
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }

    fn of(cell: &Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Nothing,
            Cell::Untyped(text) => number(text),
            Cell::Json(raw) => match raw.get().as_bytes().first() {
                Some(b't' | b'f') => Self::Bool,
                Some(b'[' | b'{') => Self::Json,
                Some(b'-' | b'0'..=b'9') => number(raw.get()),
                _ => Self::Text,
            },
            _ => Self::Text,
        }
    }

    fn how(self) -> How {
        let scalar = match self {
            Self::Bool => Scalar::Bool,
            Self::Int { .. } => Scalar::Int64,
            Self::Float => Scalar::Float64,
            Self::Json => Scalar::Json,
            Self::Nothing | Self::Text => return How::Text,
        };
        How::As(ValueType::Scalar(scalar))
    }
}

/// A number that is written as numbers are: `007` and `+1` are names of something.
fn number(text: &str) -> Seen {
    if let Ok(value) = text.parse::<i64>()
        && value.to_string() == text
    {
        return Seen::Int { exact: value.unsigned_abs() <= EXACT };
    }
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_plain = match digits {
        [b'0', b'0'..=b'9', ..] => false,
        [b'0'..=b'9', .., b'0'..=b'9'] => digits.iter().any(|b| matches!(b, b'.' | b'e' | b'E')),
        _ => false,
    };
    match text.parse::<f64>() {
        Ok(value) if is_plain && value.is_finite() => Seen::Float,
        _ => Seen::Text,
    }
}

/// Reads the file through: how each of these columns is to be read, and the number of rows.
pub(super) fn types(source: &Source, columns: &[usize]) -> Result<(Vec<How>, u64), IngestError> {
    let mut reader = source.open()?;
    reader.select(columns);
    let mut seen = vec![Seen::Nothing; columns.len()];
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.rows() as u64;
        for (seen, column) in seen.iter_mut().zip(columns) {
            if *seen != Seen::Text {
                let cells = (0..batch.rows()).map(|row| Seen::of(&batch.cell(*column, row)));
                *seen = cells.fold(*seen, Seen::and);
            }
        }
    }
    Ok((seen.into_iter().map(Seen::how).collect(), rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_come_back_as_they_were() {
        let int = Seen::Int { exact: true };
        for (text, seen) in [
            ("0", int),
            ("-7", int),
            ("9007199254740993", Seen::Int { exact: false }),
            ("9223372036854775808", Seen::Text),
            ("1.5", Seen::Float),
            ("-0.25e3", Seen::Float),
            ("007", Seen::Text),
            ("00.5", Seen::Text),
            ("+1", Seen::Text),
            ("1.", Seen::Text),
            ("inf", Seen::Text),
            ("NaN", Seen::Text),
            ("2013-01-01", Seen::Text),
            ("1e999", Seen::Text),
            ("", Seen::Text),
        ] {
            assert_eq!(number(text), seen, "{text:?}");
        }
        assert_eq!(int.and(Seen::Float), Seen::Float);
        assert_eq!(Seen::Int { exact: false }.and(Seen::Float), Seen::Text);
        assert_eq!(Seen::Bool.and(int), Seen::Text);
        assert_eq!(Seen::Nothing.and(Seen::Nothing).how(), How::Text);
    }
}
