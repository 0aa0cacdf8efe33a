//! `/get-online-features`.

use serde::Deserialize;
use serde_json::value::RawValue;
use thermae_features::store::{EntityRows, OnlineColumn, ValueStatus, Wanted};

use super::super::reply::{Failure, Reply};
use super::Features;
use super::asked::Asked;
use super::columns::{Columns, read};
use super::values::{
    read as read_value, read_key, write, write_array, write_event_time, write_text,
};

/// Values in one answer, entities times features: some 50 MB of JSON.
const VALUES_MAX: usize = 1 << 20;

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
    let entities = |wanted: &Wanted| entity_rows(&request.entities, wanted, rows);
    let (wanted, columns) = answer(features, &asked, rows, entities)?;
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

/// The answer to a request whose entities are made when it is known which join keys it needs.
///
/// # Errors
/// A name that is not there, entities that do not fit, or more than is answered at a time.
pub(in super::super) fn answer(
    features: &Features,
    asked: &Asked,
    rows: usize,
    entities: impl FnOnce(&Wanted) -> Result<EntityRows, Failure>,
) -> Result<(Wanted, Vec<OnlineColumn>), Failure> {
    let store = features.store()?;
    let wanted = store.wanted(&asked.ask)?;
    check_size(features, &wanted, rows)?;
    let answer = store.get_online_features(&asked.ask, &entities(&wanted)?)?;
    Ok((wanted, asked.in_order(answer.columns)))
}

fn check_size(features: &Features, wanted: &Wanted, rows: usize) -> Result<(), Failure> {
    let limit = |what: String| Err(Failure::invalid(format!("{what}: ask in several requests")));
    let (keys, most) =
        (rows.saturating_mul(wanted.views.len()), features.limits().keys_per_request as usize);
    if keys > most {
        let views = wanted.views.len();
        return limit(format!(
            "{rows} entities in {views} views are {keys} keys, the limit is {most}"
        ));
    }
    let values = rows.saturating_mul(wanted.columns);
    if values > VALUES_MAX {
        let columns = wanted.columns;
        return limit(format!(
            "{rows} entities with {columns} features are {values} values, the limit is {VALUES_MAX}"
        ));
    }
    Ok(())
}

fn is_key(wanted: &Wanted, name: &str) -> bool {
    wanted.keys.iter().any(|key| key.name == name)
}

fn entity_rows(columns: &Columns<'_>, wanted: &Wanted, rows: usize) -> Result<EntityRows, Failure> {
    let mut entities = EntityRows::new().with_rows(rows);
    for key in &wanted.keys {
        let Some(column) = columns.column(&key.name) else {
            return Err(Failure::invalid(format!(
                "the join key {:?} is missing in entities; they have: {}",
                key.name,
                columns.names()
            )));
        };
        let read = |raw: &RawValue| read_key(raw, &key.name, key.key_type);
        entities = entities.with(key.name.clone(), values_of(&key.name, column, read)?);
    }
    // One that is missing is named by the store, with the view that it is for.
    for field in &wanted.request {
        let Some(column) = columns.column(&field.name) else { continue };
        let read = |raw: &RawValue| read_value(raw, &field.value_type);
        entities = entities.with_request(field.name.clone(), values_of(&field.name, column, read)?);
    }
    Ok(entities)
}

/// A column of the entities as values; an error says which does not read.
fn values_of<T>(
    name: &str,
    column: &[&RawValue],
    read: impl Fn(&RawValue) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    let value = |(row, raw): (usize, &&RawValue)| {
        read(raw).map_err(|why| Failure::invalid(format!("entities[{name:?}][{row}]: {why}")))
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
