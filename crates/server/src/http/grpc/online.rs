//! `GetOnlineFeatures`.

use thermae_features::model::RequestField;
use thermae_features::store::{EntityColumns, OnlineColumn, ValueStatus, WantedKey};
use thermae_formats::{KeyValue, NO_TIME, Value as Ours};

use super::super::feast::{Asked, Features, answer};
use super::super::reply::Failure;
use super::messages::{
    Asks, FeatureList, FeatureVector, FieldStatus, Metadata, OnlineRequest, OnlineResponse,
    RepeatedValue, Timestamp, Value, ViewMetadata,
};
use super::values::{to_key, to_proto, to_value};

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
    let brought = Brought { entities: request.entities, context: request.request_context };
    let (wanted, columns) = answer(features, &asked, brought.rows()?, &brought)?;
    let keys = wanted.keys.iter().filter_map(|key| Some((key, brought.entities.get(&key.name)?)));
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

/// Join keys, and what on-demand features are computed from: Feast sends that apart, or among the entities.
struct Brought {
    entities: Repeated,
    context: Repeated,
}

type Repeated = std::collections::BTreeMap<String, RepeatedValue>;

impl Brought {
    fn all(&self) -> impl Iterator<Item = (&'static str, &String, &RepeatedValue)> {
        let entities = self.entities.iter().map(|(name, values)| ("entities", name, values));
        let context = self.context.iter().map(|(name, values)| ("request_context", name, values));
        entities.chain(context)
    }

    /// How many rows there are; one without columns.
    fn rows(&self) -> Result<usize, Failure> {
        let mut columns = self.all();
        let Some((from, first, values)) = columns.next() else { return Ok(1) };
        let rows = values.val.len();
        match columns.find(|(_, _, values)| values.val.len() != rows) {
            None => Ok(rows),
            Some((place, name, values)) => Err(Failure::invalid(format!(
                "{from}[{first:?}] has {rows} values, {place}[{name:?}] has {}: each row needs one of both",
                values.val.len()
            ))),
        }
    }

    fn column<T>(
        &self,
        name: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Result<Vec<T>, String>> {
        let (from, _, column) = self.all().find(|(_, known, _)| *known == name)?;
        let value =
            |(row, value)| read(value).map_err(|why| format!("{from}[{name:?}][{row}]: {why}"));
        Some(column.val.iter().enumerate().map(value).collect())
    }
}

impl EntityColumns for Brought {
    fn keys(&self, key: &WantedKey) -> Option<Result<Vec<KeyValue>, String>> {
        self.column(&key.name, |value| to_key(value, key.key_type))
    }

    fn values(&self, field: &RequestField) -> Option<Result<Vec<Ours>, String>> {
        self.column(&field.name, |value| to_value(value, &field.value_type))
    }

    fn names(&self) -> Vec<String> {
        self.all().map(|(_, name, _)| name.clone()).collect()
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::messages::Val;
    use super::*;

    fn brought(entities: &[(&str, Vec<Val>)], context: &[(&str, Vec<Val>)]) -> Brought {
        let columns = |columns: &[(&str, Vec<Val>)]| {
            let values = |values: &[Val]| {
                values.iter().map(|val| Value { val: Some(val.clone()) }).collect()
            };
            let column = |(name, val): &(&str, Vec<Val>)| {
                ((*name).to_owned(), RepeatedValue { val: values(val) })
            };
            columns.iter().map(column).collect()
        };
        Brought { entities: columns(entities), context: columns(context) }
    }

    #[test]
    fn request_data_comes_apart_or_among_the_entities_and_what_is_wrong_is_named() {
        let field = |name: &str| RequestField {
            name: name.to_owned(),
            value_type: "float64".parse().unwrap(),
        };
        let km = |values: [f64; 2]| values.map(Val::Double).to_vec();
        let uid = || ("uid", vec![Val::Int64(7), Val::Int64(8)]);
        let apart = brought(&[uid()], &[("km", km([1.0, 2.0]))]);
        assert_eq!(apart.rows(), Ok(2));
        assert_eq!(apart.names(), ["uid", "km"]);
        let floats = Ok(vec![Ours::Float64(1.0), Ours::Float64(2.0)]);
        assert_eq!(apart.values(&field("km")), Some(floats.clone()));
        let among = brought(&[uid(), ("km", km([1.0, 2.0]))], &[]);
        assert_eq!(among.values(&field("km")), Some(floats));
        assert_eq!(among.values(&field("people")), None);
        let wrong = brought(&[uid()], &[("km", vec![Val::Double(1.0), Val::String("far".into())])]);
        let told = wrong.values(&field("km")).unwrap().unwrap_err();
        assert!(told.starts_with("request_context[\"km\"][1]: expected float64"), "{told}");
        let uneven = brought(&[uid()], &[("km", vec![Val::Double(1.0)])]).rows().unwrap_err();
        let told = "entities[\"uid\"] has 2 values, request_context[\"km\"] has 1";
        assert!(uneven.message.contains(told), "{uneven:?}");
    }
}
