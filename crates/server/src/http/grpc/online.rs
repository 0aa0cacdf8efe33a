//! `GetOnlineFeatures`.

use thermae_features::store::{EntityRows, OnlineColumn, ValueStatus, Wanted};
use thermae_formats::NO_TIME;

use super::super::feast::{Asked, Features, answer};
use super::super::reply::Failure;
use super::messages::{
    Asks, FeatureList, FeatureVector, FieldStatus, Metadata, OnlineRequest, OnlineResponse,
    RepeatedValue, Timestamp, ViewMetadata,
};
use super::values::{to_key, to_proto};

const SECOND_US: i64 = 1_000_000;

/// Reads features of entities.
///
/// # Errors
/// What is wrong with the request, or why the store does not answer.
pub(super) fn online(
    features: &Features,
    mut request: OnlineRequest,
) -> Result<OnlineResponse, Failure> {
    let (service, references) = match request.asks.take() {
        Some(Asks::FeatureService(name)) => (Some(name), Vec::new()),
        Some(Asks::Features(list)) => (None, list.val),
        None => (None, Vec::new()),
    };
    let full_names = request.full_feature_names;
    let asked = Asked::new(service.as_deref(), &references, full_names, features.limits())?;
    let entities = &request.entities;
    let rows = rows_of(entities)?;
    let (wanted, columns) =
        answer(features, &asked, rows, |wanted| entity_rows(entities, wanted, rows))?;
    let keys = wanted.keys.iter().filter_map(|key| Some((key, entities.get(&key.name)?)));
    let mut names: Vec<String> = keys.clone().map(|(key, _)| key.name.clone()).collect();
    names.extend(columns.iter().map(|column| column.name.clone()));
    let mut results: Vec<FeatureVector> = keys.map(|(_, values)| given(values)).collect();
    results.extend(columns.into_iter().map(vector));
    let views = wanted.views.into_iter().map(|(name, version)| ViewMetadata {
        name,
        version: i32::try_from(version).unwrap_or(i32::MAX),
    });
    let feature_view_metadata = match request.include_feature_view_version_metadata {
        true => views.collect(),
        false => Vec::new(),
    };
    let feature_names = Some(FeatureList { val: names });
    let metadata = Some(Metadata { feature_names, feature_view_metadata });
    Ok(OnlineResponse { metadata, results, status: false })
}

type Entities = std::collections::BTreeMap<String, RepeatedValue>;

fn rows_of(entities: &Entities) -> Result<usize, Failure> {
    let mut columns = entities.iter();
    let Some((first, values)) = columns.next() else { return Ok(1) };
    let rows = values.val.len();
    match columns.find(|(_, values)| values.val.len() != rows) {
        None => Ok(rows),
        Some((name, values)) => Err(Failure::invalid(format!(
            "entities[{first:?}] has {rows} values, entities[{name:?}] has {}: each row needs one of both",
            values.val.len()
        ))),
    }
}

fn entity_rows(entities: &Entities, wanted: &Wanted, rows: usize) -> Result<EntityRows, Failure> {
    let mut made = EntityRows::new().with_rows(rows);
    for key in &wanted.keys {
        let Some(column) = entities.get(&key.name) else {
            let what = format!("the join key {:?} is missing in entities", key.name);
            return Err(Failure::invalid(what));
        };
        let value = |(row, value)| {
            to_key(value, key.key_type)
                .map_err(|why| Failure::invalid(format!("entities[{:?}][{row}]: {why}", key.name)))
        };
        let values = column.val.iter().enumerate().map(value).collect::<Result<_, _>>()?;
        made = made.with(key.name.clone(), values);
    }
    Ok(made)
}

/// A join key is what was asked: it is there, and no row tells its time.
fn given(values: &RepeatedValue) -> FeatureVector {
    let rows = values.val.len();
    FeatureVector {
        values: values.val.clone(),
        statuses: vec![FieldStatus::Present as i32; rows],
        event_timestamps: vec![Timestamp { seconds: 0, nanos: 0 }; rows],
    }
}

fn vector(column: OnlineColumn) -> FeatureVector {
    let statuses = column.statuses.into_iter().map(|status| match status {
        ValueStatus::Present => FieldStatus::Present as i32,
        ValueStatus::NullValue => FieldStatus::NullValue as i32,
        ValueStatus::NotFound => FieldStatus::NotFound as i32,
        ValueStatus::OutsideMaxAge => FieldStatus::OutsideMaxAge as i32,
        // Feast has one word for what cannot be served.
        ValueStatus::Corrupt | ValueStatus::Unavailable => FieldStatus::Invalid as i32,
    });
    let times = column.event_times.into_iter().map(|time_us| match time_us {
        NO_TIME => Timestamp { seconds: 0, nanos: 0 },
        time_us => Timestamp {
            seconds: time_us.div_euclid(SECOND_US),
            // Below a thousand million.
            nanos: (time_us.rem_euclid(SECOND_US) * 1_000) as i32,
        },
    });
    FeatureVector {
        values: column.values.into_iter().map(to_proto).collect(),
        statuses: statuses.collect(),
        event_timestamps: times.collect(),
    }
}
