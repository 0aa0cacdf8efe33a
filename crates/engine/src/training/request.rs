//! What a training read is asked for.

use std::collections::BTreeMap;

/// Features of views, to be joined onto a spine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The spine's column that holds each row's time.
    pub time_column: String,
    /// What is joined, in the order of the answer's columns. Nothing: the answer is the spine, its times checked, for
    /// whoever computes features of the spine alone.
    pub joins: Vec<ViewJoin>,
    /// Only what had been learnt by each row's time: see SEMANTICS.
    pub as_of_known: bool,
    /// Columns are called `view__feature` instead of `feature`.
    pub full_names: bool,
}

/// Features of one view, under one mapping of its join keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewJoin {
    /// The view, as [`crate::Catalogue::resolve`] takes it.
    pub view: String,
    /// Its features, in order; none is all of them.
    pub features: Vec<String>,
    /// What the answer calls them, one each; none is as [`Request::full_names`] says.
    pub names: Vec<String>,
    /// What full names call the view, such as `origin_weather`; its own name if there is none.
    pub alias: Option<String>,
    /// From a join key of the view to the spine's column that holds it, where that is called otherwise.
    pub columns: BTreeMap<String, String>,
}

impl ViewJoin {
    /// All features of a view whose join keys are columns of the spine.
    pub fn new(view: impl Into<String>) -> Self {
        Self { view: view.into(), ..Self::default() }
    }

    /// The same, of these features alone.
    #[must_use]
    pub fn with_features(self, features: &[&str]) -> Self {
        Self { features: features.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// The same, with a join key in a column of another name.
    #[must_use]
    pub fn with_column(mut self, join_key: impl Into<String>, column: impl Into<String>) -> Self {
        self.columns.insert(join_key.into(), column.into());
        self
    }

    /// The same, called otherwise in full names.
    #[must_use]
    pub fn with_alias(self, alias: impl Into<String>) -> Self {
        Self { alias: Some(alias.into()), ..self }
    }
}
