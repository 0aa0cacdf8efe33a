//! What a request needs of its entities and what it gets: for whoever has them as text or JSON and must know their
//! types.

use serde::{Deserialize, Serialize};
use thermae_env::Env;
use thermae_formats::{KeyType, KeyValue, Value, ValueType};

use super::FeatureStore;
use super::ask::{Ask, EntityRows};
use crate::error::Error;
use crate::model::RequestField;

/// A column of join keys that a request needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedKey {
    /// What the request calls it.
    pub name: String,
    /// Its type; of an int32 and an int64, int32.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

/// A column of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedColumn {
    /// What it is called.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
}

/// What a request asks for, found under the present version of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// That version.
    pub registry_version: u64,
    /// The join keys, each once, in the order in which the views need them.
    pub keys: Vec<WantedKey>,
    /// Name and version of each view that is read, in the order of the answer.
    pub views: Vec<(String, u32)>,
    /// What the request must bring for on-demand views, each once.
    pub request: Vec<RequestField>,
    /// Columns of the answer.
    pub columns: Vec<WantedColumn>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Columns as a request brings them, in whatever form: they are read when their types are known.
pub trait EntityColumns {
    /// The join keys of a column; none: it is not there.
    ///
    /// # Errors
    /// A value that is no such key, with its place.
    fn keys(&self, key: &WantedKey) -> Option<Result<Vec<KeyValue>, String>>;

    /// The values of a column that features are computed from; none: it is not there.
    ///
    /// # Errors
    /// A value that is not of the field's type, with its place.
    fn values(&self, field: &RequestField) -> Option<Result<Vec<Value>, String>>;

    /// The names of all columns, for messages.
    fn names(&self) -> Vec<String>;
}

impl<E: Env> FeatureStore<E> {
    /// What a request needs of its entities.
    ///
    /// # Errors
    /// A name that is not there, or one column that is of two types.
    pub fn wanted(&self, ask: &Ask) -> Result<Wanted, Error> {
        let resolved = self.cache.resolve(&self.registry.published(), &ask.what, ask.full_names)?;
        let columns =
            resolved.columns.iter().zip(&resolved.types).map(|((name, _), value_type)| {
                WantedColumn { name: name.clone(), value_type: value_type.clone() }
            });
        let mut wanted = Wanted {
            registry_version: resolved.published.state.version(),
            columns: columns.collect(),
            request: resolved.request.clone(),
            warnings: resolved.warnings.clone(),
            ..Wanted::default()
        };
        for joined in &resolved.joins {
            let view = &joined.view.latest.definition;
            wanted.views.push((view.name.clone(), view.version));
            for (key, name) in view.join_keys.iter().zip(&joined.keys) {
                wanted.need(name, key.key_type, &view.name)?;
            }
        }
        Ok(wanted)
    }
}

impl Wanted {
    /// The entities that columns of a request name, of so many rows. Columns that nothing asked for needs are left
    /// alone; a field that is called like a join key is that.
    ///
    /// # Errors
    /// A column that is missing, or a value that does not fit.
    pub fn entity_rows(&self, rows: usize, from: &impl EntityColumns) -> Result<EntityRows, Error> {
        let missing = |what: String| {
            let names = from.names();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::Invalid(format!("{what}; it has the columns: {there}"))
        };
        let mut entities = EntityRows::new().with_rows(rows);
        for key in &self.keys {
            let Some(values) = from.keys(key) else {
                let (name, key_type) = (&key.name, key.key_type);
                return Err(missing(format!(
                    "the join key {name:?} is missing in the request, a column of {key_type}"
                )));
            };
            entities = entities.with(key.name.clone(), values.map_err(Error::Invalid)?);
        }
        let is_key = |field: &&RequestField| self.keys.iter().any(|key| key.name == field.name);
        for field in self.request.iter().filter(|field| !is_key(field)) {
            match from.values(field) {
                Some(values) => {
                    let values = values.map_err(Error::Invalid)?;
                    entities = entities.with_request(field.name.clone(), values);
                }
                None => {
                    let (name, value_type) = (&field.name, &field.value_type);
                    return Err(missing(format!(
                        "the request must bring {name:?} ({value_type}), which on-demand features are computed from"
                    )));
                }
            }
        }
        Ok(entities)
    }

    fn need(&mut self, name: &str, key_type: KeyType, view: &str) -> Result<(), Error> {
        let Some(known) = self.keys.iter_mut().find(|key| key.name == name) else {
            self.keys.push(WantedKey { name: name.to_owned(), key_type });
            return Ok(());
        };
        match (known.key_type, key_type) {
            (one, other) if one == other => {}
            (KeyType::Int32 | KeyType::Int64, KeyType::Int32 | KeyType::Int64) => {
                known.key_type = KeyType::Int32;
            }
            (one, other) => {
                return Err(Error::Invalid(format!(
                    "the join key {name:?} of {view} is {other}, another view's is {one}: ask for them apart, or \
                     give one another name in a service"
                )));
            }
        }
        Ok(())
    }
}
