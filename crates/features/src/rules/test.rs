//! What a check tests, with its values in the types of its feature.

use regex::{Regex, RegexBuilder};
use thermae_formats::time::{format_timestamp_us, parse_duration_us};
use thermae_formats::{Scalar, Value, ValueType};

use crate::model::Check;

/// Largest compiled regex, and largest cache of one that runs, in bytes. Matching takes time that is linear in the
/// text whatever the regex.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Most values of a set.
const SET_MAX: usize = 10_000;

/// One test.
#[derive(Debug)]
pub(crate) enum Test {
    /// Between two bounds, both included. A NaN lies nowhere.
    Range { min: Option<Value>, max: Option<Value> },
    /// One of these, sorted by their JSON.
    Set(Vec<Value>),
    /// All of the text matches.
    Regex(Box<Regex>),
    /// At most this part is null.
    NullRate(f64),
    /// The event time is at most so old when the row is written, microseconds.
    Age(i64),
}

impl Test {
    /// The tests of a check, each with what it is called; `value_type` is that of its feature, if it has one.
    pub fn all_of(
        check: &Check,
        value_type: Option<&ValueType>,
    ) -> Result<Vec<(String, Self)>, String> {
        let mut tests = Vec::new();
        let of = check.feature.as_deref().unwrap_or("row");
        match value_type {
            Some(value_type) => feature_tests(check, of, value_type, &mut tests)?,
            None if check.min.is_some()
                || check.max.is_some()
                || !check.set.is_empty()
                || check.regex.is_some()
                || check.max_null_rate.is_some() =>
            {
                return Err(
                    "it tests values and names no feature: add feature = \"...\"".to_owned()
                );
            }
            None => {}
        }
        if let Some(text) = &check.max_age {
            if check.feature.is_some() {
                return Err("max_age tests whole rows: leave feature away".to_owned());
            }
            let age_us = parse_duration_us(text).map_err(|e| format!("max_age: {e}"))?;
            if age_us <= 0 {
                return Err("max_age is not positive".to_owned());
            }
            tests.push((format!("event time at most {text} old"), Self::Age(age_us)));
        }
        if tests.is_empty() {
            return Err(
                "it tests nothing: write min, max, set, regex, max_null_rate or max_age".to_owned()
            );
        }
        Ok(tests)
    }

    /// Why a value fails, if it does. Null rates and ages are no matter of one value.
    pub fn fails(&self, value: &Value) -> Option<String> {
        if value.is_null() {
            return None;
        }
        match self {
            Self::Range { min, max } => {
                let is_below =
                    min.as_ref().is_some_and(|min| !order(value, min).is_some_and(|o| o.is_ge()));
                let is_above =
                    max.as_ref().is_some_and(|max| !order(value, max).is_some_and(|o| o.is_le()));
                let bound = match (is_below, is_above) {
                    (false, false) => return None,
                    (true, _) => min,
                    (_, true) => max,
                };
                let bound = bound.as_ref().map_or(String::new(), shown);
                let beyond = match (is_below, is_above) {
                    (true, true) => "is not within the bounds, such as",
                    (true, false) => "is below",
                    _ => "is above",
                };
                Some(format!("{} {beyond} {bound}", shown(value)))
            }
            Self::Set(set) => {
                let is_in = set.iter().any(|one| one == value);
                (!is_in).then(|| format!("{} is not in the set", shown(value)))
            }
            Self::Regex(regex) => match value {
                Value::String(text) if regex.is_match(text) => None,
                value => Some(format!("{} does not match", shown(value))),
            },
            Self::NullRate(_) | Self::Age(_) => None,
        }
    }
}

fn feature_tests(
    check: &Check,
    of: &str,
    value_type: &ValueType,
    tests: &mut Vec<(String, Test)>,
) -> Result<(), String> {
    let read = |what: &str, json: &serde_json::Value| {
        let value = Value::from_json(value_type, json).map_err(|e| format!("{what}: {e}"))?;
        match value {
            Value::Null => Err(format!("{what} is null")),
            Value::Float32(v) if v.is_nan() => Err(format!("{what} is NaN")),
            Value::Float64(v) if v.is_nan() => Err(format!("{what} is NaN")),
            value => Ok(value),
        }
    };
    if check.min.is_some() || check.max.is_some() {
        use Scalar::{Float32, Float64, Int32, Int64, Timestamp};
        if !matches!(value_type, ValueType::Scalar(Int32 | Int64 | Float32 | Float64 | Timestamp)) {
            return Err(format!("min and max are of numbers and timestamps, not of {value_type}"));
        }
        let min = check.min.as_ref().map(|json| read("min", json)).transpose()?;
        let max = check.max.as_ref().map(|json| read("max", json)).transpose()?;
        if let (Some(min), Some(max)) = (&min, &max)
            && order(min, max).is_some_and(std::cmp::Ordering::is_gt)
        {
            return Err("min lies above max: nothing would pass".to_owned());
        }
        let name = match (&min, &max) {
            (Some(min), Some(max)) => format!("{} to {}", shown(min), shown(max)),
            (Some(min), None) => format!("at least {}", shown(min)),
            (None, Some(max)) => format!("at most {}", shown(max)),
            (None, None) => String::new(),
        };
        tests.push((format!("{of}: {name}"), Test::Range { min, max }));
    }
    if !check.set.is_empty() {
        use Scalar::{Float32, Float64};
        let is_good =
            matches!(value_type, ValueType::Scalar(scalar) if !matches!(scalar, Float32 | Float64));
        if !is_good {
            return Err(format!("a set is of scalars that are no floats, not of {value_type}"));
        }
        if check.set.len() > SET_MAX {
            return Err(format!("the set has {} values, the limit is {SET_MAX}", check.set.len()));
        }
        let set: Vec<Value> =
            check.set.iter().map(|json| read("set", json)).collect::<Result<_, _>>()?;
        tests.push((format!("{of}: one of {} values", set.len()), Test::Set(set)));
    }
    if let Some(text) = &check.regex {
        if *value_type != ValueType::Scalar(Scalar::String) {
            return Err(format!("a regex is of strings, not of {value_type}"));
        }
        let regex = RegexBuilder::new(&format!(r"\A(?:{text})\z"))
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|e| format!("regex {text:?}: {e}"))?;
        tests.push((format!("{of}: matches {text}"), Test::Regex(Box::new(regex))));
    }
    if let Some(rate) = &check.max_null_rate {
        let rate = rate.as_f64().filter(|rate| (0.0..=1.0).contains(rate));
        let rate = rate.ok_or("max_null_rate is no number from 0 to 1")?;
        tests.push((format!("{of}: null at most {rate} of the time"), Test::NullRate(rate)));
    }
    Ok(())
}

/// How two values of one type stand; none where one is a NaN.
fn order(one: &Value, two: &Value) -> Option<std::cmp::Ordering> {
    match (one, two) {
        (Value::Int32(a), Value::Int32(b)) => Some(a.cmp(b)),
        (Value::Int64(a), Value::Int64(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => {
            Some(a.cmp(b))
        }
        (Value::Float32(a), Value::Float32(b)) => a.partial_cmp(b),
        (Value::Float64(a), Value::Float64(b)) => a.partial_cmp(b),
        _ => None,
    }
}

/// A value for people, of bounded length.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Timestamp(us) => format_timestamp_us(*us),
        value => {
            let text = value.to_json().to_string();
            let mut short: String = text.chars().take(100).collect();
            if short.len() < text.len() {
                short.push_str("...");
            }
            short
        }
    }
}
