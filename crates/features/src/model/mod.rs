//! What a registry keeps: objects, who answers for them, and where they stand in their life.

mod id;
mod json;
mod on_demand;
mod pick;
mod rules;
mod source;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thermae_formats::schema::check_name;
use thermae_formats::{FeatureView, JoinKey};

pub use id::{Kind, Name, ObjectId};
pub use on_demand::{OnDemandFeature, OnDemandView, RequestField};
pub use pick::{Pick, PickTextError};
pub use rules::{
    Check, MAX_CHECKS, OnFailure, QUARANTINE_FEATURES, QUARANTINE_FOR_US, Rules, quarantine_name,
    quarantine_of,
};
pub use source::{Source, SourceHint};

/// Longest description of an object, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 64 << 10;
/// Most picks of one service, on-demand view or model.
pub const MAX_PICKS: usize = 1_024;

/// Where an object stands in its life. It goes forward only, but that what is deprecated may become active
/// again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// It is loaded and tried out under its version; its bare name does not mean it.
    Staged,
    /// It is in use.
    #[default]
    Active,
    /// It is in use, and is to be left: answers that hold it say so.
    Deprecated,
    /// It is neither read nor written any more.
    Retired,
}

impl Lifecycle {
    /// As definitions call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }

    /// Whether a bare name may mean an object of it.
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Active | Self::Deprecated)
    }
}

/// Who answers for an object, and what people say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// What it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The domain it belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The team of the domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// Free labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it stands in its life.
    pub lifecycle: Lifecycle,
}

/// What features are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// What names one, in order.
    pub join_keys: Vec<JoinKey>,
}

/// A feature view and the source that feeds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The engine's definition. Owner, tags and description are those of [`About`].
    pub definition: FeatureView,
    /// The source by name, if it is an object of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it asks of its rows.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
}

/// Features that are read together, from several views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What is read, in the order of the answer.
    pub features: Vec<Pick>,
}

/// A model that is trained and served with features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Services that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Name>,
    /// Features that it reads without a service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Pick>,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An entity.
    Entity(Entity),
    /// A source.
    Source(Source),
    /// A feature view.
    View(Box<View>),
    /// An on-demand view.
    OnDemand(OnDemandView),
    /// A feature service.
    Service(Service),
    /// A model.
    Model(Model),
}

/// One object of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What names it.
    pub id: ObjectId,
    /// Who answers for it.
    pub about: About,
    /// What it is.
    pub body: Body,
}

impl Object {
    /// A feature view; owner, tags and description are those of its definition.
    pub fn of_view(definition: FeatureView, source: Option<String>, about: About) -> Self {
        let id = ObjectId::new(
            Kind::View,
            definition.project.clone(),
            definition.name.clone(),
            definition.version,
        );
        let about = About {
            description: definition.description.clone(),
            owner: definition.owner.clone(),
            tags: definition.tags.clone(),
            ..about
        };
        let rules = Rules::default();
        Object { id, about, body: Body::View(Box::new(View { definition, source, rules })) }
    }

    /// The same, of a feature view, with what it asks of its rows.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        if let Body::View(view) = &mut self.body {
            view.rules = rules;
        }
        self
    }

    /// What it asks of its rows, if it is a feature view.
    pub fn rules(&self) -> Option<&Rules> {
        match &self.body {
            Body::View(view) => Some(&view.rules),
            _ => None,
        }
    }

    /// The definition, if it is a feature view.
    pub fn as_view(&self) -> Option<&FeatureView> {
        match &self.body {
            Body::View(view) => Some(&view.definition),
            _ => None,
        }
    }

    /// The source that feeds it, if it is a feature view whose source is an object of its own.
    pub fn source(&self) -> Option<&String> {
        match &self.body {
            Body::View(view) => view.source.as_ref(),
            _ => None,
        }
    }

    /// The features that it gives out by name; none for what has none.
    pub fn feature_names(&self) -> Vec<&str> {
        match &self.body {
            Body::View(view) => {
                view.definition.features.iter().map(|feature| feature.name.as_str()).collect()
            }
            Body::OnDemand(view) => {
                view.features.iter().map(|feature| feature.name.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Checks what can be told of it alone.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn validate(&self) -> Result<(), String> {
        let bad = |e: thermae_formats::SchemaError| e.to_string();
        check_name("project", &self.id.project).map_err(bad)?;
        check_name(self.id.kind.words(), &self.id.name).map_err(bad)?;
        if self.id.version == 0 {
            return Err("version is 0: versions begin at 1".to_owned());
        }
        if !self.id.kind.has_versions() && self.id.version != 1 {
            return Err(format!("{} has no versions", self.id.kind.words()));
        }
        if self.about.description.len() > MAX_DESCRIPTION_BYTES {
            return Err(format!("the description exceeds {MAX_DESCRIPTION_BYTES} bytes"));
        }
        match &self.body {
            Body::Entity(entity) => check_entity(entity),
            Body::Source(source) => source.check(),
            Body::View(view) => view.definition.validate().map_err(bad),
            Body::OnDemand(view) => view.check(),
            Body::Service(service) => {
                if service.features.is_empty() {
                    return Err("it has no features: name at least one".to_owned());
                }
                pick::check_all(&service.features)
            }
            Body::Model(model) => {
                if model.services.is_empty() && model.features.is_empty() {
                    return Err("it reads nothing: name services or features".to_owned());
                }
                pick::check_all(&model.features)
            }
        }
    }
}

fn check_entity(entity: &Entity) -> Result<(), String> {
    let mut names = std::collections::HashSet::new();
    if entity.join_keys.is_empty() {
        return Err("it has no join keys: name at least one".to_owned());
    }
    for key in &entity.join_keys {
        check_name("join key", &key.name).map_err(|e| e.to_string())?;
        if !names.insert(&key.name) {
            return Err(format!("join key {:?} is declared twice", key.name));
        }
    }
    Ok(())
}
