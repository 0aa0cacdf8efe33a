//! Features that are computed when they are read, as they are declared. `crate::on_demand` computes them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use thermae_formats::ValueType;
use thermae_formats::schema::check_name;

use super::pick::{self, Pick};
use crate::expression::MAX_EXPRESSION_BYTES;

/// Most features, and most request fields, of one on-demand view.
const MAX_FEATURES: usize = 1_024;

/// An on-demand view: what it is computed from, and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemandView {
    /// Features of views that it is computed from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Pick>,
    /// What the request itself must bring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request: Vec<RequestField>,
    /// What it gives.
    pub features: Vec<OnDemandFeature>,
}

/// A value that comes with the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestField {
    /// Its column in the request.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
}

/// One feature that is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemandFeature {
    /// Its name, unique in the view.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// How it is computed.
    pub expression: String,
    /// What it means, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl OnDemandView {
    pub(super) fn check(&self) -> Result<(), String> {
        pick::check_all(&self.inputs)?;
        if self.inputs.is_empty() && self.request.is_empty() {
            return Err("it is computed from nothing: name inputs or request fields".to_owned());
        }
        if self.features.is_empty() {
            return Err("it gives no features: declare at least one".to_owned());
        }
        for (what, count) in [("features", self.features.len()), ("fields", self.request.len())] {
            if count > MAX_FEATURES {
                return Err(format!("it has {count} {what}, the limit is {MAX_FEATURES}"));
            }
        }
        let mut names = HashSet::new();
        let fields = self.request.iter().map(|field| (&field.name, &field.value_type));
        let features = self.features.iter().map(|one| (&one.name, &one.value_type));
        for (name, value_type) in fields.chain(features) {
            check_name("feature", name).map_err(|e| e.to_string())?;
            value_type.validate().map_err(|e| format!("{name:?}: {e}"))?;
            if !names.insert(name) {
                return Err(format!("{name:?} is declared twice"));
            }
        }
        match self.features.iter().find(|one| {
            one.expression.trim().is_empty() || one.expression.len() > MAX_EXPRESSION_BYTES
        }) {
            None => Ok(()),
            Some(one) => Err(format!(
                "feature {:?} needs an expression of 1 to {MAX_EXPRESSION_BYTES} bytes",
                one.name
            )),
        }
    }
}
