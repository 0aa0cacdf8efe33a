//! What a request needs of its entities: for whoever has them as text or JSON and must know their types.

use thermae_env::Env;
use thermae_formats::KeyType;

use super::FeatureStore;
use super::ask::Ask;
use crate::error::Error;
use crate::model::RequestField;

/// A column of join keys that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedKey {
    /// What the request calls it.
    pub name: String,
    /// Its type; of an int32 and an int64, int32.
    pub key_type: KeyType,
}

/// What a request asks for, found under the present version of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The join keys, each once, in the order in which the views need them.
    pub keys: Vec<WantedKey>,
    /// Name and version of each view that is read, in the order of the answer.
    pub views: Vec<(String, u32)>,
    /// What the request must bring for on-demand views, each once.
    pub request: Vec<RequestField>,
    /// Columns of the answer.
    pub columns: usize,
}

impl<E: Env> FeatureStore<E> {
    /// What a request needs of its entities.
    ///
    /// # Errors
    /// A name that is not there, or one column that is of two types.
    pub fn wanted(&self, ask: &Ask) -> Result<Wanted, Error> {
        let resolved = self.cache.resolve(&self.registry.published(), &ask.what, ask.full_names)?;
        let (columns, request) = (resolved.columns.len(), resolved.request.clone());
        let mut wanted = Wanted { columns, request, ..Wanted::default() };
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
