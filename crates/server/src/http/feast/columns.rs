//! Columns of JSON values, as requests bring entities and rows.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::reply::Failure;

/// Columns in the order in which they came; values are read when their type is known.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    columns: Vec<(String, Vec<&'a RawValue>)>,
}

impl<'a> Columns<'a> {
    /// A column.
    pub fn column(&self, name: &str) -> Option<&[&'a RawValue]> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        found.map(|(_, values)| values.as_slice())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[&'a RawValue])> {
        self.columns.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Their names, for messages.
    pub fn names(&self) -> String {
        let names: Vec<&str> =
            self.columns.iter().map(|(name, _)| name.as_str()).take(40).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// How many rows there are; none without columns. `what` holds them, for messages.
    ///
    /// # Errors
    /// Columns of different lengths.
    pub fn rows(&self, what: &str) -> Result<Option<usize>, Failure> {
        let Some((first, rest)) = self.columns.split_first() else { return Ok(None) };
        match rest.iter().find(|(_, values)| values.len() != first.1.len()) {
            None => Ok(Some(first.1.len())),
            Some((name, values)) => Err(Failure::invalid(format!(
                "{what}[{:?}] has {} values, {what}[{name:?}] has {}: each row needs one of both",
                first.0,
                first.1.len(),
                values.len()
            ))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Columns<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Columns<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of columns, each an array of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut columns: Vec<(String, Vec<&'de RawValue>)> = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
                    if columns.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("column {name:?} is there twice")));
                    }
                    let values = serde_json::from_str(raw.get()).map_err(|_| {
                        A::Error::custom(format!("column {name:?} is no array of values"))
                    })?;
                    columns.push((name, values));
                }
                Ok(Columns { columns })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Reads the body of a request.
///
/// # Errors
/// It is no JSON, or not what is expected: with the place in it.
pub(super) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Failure> {
    // What is derived would take an array of the fields, too.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Failure::invalid("the body is an array: an object is expected here"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = format!("the body is not what is expected here: {error}");
        match error.classify() {
            serde_json::error::Category::Data => Failure::invalid(what),
            _ => Failure::of(hyper::StatusCode::BAD_REQUEST, what),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn columns_keep_order_and_text_and_what_is_none_is_named() {
        let columns: Columns<'_> = read(br#"{"b": [1.50, null], "a": ["x", [1]]}"#).unwrap();
        assert_eq!((columns.rows("df").unwrap(), columns.names().as_str()), (Some(2), "b, a"));
        let texts: Vec<&str> = columns.column("b").unwrap().iter().map(|raw| raw.get()).collect();
        assert_eq!(texts, ["1.50", "null"]);
        for (body, status, what) in [
            (r#"{"a": [1], "a": [2]}"#, 422, "column \"a\" is there twice"),
            (r#"{"a": 1}"#, 422, "column \"a\" is no array"),
            (r#" [1]"#, 422, "an object is expected"),
            (r#"1"#, 422, "an object of columns"),
            (r#"{"a": [1}"#, 400, "line 1"),
            (r#"{"a": [NaN]}"#, 400, "line 1"),
            ("", 400, "EOF"),
        ] {
            let failure = read::<Columns<'_>>(body.as_bytes()).unwrap_err();
            assert_eq!(failure.status.as_u16(), status, "{body}: {failure:?}");
            assert!(failure.message.contains(what), "{body}: {failure:?}");
        }
        let uneven: Columns<'_> = read(br#"{"a": [1, 2], "b": [1, 2], "c": [1]}"#).unwrap();
        let failure = uneven.rows("df").unwrap_err();
        assert!(failure.message.contains("df[\"a\"] has 2 values, df[\"c\"] has 1"), "{failure:?}");
    }
}
