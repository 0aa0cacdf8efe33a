//! What is asked for: features, and of whom.

use serde::Deserialize;
use thermae_formats::{KeyValue, Value};

use super::computed::{fitting, of_key};
use crate::error::Error;
use crate::model::{Name, Pick, RequestField};

/// Features that are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// Those of a feature service.
    Service(Name),
    /// Those that are named, in order.
    Picks(Vec<Pick>),
    /// A text that names nothing: the reason.
    Wrong(String),
}

/// A request for features: which, as of when, and what they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub(super) what: What,
    pub(super) read_time: Option<i64>,
    pub(super) full_names: bool,
}

impl Ask {
    fn new(what: What) -> Self {
        Ask { what, read_time: None, full_names: false }
    }

    /// What a client asks for, as JSON: `{"features": [pick..]}` or `{"service": "NAME"}`, with `"full_names": true` if
    /// need be. A pick is a text, or an object as definitions have it.
    ///
    /// # Errors
    /// It is no such object.
    pub fn of_json(json: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            #[serde(default)]
            features: Vec<Pick>,
            #[serde(default)]
            service: Option<Name>,
            #[serde(default)]
            full_names: bool,
        }
        let asked: Asked = serde_json::from_str(json)
            .map_err(|error| Error::Invalid(format!("what is asked for is wrong: {error}")))?;
        let what = match (asked.service, asked.features) {
            (Some(service), picks) if picks.is_empty() => What::Service(service),
            (None, picks) if !picks.is_empty() => What::Picks(picks),
            _ => {
                let what = "ask for features or for a service, and for one of them";
                return Err(Error::Invalid(what.to_owned()));
            }
        };
        Ok(Ask { full_names: asked.full_names, ..Self::new(what) })
    }

    /// The features of a service: `NAME`, `PROJECT/NAME`, either with `@VERSION`.
    pub fn service(name: &str) -> Self {
        Self::new(name.parse().map_or_else(What::Wrong, What::Service))
    }

    /// Features by name, each `[ALIAS=]VIEW[@VERSION][:f1,f2]`.
    pub fn features(picks: &[&str]) -> Self {
        let picks = picks.iter().map(|text| text.parse::<Pick>()).collect::<Result<Vec<_>, _>>();
        Self::new(picks.map_or_else(What::Wrong, What::Picks))
    }

    /// Features by picks that are made already.
    pub fn picks(picks: Vec<Pick>) -> Self {
        Self::new(What::Picks(picks))
    }

    /// The same, with TTL judged at a time, microseconds UTC, instead of now. It is not time travel.
    #[must_use]
    pub fn at(self, read_time: i64) -> Self {
        Ask { read_time: Some(read_time), ..self }
    }

    /// The same, with columns called `view__feature`.
    #[must_use]
    pub fn with_full_names(self) -> Self {
        Ask { full_names: true, ..self }
    }
}

/// Of whom features are asked for: columns of join keys, all of one length, one entity a row; and what the request
/// brings for on-demand features, a value a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntityRows {
    columns: Vec<(String, Vec<KeyValue>)>,
    request: Vec<(String, Vec<Value>)>,
    rows: Option<usize>,
}

impl EntityRows {
    /// Without columns: one row, for views without entity.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a column.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, values: Vec<KeyValue>) -> Self {
        self.columns.push((name.into(), values));
        self
    }

    /// The same, with a column of request data: what on-demand features are computed from beside stored ones.
    #[must_use]
    pub fn with_request(mut self, name: impl Into<String>, values: Vec<Value>) -> Self {
        self.request.push((name.into(), values));
        self
    }

    /// The same, of so many rows; needed only where there is no column.
    #[must_use]
    pub fn with_rows(self, rows: usize) -> Self {
        EntityRows { rows: Some(rows), ..self }
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// Columns of different lengths, or two of one name.
    pub fn rows(&self) -> Result<usize, Error> {
        let keys = self.columns.iter().map(|(name, values)| (name, values.len()));
        let request = self.request.iter().map(|(name, values)| (name, values.len()));
        let columns: Vec<(&String, usize)> = keys.chain(request).collect();
        let rows = self.rows.or_else(|| columns.first().map(|(_, rows)| *rows)).unwrap_or(1);
        for (at, (name, found)) in columns.iter().enumerate() {
            if *found != rows {
                return Err(Error::Invalid(format!(
                    "column {name:?} has {found} rows, others have {rows}"
                )));
            }
            if columns.iter().take(at).any(|(other, _)| other == name) {
                return Err(Error::Invalid(format!("column {name:?} is there twice")));
            }
        }
        Ok(rows)
    }

    pub(super) fn column(&self, name: &str) -> Option<&[KeyValue]> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        found.map(|(_, values)| values.as_slice())
    }

    /// What the request brings of a field: its own column, or the join key of that name.
    pub(super) fn request(&self, field: &RequestField) -> Result<Vec<Value>, Error> {
        let own = self.request.iter().find(|(known, _)| *known == field.name);
        match (own, self.column(&field.name)) {
            (Some((_, values)), _) => {
                let values = values.iter().cloned().enumerate();
                values.map(|(at, value)| fitting(field, at, value)).collect()
            }
            (None, Some(keys)) => {
                keys.iter().enumerate().map(|(at, key)| of_key(field, at, key)).collect()
            }
            (None, None) => Err(Error::Invalid(format!(
                "the request must bring {:?} ({}), which on-demand features are computed from; it has: {}",
                field.name,
                field.value_type,
                self.names()
            ))),
        }
    }

    pub(super) fn names(&self) -> String {
        let keys = self.columns.iter().map(|(name, _)| name.as_str());
        let names: Vec<&str> =
            keys.chain(self.request.iter().map(|(name, _)| name.as_str())).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}
