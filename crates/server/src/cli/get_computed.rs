//! Features that are computed when they are read, for `thermae get`.

use std::collections::BTreeMap;

use thermae_client::{Client, ComputedAnswer, ComputedPlan, ComputedQuery, ReadOptions};
use thermae_formats::wire::RowStatus;
use thermae_formats::{Feature, FeatureView, JoinKey, NO_TIME, Value};

use super::answers::{Asked, Cell};
use super::connect::failed;
use super::exit::Failure;
use super::keys::{self, EntityRow};
use super::view_ref::ViewFeaturesRef;

/// An on-demand view that was named, as the server understands it: what it is read of, and its columns.
///
/// # Errors
/// [`Failure`] of the request: there is no such view.
pub fn find(client: &Client, one: &ViewFeaturesRef) -> Result<Asked, Failure> {
    let query = ComputedQuery { features: vec![one.to_string()], ..ComputedQuery::default() };
    let plan = client.prepare_computed(&query).map_err(failed)?;
    let keys = plan.join_keys().iter().map(|key| JoinKey::new(&key.name, key.key_type)).collect();
    let columns = plan.columns().iter();
    let features = columns.map(|column| Feature::new(&column.name, column.value_type.clone()));
    let project = one.view.project.as_deref().unwrap_or_default();
    let view = FeatureView::new(project, &one.view.name, keys, features.collect());
    let features = view.features.iter().map(|feature| feature.name.clone()).collect();
    Ok(Asked { view, features, computed: Some(plan) })
}

/// What `--with` brings for the features that were asked for: a value for every row.
///
/// # Errors
/// [`Failure::Usage`] naming what is wrong, not asked for, or missing.
pub fn brought(arguments: &[String], asked: &[Asked]) -> Result<BTreeMap<String, Value>, Failure> {
    let plans: Vec<&ComputedPlan> = asked.iter().filter_map(|one| one.computed.as_ref()).collect();
    let fields = || plans.iter().flat_map(|plan| plan.request());
    let names = || {
        let names: Vec<String> =
            fields().map(|field| format!("{} ({})", field.name, field.value_type)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let mut brought = BTreeMap::new();
    for text in arguments {
        let wrong = |why: String| Failure::Usage(format!("--with {text}: {why}"));
        let (name, value) = text.split_once('=').ok_or_else(|| {
            wrong(format!("write NAME=VALUE; what was asked for takes: {}", names()))
        })?;
        let mut wanted = fields().filter(|field| field.name == name).peekable();
        if wanted.peek().is_none() {
            return Err(wrong(format!("nothing asked for takes {name:?}; it takes: {}", names())));
        }
        for field in wanted {
            let value = match value {
                "null" => Value::Null,
                value => {
                    Value::parse(&field.value_type, value).map_err(|e| wrong(e.to_string()))?
                }
            };
            brought.insert(name.to_owned(), value);
        }
    }
    match fields().find(|field| !brought.contains_key(&field.name)) {
        None => Ok(brought),
        Some(field) => Err(Failure::Usage(format!(
            "features are computed of {:?} ({}), which the request must bring: add --with {}=VALUE",
            field.name, field.value_type, field.name
        ))),
    }
}

/// Reads rows of one on-demand view.
///
/// # Errors
/// [`Failure`] of the request.
pub fn read(
    client: &Client,
    plan: &ComputedPlan,
    rows: &[EntityRow],
    with: &BTreeMap<String, Value>,
    options: &ReadOptions,
) -> Result<ComputedAnswer, Failure> {
    let mut asked = plan.rows();
    let null = Value::Null;
    let request = plan.request().iter().map(|field| with.get(&field.name).unwrap_or(&null).clone());
    let request: Vec<Value> = request.collect();
    for row in rows {
        let keys = keys::of_view(row, plan.join_keys().iter().map(|key| &key.name));
        asked.push(&keys, &request).map_err(failed)?;
    }
    client.read_computed(&asked, options).map_err(failed)
}

/// The cells of one row of an answer.
///
/// # Errors
/// The answer lacks a column.
pub fn cells(answer: &ComputedAnswer, row: usize) -> Result<Vec<Cell>, Failure> {
    let cell = |column| {
        let missing = || Failure::Failed("the server's answer lacks a column".to_owned());
        let view = answer.column(column).ok_or_else(missing)?;
        let event_time = match view.status(row) {
            RowStatus::Present | RowStatus::OutsideMaxAge => view.event_time(row),
            _ => None,
        };
        let value = answer.value(row, column).map_err(failed)?;
        let status = answer.status(row, column);
        Ok(Cell { status, value, event_time: event_time.unwrap_or(NO_TIME) })
    };
    (0..answer.plan().columns().len()).map(cell).collect()
}
