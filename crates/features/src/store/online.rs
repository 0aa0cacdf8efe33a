//! Online reads: the newest features of many entities.

use thermae_engine::store::{Answer, Status};
use thermae_env::Env;
use thermae_formats::{KeyValue, NO_TIME, Value, ValueType};

use super::FeatureStore;
use super::ask::{Ask, EntityRows};
use super::computed::compute;
use super::resolve::{Joined, Origin, Resolved};
use crate::error::Error;

/// How one value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueStatus {
    /// It is served.
    Present,
    /// The row is served, and this value is null in it.
    NullValue,
    /// There is no such row.
    NotFound,
    /// The row is older than the view's TTL: the value is null, the event time is told.
    OutsideMaxAge,
    /// The row is damaged wherever it lies.
    Corrupt,
    /// The row lies in the archive, which does not answer at present: ask again.
    Unavailable,
}

/// One feature of all entities, in the order asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnlineColumn {
    /// What it is called.
    pub name: String,
    /// One value an entity.
    pub values: Vec<Value>,
    /// How each stands.
    pub statuses: Vec<ValueStatus>,
    /// Event time of the row that each comes from, or `NO_TIME`, as for what is computed.
    pub event_times: Vec<i64>,
}

/// The answer to an online read.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineAnswer {
    /// The version of the registry that all of it was made under.
    pub registry_version: u64,
    /// The time by which TTL was judged and expressions computed, microseconds UTC.
    pub read_time: i64,
    /// The columns, in the order asked.
    pub columns: Vec<OnlineColumn>,
    /// Their types.
    pub types: Vec<ValueType>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl<E: Env> FeatureStore<E> {
    /// Reads the newest features of many entities, as of now. The whole answer is made under one version of
    /// the registry.
    ///
    /// # Errors
    /// A name that is not there, a join key that the entities lack or that does not fit.
    pub fn get_online_features(
        &self,
        ask: &Ask,
        entities: &EntityRows,
    ) -> Result<OnlineAnswer, Error> {
        let rows = entities.rows()?;
        loop {
            let published = self.registry.published();
            let resolved = self.cache.resolve(&published, &ask.what, ask.full_names)?;
            let read_time = ask.read_time.unwrap_or_else(|| self.env.now_us());
            let request = resolved.request.iter().map(|field| entities.request(field));
            let request = request.collect::<Result<Vec<_>, _>>()?;
            let mut read = Vec::with_capacity(resolved.joins.len());
            for joined in &resolved.joins {
                let keys = keys_of(joined, entities, rows)?;
                let answers = self.handle.get(&joined.plan, &keys, read_time)?;
                read.push(columns_of(joined, answers));
            }
            let columns = answer_columns(&resolved, read, &request, rows, read_time);
            // A row of a schema that came meanwhile would not have been known.
            let is_present = self.registry.published().state.version();
            if is_present == published.state.version() {
                return Ok(answer(&resolved, columns, read_time));
            }
        }
    }
}

fn answer(resolved: &Resolved, columns: Vec<OnlineColumn>, read_time: i64) -> OnlineAnswer {
    OnlineAnswer {
        registry_version: resolved.published.state.version(),
        read_time,
        columns,
        types: resolved.types.clone(),
        warnings: resolved.warnings.clone(),
    }
}

/// The columns that were asked for, of what was read, by join.
fn answer_columns(
    resolved: &Resolved,
    mut read: Vec<Vec<OnlineColumn>>,
    request: &[Vec<Value>],
    rows: usize,
    read_time: i64,
) -> Vec<OnlineColumn> {
    // What is computed first: then the columns are given away.
    let computed: Vec<Option<OnlineColumn>> = resolved
        .columns
        .iter()
        .map(|(_, origin)| match origin {
            Origin::Stored { .. } => None,
            Origin::Computed { view, feature } => {
                computed_column(resolved, (*view, *feature), &read, request, rows, read_time)
            }
        })
        .collect();
    let columns = resolved.columns.iter().zip(computed).filter_map(|((name, origin), computed)| {
        let column = match origin {
            Origin::Computed { .. } => computed?,
            // Each is asked for once.
            Origin::Stored { join, feature } => {
                std::mem::take(read.get_mut(*join)?.get_mut(*feature)?)
            }
        };
        Some(OnlineColumn { name: name.clone(), ..column })
    });
    columns.collect()
}

/// A feature that is computed: null, and for the same cause, where an input cannot be read.
fn computed_column(
    resolved: &Resolved,
    (view, feature): (usize, usize),
    read: &[Vec<OnlineColumn>],
    request: &[Vec<Value>],
    rows: usize,
    read_time: i64,
) -> Option<OnlineColumn> {
    let view = resolved.computed.get(view)?;
    let expression = view.expressions.get(feature)?;
    let column = |(join, feature): (usize, usize)| read.get(join).and_then(|all| all.get(feature));
    let mut values = compute(
        view,
        expression,
        rows,
        |place| column(place).map_or(&[], |column| &column.values),
        |place| request.get(place).map_or(&[], Vec::as_slice),
        |_| read_time,
    );
    let inputs: Vec<&OnlineColumn> =
        expression.inputs().iter().filter_map(|input| column(*view.inputs.get(*input)?)).collect();
    let statuses = values.iter_mut().enumerate().map(|(row, value)| {
        let mut causes = inputs.iter().filter_map(|input| input.statuses.get(row).copied());
        let unread =
            causes.find(|cause| matches!(cause, ValueStatus::Corrupt | ValueStatus::Unavailable));
        match unread {
            Some(cause) => {
                *value = Value::Null;
                cause
            }
            None if value.is_null() => ValueStatus::NullValue,
            None => ValueStatus::Present,
        }
    });
    let statuses = statuses.collect();
    Some(OnlineColumn { name: String::new(), values, statuses, event_times: vec![NO_TIME; rows] })
}

fn keys_of(
    joined: &Joined,
    entities: &EntityRows,
    rows: usize,
) -> Result<Vec<Vec<KeyValue>>, Error> {
    let mut columns = Vec::with_capacity(joined.keys.len());
    for name in &joined.keys {
        columns.push(entities.column(name).ok_or_else(|| {
            Error::Invalid(format!(
                "{} is read by the join key {name:?}, which the entities lack; they have: {}",
                joined.view.qualified_name(),
                entities.names()
            ))
        })?);
    }
    let row = |at: usize| columns.iter().filter_map(|column| column.get(at).cloned()).collect();
    Ok((0..rows).map(row).collect())
}

fn columns_of(joined: &Joined, answers: Vec<Answer>) -> Vec<OnlineColumn> {
    let rows = answers.len();
    let mut columns: Vec<OnlineColumn> = joined
        .features
        .iter()
        .map(|name| OnlineColumn {
            name: name.clone(),
            values: Vec::with_capacity(rows),
            statuses: Vec::with_capacity(rows),
            event_times: Vec::with_capacity(rows),
        })
        .collect();
    for answer in answers {
        let event_time = match answer.status {
            Status::Present | Status::OutsideMaxAge => answer.event_time,
            Status::NotFound | Status::Corrupt | Status::Unavailable => NO_TIME,
        };
        for (column, value) in columns.iter_mut().zip(answer.values) {
            column.statuses.push(match answer.status {
                Status::Present if value.is_null() => ValueStatus::NullValue,
                Status::Present => ValueStatus::Present,
                Status::NotFound => ValueStatus::NotFound,
                Status::OutsideMaxAge => ValueStatus::OutsideMaxAge,
                Status::Corrupt => ValueStatus::Corrupt,
                Status::Unavailable => ValueStatus::Unavailable,
            });
            column.values.push(value);
            column.event_times.push(event_time);
        }
    }
    columns
}
