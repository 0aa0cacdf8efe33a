//! `/push` and `/write-to-online-store`: rows as columns of JSON.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use thermae_engine::store::Row;
use thermae_engine::{Outcome, Refusal};
use thermae_features::model::{Body, Kind, Lifecycle, Name, Object, SourceHint};
use thermae_features::store::PushOptions;
use thermae_formats::time::parse_timestamp_us;
use thermae_formats::{FeatureView, NO_TIME, Value};

use super::super::reply::{Failure, Reply};
use super::Features;
use super::columns::{Columns, read};
use super::values;
use crate::ingest::mapping::{CREATED_TIME_NAMES, EVENT_TIME_NAMES};

/// Rows that are told of one by one when they are not written.
const TOLD_MAX: usize = 10;

#[derive(Deserialize)]
struct PushRequest<'a> {
    push_source_name: String,
    #[serde(borrow)]
    df: Columns<'a>,
    #[serde(default)]
    to: To,
}

#[derive(Deserialize)]
struct WriteRequest<'a> {
    feature_view_name: String,
    #[serde(borrow)]
    df: Columns<'a>,
}

/// Where rows are pushed. All that is served has a history here, so the first and the last are one.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum To {
    #[default]
    Online,
    Offline,
    OnlineAndOffline,
}

/// Writes rows into every view that a source feeds: all are checked before the first is written.
///
/// # Errors
/// What is wrong with the request, with column and row; or what became of rows that were not written.
pub(in super::super) fn push(features: &Features, body: &[u8]) -> Result<Reply, Failure> {
    let request: PushRequest<'_> = read(body)?;
    if request.to == To::Offline {
        return Err(Failure::invalid(
            "to \"offline\" is not possible: a row that is newer than the one served is served, and every row is \
             history; write \"online_and_offline\"",
        ));
    }
    let views = fed_by(features, &request.push_source_name)?;
    write_all(features, &views, &request.df)
}

/// Writes rows into one view.
///
/// # Errors
/// As [`push`].
pub(in super::super) fn write(features: &Features, body: &[u8]) -> Result<Reply, Failure> {
    let request: WriteRequest<'_> = read(body)?;
    let published = features.store()?.registry().published();
    let name: Name = request.feature_view_name.parse().map_err(Failure::invalid)?;
    let view = published.state.find(&[Kind::View], &name, None)?;
    write_all(features, &[Arc::clone(view)], &request.df)
}

/// The views that a source feeds; of all versions that are not retired.
fn fed_by(features: &Features, source: &str) -> Result<Vec<Arc<Object>>, Failure> {
    let none = |message: String| Failure {
        class: "PushSourceNotFoundException",
        ..Failure::invalid(message)
    };
    let published = features.store()?.registry().published();
    let name: Name = source.parse().map_err(Failure::invalid)?;
    let found = published.state.find(&[Kind::Source], &name, None);
    let found = found.map_err(|error| {
        none(format!(
            "{error}; a view whose source has no name of its own is written by /write-to-online-store"
        ))
    })?;
    let is_fed = |object: &&Arc<Object>| {
        object.id.project == found.id.project
            && object.source() == Some(&found.id.name)
            && object.about.lifecycle != Lifecycle::Retired
    };
    let views: Vec<Arc<Object>> = published.state.objects().filter(is_fed).cloned().collect();
    if views.is_empty() {
        return Err(none(format!("{} feeds no feature view", found.id)));
    }
    Ok(views)
}

fn write_all(
    features: &Features,
    views: &[Arc<Object>],
    df: &Columns<'_>,
) -> Result<Reply, Failure> {
    let rows = df.rows("df")?.filter(|rows| *rows > 0);
    let rows = rows.ok_or_else(|| Failure::invalid("df has no rows"))?;
    let most = features.limits().rows_per_request as usize;
    if rows > most {
        let what = format!("df has {rows} rows, the limit is {most}: send it in pieces");
        return Err(Failure::invalid(what));
    }
    let mut batches = Vec::with_capacity(views.len());
    for view in views {
        let Body::View(body) = &view.body else { continue };
        let id = &view.id;
        let name = format!("{}/{}@{}", id.project, id.name, id.version);
        batches.push((name, rows_of(&body.definition, df, rows)?));
    }
    let mut written = 0;
    let mut undone = Undone::default();
    for (view, rows) in &batches {
        let outcomes = features.store()?.push(view, rows, &PushOptions::default())?;
        for (row, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Outcome::Ok { .. } => written += 1,
                outcome => undone.note(view, row, outcome),
            }
        }
    }
    if undone.rows > 0 {
        return Err(undone.failure(written));
    }
    let views: Vec<&String> = batches.iter().map(|(view, _)| view).collect();
    Ok(Reply::json(json!({ "written": written, "feature_views": views }).to_string()))
}

/// Rows that were not written.
#[derive(Default)]
struct Undone {
    rows: usize,
    told: Vec<String>,
    is_passing: bool,
    is_in_doubt: bool,
}

impl Undone {
    fn note(&mut self, view: &str, row: usize, outcome: &Outcome) {
        self.rows += 1;
        let why = match outcome {
            Outcome::NotApplied(refusal) => {
                self.is_passing |= Refusal::is_passing(*refusal);
                refusal.to_string()
            }
            _ => {
                self.is_in_doubt = true;
                "it is in doubt whether it was written".to_owned()
            }
        };
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("row {row} of {view}: {why}"));
        }
    }

    /// Rows that are there already do no harm when all are sent again.
    fn failure(self, written: usize) -> Failure {
        let message = format!(
            "{written} rows were written, {} were not: {}{}",
            self.rows,
            self.told.join("; "),
            if self.rows > self.told.len() { "; and so on" } else { "" }
        );
        let status = match (self.is_in_doubt, self.is_passing) {
            (true, _) => hyper::StatusCode::INTERNAL_SERVER_ERROR,
            (false, true) => hyper::StatusCode::SERVICE_UNAVAILABLE,
            (false, false) => hyper::StatusCode::UNPROCESSABLE_ENTITY,
        };
        Failure::of(status, message)
    }
}

/// Rows of a view out of columns.
fn rows_of(view: &FeatureView, df: &Columns<'_>, rows: usize) -> Result<Vec<Row>, Failure> {
    let frame = Frame { view, df, hint: SourceHint::from_source(&view.source) };
    let keys = view.join_keys.iter().map(|key| frame.need(&key.name));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let features = view.features.iter().map(|feature| match &feature.default {
        Some(default) if frame.find(&feature.name).is_none() => Ok(Feed::Default(default)),
        _ => frame.need(&feature.name).map(Feed::Column),
    });
    let features = features.collect::<Result<Vec<_>, _>>()?;
    let (event_time, created_time) = (frame.event_time()?, frame.created_time());
    let mut made = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut key = Vec::with_capacity(keys.len());
        for (declared, column) in view.join_keys.iter().zip(&keys) {
            let read = |raw: &RawValue| values::read_key(raw, &declared.name, declared.key_type);
            key.extend(column.value(row, read)?);
        }
        let mut values = Vec::with_capacity(features.len());
        for (declared, from) in view.features.iter().zip(&features) {
            match from {
                Feed::Default(default) => values.push(Value::clone(default)),
                Feed::Column(column) => {
                    values.extend(column.value(row, |raw| values::read(raw, &declared.value_type))?)
                }
            }
        }
        let event_time = match &event_time {
            Time::Fixed(time_us) => *time_us,
            Time::Column(column) => column.value(row, values::time_us)?.unwrap_or(NO_TIME),
        };
        let known = |raw: &RawValue| match raw.get() {
            "null" => Ok(NO_TIME),
            _ => values::time_us(raw),
        };
        let created = created_time.as_ref().map(|column| column.value(row, known)).transpose()?;
        let created_time = created.flatten().unwrap_or(NO_TIME);
        made.push(Row { key, event_time, created_time, values });
    }
    Ok(made)
}

/// Where a feature's values come from.
enum Feed<'a> {
    Column(Column<'a>),
    Default(&'a Value),
}

/// Where event times come from.
enum Time<'a> {
    Column(Column<'a>),
    Fixed(i64),
}

/// One column of a request.
#[derive(Clone, Copy)]
struct Column<'a> {
    name: &'a str,
    values: &'a [&'a RawValue],
}

impl Column<'_> {
    /// Reads the value of a row; none behind the last one.
    fn value<T>(
        &self,
        row: usize,
        read: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let wrong = |why| Failure::invalid(format!("df[{:?}][{row}]: {why}", self.name));
        self.values.get(row).map(|raw| read(raw).map_err(wrong)).transpose()
    }
}

/// Columns as a view's definition calls them.
struct Frame<'a> {
    view: &'a FeatureView,
    df: &'a Columns<'a>,
    hint: SourceHint,
}

impl<'a> Frame<'a> {
    /// A column by its name in the request.
    fn column(&self, name: &str) -> Option<Column<'a>> {
        let mut columns = self.df.iter();
        columns.find(|(known, _)| *known == name).map(|(name, values)| Column { name, values })
    }

    /// The column of a join key or feature: by its own name, or by the one that its source gives it.
    fn find(&self, name: &str) -> Option<Column<'a>> {
        let renamed = self.hint.map.iter().find(|(_, there)| *there == name);
        self.column(name).or_else(|| renamed.and_then(|(column, _)| self.column(column)))
    }

    fn need(&self, name: &str) -> Result<Column<'a>, Failure> {
        self.find(name).ok_or_else(|| {
            let FeatureView { project, name: view, version, .. } = self.view;
            let names = self.df.names();
            Failure::invalid(format!(
                "the column {name:?} of {project}/{view}@{version} is missing in df; it has: {names}"
            ))
        })
    }

    fn event_time(&self) -> Result<Time<'a>, Failure> {
        let named = self.hint.event_time.iter().map(String::as_str).chain(EVENT_TIME_NAMES);
        if let Some(column) = named.clone().find_map(|name| self.column(name)) {
            return Ok(Time::Column(column));
        }
        if let Some(at) = &self.hint.at {
            return parse_timestamp_us(at).map(Time::Fixed).map_err(Failure::invalid);
        }
        let named: Vec<String> = named.map(|name| format!("{name:?}")).collect();
        Err(Failure::invalid(format!(
            "df has no event time: call its column {}; it has: {}",
            named.join(" or "),
            self.df.names()
        )))
    }

    fn created_time(&self) -> Option<Column<'a>> {
        let named = self.hint.created_time.iter().map(String::as_str).chain(CREATED_TIME_NAMES);
        named.into_iter().find_map(|name| self.column(name))
    }
}
