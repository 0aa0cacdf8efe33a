//! On-demand views, compiled against the types that their inputs have in one version of the registry.

use crate::expression::{Column, Expression};
use crate::model::{Body, OnDemandView, Pick};
use crate::state::State;

/// An on-demand view whose expressions fit.
pub(crate) struct OnDemand {
    /// What each column of the expressions is; the request's fields follow.
    pub inputs: Vec<Input>,
    /// One a feature, in their order.
    pub expressions: Vec<Expression>,
}

/// A stored feature that expressions read.
pub(crate) struct Input {
    /// The place of its pick among the view's inputs.
    pub pick: usize,
    /// Its name in its view.
    pub feature: String,
}

/// Compiles the on-demand view of a project.
///
/// # Errors
/// An input that is not there, two of one name, or an expression that does not fit; with its place.
pub(crate) fn compile(
    state: &State,
    view: &OnDemandView,
    project: &str,
) -> Result<OnDemand, String> {
    let (mut inputs, mut columns): (Vec<Input>, Vec<Column>) = (Vec::new(), Vec::new());
    for (at, pick) in view.inputs.iter().enumerate() {
        for (feature, column) in stored(state, pick, project)? {
            inputs.push(Input { pick: at, feature });
            columns.push(column);
        }
    }
    let request = view.request.iter();
    columns.extend(request.map(|field| Column::new(&field.name, field.value_type.clone())));
    let mut names = std::collections::HashSet::new();
    if let Some(twice) = columns.iter().find(|column| !names.insert(&column.name)) {
        return Err(format!(
            "two of its inputs are called {:?}: give one another name (rename)",
            twice.name
        ));
    }
    let compile = |feature: &crate::model::OnDemandFeature| {
        Expression::compile(&feature.expression, &columns, &feature.value_type)
            .map_err(|e| format!("the expression of feature {:?}: {e}", feature.name))
    };
    let expressions = view.features.iter().map(compile).collect::<Result<_, _>>()?;
    Ok(OnDemand { inputs, expressions })
}

/// The features that an input picks, each as the column that expressions name.
fn stored(state: &State, pick: &Pick, project: &str) -> Result<Vec<(String, Column)>, String> {
    let found = state.pick(pick, Some(project)).map_err(|e| format!("it reads {pick}: {e}"))?;
    let Body::View(view) = &found.object.body else {
        return Err(format!(
            "it is computed from {}, which is computed itself: name what is stored",
            found.object.id
        ));
    };
    let column = |name: &str| {
        let feature = view.definition.feature(name)?;
        let column = Column::new(pick.column(name, false), feature.value_type.clone());
        Some((name.to_owned(), column))
    };
    Ok(found.features.into_iter().filter_map(column).collect())
}
