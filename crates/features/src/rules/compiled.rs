//! The rules of one view, compiled: what `Rules::check` accepts.

use thermae_formats::FeatureView;

use super::test::Test;
use crate::expression::Expression;
use crate::model::{OnFailure, Rules};

/// Rules in the types and places of a view's features.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) computed: Vec<Computed>,
    pub(crate) checks: Vec<CompiledCheck>,
}

/// A feature that is computed when a row is written.
#[derive(Debug)]
pub(crate) struct Computed {
    /// Its place in the view.
    pub feature: usize,
    /// Over the columns that are stored as they come.
    pub expression: Expression,
    /// Places in the view of the columns that the expression was compiled over.
    pub columns: Vec<usize>,
    /// Places in the view of what it reads.
    pub inputs: Vec<usize>,
    /// Why a row that does not fit is refused, for people.
    pub name: String,
}

/// One test.
#[derive(Debug)]
pub(crate) struct CompiledCheck {
    /// What it tests, for people; its identity over versions.
    pub name: String,
    /// The place of its feature; none for whole rows.
    pub feature: Option<usize>,
    pub test: Test,
    pub on_failure: OnFailure,
}

impl Compiled {
    /// Compiles rules.
    ///
    /// # Errors
    /// What does not fit the view, which quotes the feature that it is about.
    pub fn new(rules: &Rules, view: &FeatureView) -> Result<Self, String> {
        let place = |name: &String| view.features.iter().position(|one| one.name == *name);
        let columns = rules.columns(view);
        let places: Vec<usize> = columns.iter().filter_map(|column| place(&column.name)).collect();
        let mut computed = Vec::new();
        for (name, text) in &rules.computed {
            let at = place(name).and_then(|at| Some((at, view.features.get(at)?)));
            let (feature, declared) = at.ok_or_else(|| format!("it has no feature {name:?}"))?;
            if declared.default.is_some() {
                return Err(format!("feature {name:?} is computed and can have no default"));
            }
            let expression = Expression::compile(text, &columns, &declared.value_type)
                .map_err(|e| format!("the expression of feature {name:?}: {e}"))?;
            let inputs = expression.inputs().iter().filter_map(|at| places.get(*at).copied());
            let (inputs, name) = (inputs.collect(), format!("{name} = {text}"));
            let columns = places.clone();
            computed.push(Computed { feature, expression, columns, inputs, name });
        }
        let mut checks: Vec<CompiledCheck> = Vec::new();
        for check in &rules.checks {
            let feature = match &check.feature {
                None => None,
                Some(name) => {
                    let at = place(name).ok_or_else(|| {
                        let there: Vec<&str> =
                            view.features.iter().map(|one| one.name.as_str()).collect();
                        format!("a check is of {name:?}, there are {}", there.join(", "))
                    })?;
                    Some(at)
                }
            };
            let value_type = feature.and_then(|at| view.features.get(at));
            let value_type = value_type.map(|feature| &feature.value_type);
            let of = || match &check.feature {
                Some(name) => format!("a check of feature {name:?}"),
                None => "a check".to_owned(),
            };
            let tests = Test::all_of(check, value_type).map_err(|e| format!("{}: {e}", of()))?;
            for (name, test) in tests {
                if checks.iter().any(|known| known.name == name) {
                    return Err(format!("{}: {name:?} is there twice", of()));
                }
                let on_failure = check.on_failure.unwrap_or(rules.on_failure);
                checks.push(CompiledCheck { name, feature, test, on_failure });
            }
        }
        Ok(Compiled { computed, checks })
    }

    /// What the rules are called and what they ask, by number: checks first, then computed features.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&str, OnFailure)> {
        let checks = self.checks.iter().map(|check| (check.name.as_str(), check.on_failure));
        let computed = self.computed.iter();
        checks.chain(computed.map(|computed| (computed.name.as_str(), OnFailure::Refuse)))
    }

    /// The number of the rule that a computed feature is.
    pub(crate) fn number_of(&self, computed: usize) -> u16 {
        (self.checks.len() + computed) as u16
    }
}
