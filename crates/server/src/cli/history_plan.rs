//! What a training read joins: views and features by the names that were typed, and the spine's columns that
//! hold their join keys.

use std::collections::HashSet;

use thermae_client::{Client, HistoryQuery, HistoryView};
use thermae_formats::{KeyType, ValueType};

use super::answers::Asked;
use super::args::HistoryArgs;
use super::exit::Failure;
use super::get;
use super::view_ref::ViewRef;
use crate::serve::size::Size;

/// One view to be joined.
pub struct Joined {
    /// The view and its features.
    pub asked: Asked,
    /// How it was named.
    typed: ViewRef,
    /// What it is called, if otherwise than its name.
    pub alias: Option<String>,
    /// The column of each join key, in declared order.
    pub columns: Vec<String>,
}

/// A training read by names that are known.
pub struct Planned {
    /// The views, in the order typed.
    pub joins: Vec<Joined>,
    as_of_known: bool,
    full_names: bool,
    threads: u32,
    budget_bytes: u64,
}

/// Finds everything that was named.
///
/// # Errors
/// A view, feature or join key that is not there, a mapping that says nothing.
pub fn plan(client: &Client, args: &HistoryArgs) -> Result<Planned, Failure> {
    let refs: Vec<_> = args.views.iter().map(|view| view.asked.clone()).collect();
    let asked = get::find(client, &refs)?;
    let mut used = vec![false; args.map.len()];
    let mut joins = Vec::with_capacity(asked.len());
    for (asked, typed) in asked.into_iter().zip(&args.views) {
        let prefix = typed.alias.as_ref().unwrap_or(&asked.view.name);
        let mut columns = Vec::new();
        for key in &asked.view.join_keys {
            if asked.computed.is_some() {
                // Its inputs say what its keys are called.
                columns.push(key.name.clone());
                continue;
            }
            let own = format!("{prefix}.{}", key.name);
            // What is said of this view alone goes before what is said of all.
            let of = |name: &str| args.map.iter().position(|(_, mapped)| mapped == name);
            let found = [of(&own), of(&key.name)];
            found.iter().flatten().for_each(|at| used[*at] = true);
            let found = found.into_iter().flatten().next();
            columns.push(found.map_or(&key.name, |at| &args.map[at].0).clone());
        }
        let (alias, typed) = (typed.alias.clone(), typed.asked.view.clone());
        joins.push(Joined { asked, typed, alias, columns });
    }
    let mut names = HashSet::new();
    for ((column, name), is_used) in args.map.iter().zip(used) {
        let reason = if !names.insert(name) {
            "it is mapped twice"
        } else if !is_used {
            "no feature view that is joined has this join key"
        } else {
            continue;
        };
        return Err(Failure::Usage(format!("--map {column}={name}: {reason}")));
    }
    Ok(Planned {
        joins,
        as_of_known: args.as_of_known,
        full_names: args.full_names,
        threads: args.threads,
        budget_bytes: args.memory.map_or(0, |Size { bytes, .. }| bytes),
    })
}

impl Planned {
    /// The spine's columns that hold join keys, with the type of each view's key.
    pub fn keys(&self) -> Vec<(String, KeyType)> {
        let keys = |join: &Joined| {
            let types = join.asked.view.join_keys.iter().map(|key| key.key_type);
            join.columns.iter().cloned().zip(types).collect::<Vec<_>>()
        };
        self.joins.iter().flat_map(keys).collect()
    }

    /// The spine's columns that features are computed from, with their types.
    pub fn fields(&self) -> Vec<(String, ValueType)> {
        let plans = self.joins.iter().filter_map(|join| join.asked.computed.as_ref());
        let fields = plans.flat_map(|plan| plan.request());
        fields.map(|field| (field.name.clone(), field.value_type.clone())).collect()
    }

    /// What the server is asked.
    pub fn query(&self, time_column: &str) -> HistoryQuery {
        let view = |join: &Joined| {
            let keys = join.asked.view.join_keys.iter().zip(&join.columns);
            let renamed = keys.filter(|(key, column)| key.name != **column);
            let view = match join.asked.computed {
                Some(_) => join.typed.to_string(),
                None => format!("{}@{}", join.asked.path(), join.asked.view.version),
            };
            HistoryView {
                view,
                alias: join.alias.clone().unwrap_or_default(),
                features: join.asked.features.clone(),
                columns: renamed.map(|(key, column)| (key.name.clone(), column.clone())).collect(),
            }
        };
        HistoryQuery {
            time_column: time_column.to_owned(),
            views: self.joins.iter().map(view).collect(),
            as_of_known: self.as_of_known,
            full_names: self.full_names,
            threads: self.threads,
            budget_bytes: self.budget_bytes,
        }
    }

    /// Checks that no two columns of the answer have one name.
    ///
    /// # Errors
    /// The name, and what to do.
    pub fn check_names<'n>(&self, spine: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        let mut names: HashSet<String> = HashSet::new();
        let features = self.joins.iter().flat_map(|join| {
            let prefix = join.alias.as_ref().unwrap_or(&join.asked.view.name);
            join.asked.features.iter().map(move |feature| match self.full_names {
                true => format!("{prefix}__{feature}"),
                false => feature.clone(),
            })
        });
        for name in spine.map(str::to_owned).chain(features) {
            if let Some(name) = names.replace(name) {
                let what = match self.full_names {
                    true => "call a view otherwise: ALIAS=VIEW:f1,f2",
                    false => "add --full-names, which calls features VIEW__FEATURE",
                };
                return Err(Failure::Failed(format!(
                    "the answer would have two columns {name:?}: {what}, or rename the spine's column"
                )));
            }
        }
        Ok(())
    }
}

impl Joined {
    /// As it is shown: its name, after what it is called.
    pub fn shown(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{alias}={}", self.asked.path()),
            None => self.asked.path(),
        }
    }
}
