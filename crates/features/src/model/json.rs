//! Objects as JSON: in the registry's database and on the wire. Strict: an unknown field is an error.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{About, Body, Kind, Object, ObjectId, View};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: Kind,
    project: String,
    name: String,
    #[serde(default = "first")]
    version: u32,
    #[serde(default)]
    about: About,
    body: Value,
}

fn first() -> u32 {
    1
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = match &self.body {
            Body::Entity(body) => serde_json::to_value(body),
            Body::Source(body) => serde_json::to_value(body),
            Body::View(body) => serde_json::to_value(body),
            Body::OnDemand(body) => serde_json::to_value(body),
            Body::Service(body) => serde_json::to_value(body),
            Body::Model(body) => serde_json::to_value(body),
        };
        let ObjectId { project, kind, name, version } = self.id.clone();
        let (about, body) = (self.about.clone(), body.map_err(S::Error::custom)?);
        Raw { kind, project, name, version, about, body }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { kind, project, name, version, about, body } = Raw::deserialize(deserializer)?;
        let id = ObjectId { project, kind, name, version };
        let bad = |e: serde_json::Error| D::Error::custom(format!("{id}: {e}"));
        let body = match kind {
            Kind::Entity => Body::Entity(serde_json::from_value(body).map_err(bad)?),
            Kind::Source => Body::Source(serde_json::from_value(body).map_err(bad)?),
            Kind::OnDemand => Body::OnDemand(serde_json::from_value(body).map_err(bad)?),
            Kind::Service => Body::Service(serde_json::from_value(body).map_err(bad)?),
            Kind::Model => Body::Model(serde_json::from_value(body).map_err(bad)?),
            Kind::View => {
                let View { definition, source, rules } =
                    serde_json::from_value(body).map_err(bad)?;
                let object = Object::of_view(definition, source, about).with_rules(rules);
                if object.id != id {
                    let problem = format!("{id} has the definition of {}", object.id);
                    return Err(D::Error::custom(problem));
                }
                return Ok(object);
            }
        };
        Ok(Object { id, about, body })
    }
}
