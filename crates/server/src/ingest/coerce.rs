//! From a cell of a file to a typed value, strictly: what does not fit exactly is refused with a reason.
//!
//! Nothing is guessed and nothing is rounded unasked: an integer never comes from a float, a float32
//! comes from a float64 only where both are the same number (or `narrow_floats` allows rounding), and
//! an integer is a time only where its unit was said.

use serde_json::value::RawValue;
use thermae_formats::{KeyType, KeyValue, Scalar, Value, ValueType};

use super::cell::Cell;

/// The unit of times that are given as integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serve", derive(clap::ValueEnum))]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds; those that are no whole microsecond are refused.
    Ns,
}

/// What the user allows beyond the strict rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allow {
    /// Round a float64 to the nearest float32.
    pub narrow_floats: bool,
    /// The unit of integer times.
    pub time_unit: Option<TimeUnit>,
}

/// Makes a value of the type from the cell. Null is of every type.
///
/// # Errors
/// A sentence that says what was found and why it is not of the type.
pub fn value(cell: &Cell<'_>, wanted: &ValueType, allow: Allow) -> Result<Value, String> {
    match (cell, wanted) {
        (Cell::Null, _) => Ok(Value::Null),
        (Cell::Unreadable(reason), _) => Err(reason.clone()),
        (Cell::Json(raw), _) => json_value(raw, wanted, allow),
        (cell, ValueType::Scalar(scalar)) => scalar_value(cell, *scalar, allow),
        (Cell::Untyped(text), _) => Value::parse(wanted, text).map_err(|e| e.to_string()),
        (Cell::List(cells), ValueType::List(scalar)) => {
            let mut elements = Vec::with_capacity(cells.len());
            for (index, cell) in cells.iter().enumerate() {
                match scalar_value(cell, *scalar, allow) {
                    Ok(Value::Null) => return Err(format!("element {index} is null")),
                    Ok(element) => elements.push(element),
                    Err(reason) => return Err(format!("element {index}: {reason}")),
                }
            }
            Ok(Value::List(elements))
        }
        (Cell::List(cells), ValueType::Vector { dimension }) => vector(cells, *dimension, allow),
        (Cell::Bytes(bytes), ValueType::Opaque { .. }) => Ok(Value::Opaque(bytes.to_vec())),
        (cell, wanted) => Err(unfit(cell, &wanted.to_string())),
    }
}

fn vector(cells: &[Cell<'_>], dimension: u32, allow: Allow) -> Result<Value, String> {
    if cells.len() != dimension as usize {
        return Err(format!("expected a vector of {dimension} elements, found {}", cells.len()));
    }
    let element = |(index, cell): (usize, &Cell<'_>)| match float32(cell, allow) {
        Ok(Some(v)) => Ok(v),
        Ok(None) => Err(format!("element {index} is null")),
        Err(reason) => Err(format!("element {index}: {reason}")),
    };
    cells.iter().enumerate().map(element).collect::<Result<Vec<f32>, _>>().map(Value::Vector)
}

fn scalar_value(cell: &Cell<'_>, scalar: Scalar, allow: Allow) -> Result<Value, String> {
    match (scalar, cell) {
        (_, Cell::Null) => Ok(Value::Null),
        (_, Cell::Unreadable(reason)) => Err(reason.clone()),
        (Scalar::Timestamp, cell) => time_us(cell, allow).map(Value::Timestamp),
        (_, Cell::Untyped(text)) => Value::parse_scalar(scalar, text).map_err(|e| e.to_string()),
        (Scalar::Bool, Cell::Bool(v)) => Ok(Value::Bool(*v)),
        (Scalar::Int32, cell) => {
            let v = integer(cell, "int32")?;
            i32::try_from(v).map(Value::Int32).map_err(|_| format!("{v} is out of range for int32"))
        }
        (Scalar::Int64, cell) => integer(cell, "int64").map(Value::Int64),
        (Scalar::Float32, cell) => {
            float32(cell, allow).map(|v| v.map_or(Value::Null, Value::Float32))
        }
        (Scalar::Float64, cell) => float64(cell).map(Value::Float64),
        (Scalar::String, Cell::Text(v)) => Ok(Value::String((*v).to_owned())),
        (Scalar::Bytes, Cell::Bytes(v)) => Ok(Value::Bytes(v.to_vec())),
        (Scalar::Uuid, Cell::Bytes(v)) => <[u8; 16]>::try_from(*v)
            .map(Value::Uuid)
            .map_err(|_| format!("a uuid is 16 bytes, found {}", v.len())),
        (Scalar::Uuid | Scalar::Json, Cell::Text(v)) => {
            Value::parse_scalar(scalar, v).map_err(|e| e.to_string())
        }
        (scalar, cell) => Err(unfit(cell, scalar.name())),
    }
}

/// A JSON value as written. Text keeps its bytes, numbers their digits until the type is known.
fn json_value(raw: &RawValue, wanted: &ValueType, allow: Allow) -> Result<Value, String> {
    let text = raw.get();
    if text == "null" {
        return Ok(Value::Null);
    }
    match wanted {
        ValueType::Scalar(Scalar::Json) if !text.starts_with('"') => {
            return Ok(Value::Json(text.to_owned()));
        }
        ValueType::Scalar(Scalar::Timestamp) => {
            return json_time(text, allow).map(Value::Timestamp);
        }
        // A decimal is rounded once, straight to the feature's width.
        ValueType::Scalar(Scalar::Float32 | Scalar::Float64 | Scalar::Int32 | Scalar::Int64)
            if is_number(text) =>
        {
            return Value::parse(wanted, text).map_err(|e| e.to_string());
        }
        ValueType::Vector { dimension } => {
            let cells: Vec<&RawValue> =
                serde_json::from_str(text).map_err(|_| unfit_json(text, &wanted.to_string()))?;
            let cells: Vec<Cell<'_>> = cells.into_iter().map(Cell::Json).collect();
            return vector(&cells, *dimension, allow);
        }
        _ => {}
    }
    let parsed: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("JSON that cannot be read: {e}"))?;
    match Value::from_json(wanted, &parsed).map_err(|e| e.to_string())? {
        Value::Null => Err(unfit_json(text, &wanted.to_string())),
        value => Ok(value),
    }
}

fn json_time(text: &str, allow: Allow) -> Result<i64, String> {
    if is_number(text) {
        let v = text
            .parse::<i64>()
            .map_err(|_| format!("{text} is not a whole number of a time unit"))?;
        return time_us(&Cell::Int(v), allow);
    }
    let inner: String = serde_json::from_str(text).map_err(|_| unfit_json(text, "timestamp"))?;
    time_us(&Cell::Untyped(&inner), allow)
}

/// Reads a cell as a time in microseconds, UTC. Null is an error here: callers judge it first.
///
/// # Errors
/// A sentence that says why the cell is no time.
pub fn time_us(cell: &Cell<'_>, allow: Allow) -> Result<i64, String> {
    match cell {
        Cell::TimestampUs(us) => Ok(*us),
        Cell::Json(raw) => json_time(raw.get(), allow),
        Cell::Int(v) => in_unit(*v, allow),
        Cell::UInt(v) => i64::try_from(*v)
            .map_err(|_| format!("{v} is out of range for a time"))
            .and_then(|v| in_unit(v, allow)),
        Cell::Text(text) | Cell::Untyped(text) => match text.trim().parse::<i64>() {
            Ok(v) => in_unit(v, allow),
            Err(_) => thermae_formats::time::parse_timestamp_us(text),
        },
        Cell::Unreadable(reason) => Err(reason.clone()),
        cell => Err(unfit(cell, "timestamp")),
    }
}

fn in_unit(v: i64, allow: Allow) -> Result<i64, String> {
    let far = || format!("{v} is out of range for a time");
    match allow.time_unit {
        None => Err(format!(
            "the time {v} is an integer: say its unit with --time-unit s, ms, us or ns"
        )),
        Some(TimeUnit::S) => v.checked_mul(1_000_000).ok_or_else(far),
        Some(TimeUnit::Ms) => v.checked_mul(1_000).ok_or_else(far),
        Some(TimeUnit::Us) => Ok(v),
        Some(TimeUnit::Ns) if v % 1_000 == 0 => Ok(v / 1_000),
        Some(TimeUnit::Ns) => Err(format!("{v} ns is no whole microsecond")),
    }
}

/// Makes a join key value from the cell; `name` is the join key.
///
/// # Errors
/// A sentence naming the join key.
pub fn key(cell: &Cell<'_>, name: &str, wanted: KeyType) -> Result<KeyValue, String> {
    let of = |reason: String| format!("join key {name}: {reason}");
    let parse = |text: &str| KeyValue::parse(name, wanted, text).map_err(|e| e.to_string());
    match (wanted, cell) {
        (_, Cell::Null) => Err(format!("join key {name} is null")),
        (_, Cell::Unreadable(reason)) => Err(of(reason.clone())),
        (_, Cell::Untyped(text)) => parse(text),
        (_, Cell::Json(raw)) => json_key(raw.get(), name, wanted),
        (KeyType::Int64, cell) => integer(cell, "int64").map(KeyValue::Int).map_err(of),
        (KeyType::Int32, cell) => {
            let v = integer(cell, "int32").map_err(of)?;
            let v = i32::try_from(v).map_err(|_| of(format!("{v} is out of range for int32")))?;
            Ok(KeyValue::from(v))
        }
        (KeyType::String, Cell::Text(text)) => Ok(KeyValue::String((*text).to_owned())),
        (KeyType::Bytes, Cell::Bytes(bytes)) => Ok(KeyValue::Bytes(bytes.to_vec())),
        (KeyType::Uuid, Cell::Text(text)) => parse(text),
        (KeyType::Uuid, Cell::Bytes(bytes)) => <[u8; 16]>::try_from(*bytes)
            .map(KeyValue::Uuid)
            .map_err(|_| of(format!("a uuid is 16 bytes, found {}", bytes.len()))),
        (wanted, cell) => Err(of(unfit(cell, wanted.name()))),
    }
}

fn json_key(text: &str, name: &str, wanted: KeyType) -> Result<KeyValue, String> {
    let parse = |text: &str| KeyValue::parse(name, wanted, text).map_err(|e| e.to_string());
    match wanted {
        _ if text == "null" => Err(format!("join key {name} is null")),
        KeyType::Int32 | KeyType::Int64 if is_number(text) => parse(text),
        _ if text.starts_with('"') && !matches!(wanted, KeyType::Int32 | KeyType::Int64) => {
            let inner: String =
                serde_json::from_str(text).map_err(|e| format!("join key {name}: {e}"))?;
            parse(&inner)
        }
        _ => Err(format!("join key {name}: {}", unfit_json(text, wanted.name()))),
    }
}

fn integer(cell: &Cell<'_>, wanted: &str) -> Result<i64, String> {
    match cell {
        Cell::Int(v) => Ok(*v),
        Cell::UInt(v) => i64::try_from(*v).map_err(|_| format!("{v} is out of range for {wanted}")),
        cell => Err(unfit(cell, wanted)),
    }
}

/// `None` is null.
fn float32(cell: &Cell<'_>, allow: Allow) -> Result<Option<f32>, String> {
    let exact = |v: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "judged by widening it again")]
        let narrow = v as f32;
        let same = f64::from(narrow) == v || v.is_nan();
        if same || (allow.narrow_floats && narrow.is_finite()) {
            Ok(Some(narrow))
        } else if narrow.is_finite() {
            Err(format!("the float64 {v:?} is no float32: add --narrow-floats to round it"))
        } else {
            Err(format!("the float64 {v:?} is out of range for float32"))
        }
    };
    match cell {
        Cell::Null => Ok(None),
        Cell::Float32(v) => Ok(Some(*v)),
        Cell::Float64(v) => exact(*v),
        Cell::Int(_) | Cell::UInt(_) => exact(float64(cell)?),
        Cell::Json(raw) => match json_value(raw, &ValueType::Scalar(Scalar::Float32), allow)? {
            Value::Float32(v) => Ok(Some(v)),
            _ => Ok(None),
        },
        cell => Err(unfit(cell, "float32")),
    }
}

fn float64(cell: &Cell<'_>) -> Result<f64, String> {
    const EXACT: u64 = 1 << 53;
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which is checked")]
    match cell {
        Cell::Float64(v) => Ok(*v),
        Cell::Float32(v) => Ok(f64::from(*v)),
        Cell::Int(v) if v.unsigned_abs() <= EXACT => Ok(*v as f64),
        Cell::UInt(v) if *v <= EXACT => Ok(*v as f64),
        Cell::Int(v) => Err(format!("the integer {v} is no exact float64")),
        Cell::UInt(v) => Err(format!("the integer {v} is no exact float64")),
        cell => Err(unfit(cell, "float64")),
    }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn unfit(cell: &Cell<'_>, wanted: &str) -> String {
    format!("expected {wanted}, found {}", cell.kind())
}

fn unfit_json(text: &str, wanted: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    format!("expected {wanted}, found {shown}")
}
