//! `/get-online-features`.

use serde::Deserialize;
use serde_json::value::RawValue;
use thermae_features::model::RequestField;
use thermae_features::store::{EntityColumns, OnlineColumn, ValueStatus, Wanted, WantedKey};
use thermae_formats::{KeyValue, Value};

use super::super::reply::{Failure, Reply};
use super::Features;
use super::asked::Asked;
use super::columns::{Columns, read};
use super::values::{
    read as read_value, read_key, write, write_array, write_event_time, write_text,
};

#[derive(Deserialize)]
struct OnlineRequest<'a> {
    #[serde(borrow)]
    entities: Columns<'a>,
    #[serde(default)]
    feature_service: Option<String>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    full_feature_names: bool,
    #[serde(default)]
    include_feature_view_version_metadata: bool,
}

/// Reads features of entities. Columns that are neither a join key nor request data of what is asked for are left
/// alone, as Feast does.
///
/// # Errors
/// What is wrong with the request, or why the store does not answer.
pub(in super::super) fn online(features: &Features, body: &[u8]) -> Result<Reply, Failure> {
    let request: OnlineRequest<'_> = read(body)?;
    let service = request.feature_service.as_deref();
    let full_names = request.full_feature_names;
    let asked = Asked::new(service, &request.features, full_names, features.limits())?;
    let rows = request.entities.rows("entities")?.unwrap_or(1);
    let (wanted, columns) = answer(features, &asked, rows, &request.entities)?;
    let keys: Vec<_> = request.entities.iter().filter(|(name, _)| is_key(&wanted, name)).collect();
    let mut out = Vec::with_capacity(rows * (keys.len() + columns.len()) * 48);
    out.extend_from_slice(b"{\"metadata\":{\"feature_names\":");
    let names = keys.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.chain(columns.iter().map(|column| column.name.as_str())).collect();
    write_array(&mut out, &names, |out, name| write_text(out, name));
    if request.include_feature_view_version_metadata {
        out.extend_from_slice(b",\"feature_view_metadata\":");
        write_array(&mut out, &wanted.views, |out, (name, version)| {
            let view = serde_json::json!({ "name": name, "version": version });
            out.extend_from_slice(view.to_string().as_bytes());
        });
    }
    out.extend_from_slice(b"},\"results\":[");
    for (at, (_, values)) in keys.iter().enumerate() {
        separate(&mut out, at);
        out.extend_from_slice(b"{\"values\":");
        write_array(&mut out, values, |out, raw| out.extend_from_slice(raw.get().as_bytes()));
        // A key is what was asked: it is there, and no row tells its time.
        out.extend_from_slice(b",\"statuses\":");
        write_array(&mut out, values, |out, _| out.extend_from_slice(b"\"PRESENT\""));
        out.extend_from_slice(b",\"event_timestamps\":");
        write_array(&mut out, values, |out, _| write_event_time(out, 0));
        out.push(b'}');
    }
    for (at, column) in columns.iter().enumerate() {
        separate(&mut out, keys.len() + at);
        write_column(&mut out, column);
    }
    out.extend_from_slice(b"]}");
    Ok(Reply::json(out))
}

/// The answer to a request whose entities are read when it is known which join keys and request data it needs.
///
/// # Errors
/// A name that is not there, entities that do not fit, or more than is answered at a time.
pub(in super::super) fn answer(
    features: &Features,
    asked: &Asked,
    rows: usize,
    entities: &impl EntityColumns,
) -> Result<(Wanted, Vec<OnlineColumn>), Failure> {
    let store = features.store()?;
    let wanted = store.wanted(&asked.ask)?;
    features.limits().check_read(&wanted, rows).map_err(Failure::invalid)?;
    let answer = store.get_online_features(&asked.ask, &wanted.entity_rows(rows, entities)?)?;
    Ok((wanted, asked.in_order(answer.columns)))
}

fn is_key(wanted: &Wanted, name: &str) -> bool {
    wanted.keys.iter().any(|key| key.name == name)
}

/// The columns of `entities`: join keys, and what on-demand features are computed from.
impl EntityColumns for Columns<'_> {
    fn keys(&self, key: &WantedKey) -> Option<Result<Vec<KeyValue>, String>> {
        let read = |raw: &RawValue| read_key(raw, &key.name, key.key_type);
        Some(values_of(&key.name, self.column(&key.name)?, read))
    }

    fn values(&self, field: &RequestField) -> Option<Result<Vec<Value>, String>> {
        let read = |raw: &RawValue| read_value(raw, &field.value_type);
        Some(values_of(&field.name, self.column(&field.name)?, read))
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|(name, _)| name.to_owned()).collect()
    }
}

/// A column of the entities as values; an error says which does not read.
fn values_of<T>(
    name: &str,
    column: &[&RawValue],
    read: impl Fn(&RawValue) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let value = |(row, raw): (usize, &&RawValue)| {
        read(raw).map_err(|why| format!("entities[{name:?}][{row}]: {why}"))
    };
    column.iter().enumerate().map(value).collect()
}

fn separate(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

fn write_column(out: &mut Vec<u8>, column: &OnlineColumn) {
    out.extend_from_slice(b"{\"values\":");
    write_array(out, &column.values, write);
    out.extend_from_slice(b",\"statuses\":");
    write_array(out, &column.statuses, |out, status| {
        out.extend_from_slice(match status {
            ValueStatus::Present => b"\"PRESENT\"".as_slice(),
            ValueStatus::NullValue => b"\"NULL_VALUE\"",
            ValueStatus::NotFound => b"\"NOT_FOUND\"",
            ValueStatus::OutsideMaxAge => b"\"OUTSIDE_MAX_AGE\"",
            // Feast has one word for what cannot be served.
            ValueStatus::Corrupt | ValueStatus::Unavailable => b"\"INVALID\"",
        });
    });
    out.extend_from_slice(b",\"event_timestamps\":");
    write_array(out, &column.event_times, |out, time_us| write_event_time(out, *time_us));
    out.push(b'}');
}
