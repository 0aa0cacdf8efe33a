//! `/materialize` and `/materialize-incremental`: the files that sources name, loaded by the server.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use thermae_features::model::{Kind, Lifecycle, Name, Object, SourceHint};
use thermae_features::store::LoadReport;

use super::super::reply::{Failure, Reply};
use super::Features;
use super::columns::read;
use super::files::{FileRows, path_of};
use super::values::time_us;

/// Refused rows that are told of one by one.
const TOLD_MAX: usize = 10;

#[derive(Deserialize)]
struct MaterializeRequest<'a> {
    #[serde(borrow, default)]
    start_ts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    end_ts: Option<&'a RawValue>,
    #[serde(default)]
    feature_views: Option<Vec<String>>,
    #[serde(default)]
    disable_event_timestamp: bool,
    #[serde(default)]
    version: Option<String>,
}

impl MaterializeRequest<'_> {
    /// The views that are named; none where all are meant.
    fn names(self) -> Result<Option<Vec<String>>, Failure> {
        match (self.version, self.feature_views) {
            (None, names) => Ok(names),
            (Some(version), Some(names)) if names.len() == 1 => {
                Ok(Some(names.into_iter().map(|name| format!("{name}@{version}")).collect()))
            }
            (Some(_), _) => Err(Failure::invalid("a version goes with one of feature_views")),
        }
    }
}

/// A window of event time, both ends included, microseconds UTC.
type Window = (i64, i64);

/// Loads rows of a window of event time.
///
/// # Errors
/// What is wrong with the request or a file. Rows that cannot be written are no error: the others are, and the answer
/// says which and why.
pub(in super::super) fn materialize(features: &Features, body: &[u8]) -> Result<Reply, Failure> {
    let request: MaterializeRequest<'_> = read(body)?;
    let window = match (request.start_ts, request.end_ts, request.disable_event_timestamp) {
        (None, None, true) => (i64::MIN + 1, i64::MAX),
        (Some(_), _, true) | (_, Some(_), true) => {
            return Err(Failure::invalid(
                "start_ts and end_ts say nothing with disable_event_timestamp: leave them out",
            ));
        }
        (Some(start), Some(end), false) => (named("start_ts", start)?, named("end_ts", end)?),
        _ => {
            return Err(Failure::invalid(
                "start_ts and end_ts are missing; or load all rows with disable_event_timestamp",
            ));
        }
    };
    if window.0 > window.1 {
        return Err(Failure::invalid("start_ts lies behind end_ts"));
    }
    load(features, request.names()?.as_deref(), Some(window))
}

/// Loads the rows that have come since the last time. What has come is told by its place in the file: `end_ts`, with
/// which Feast keeps its mark, is only looked at to be a time.
///
/// # Errors
/// As [`materialize`].
pub(in super::super) fn materialize_incremental(
    features: &Features,
    body: &[u8],
) -> Result<Reply, Failure> {
    let request: MaterializeRequest<'_> = read(body)?;
    let Some(end) = request.end_ts else { return Err(Failure::invalid("end_ts is missing")) };
    named("end_ts", end)?;
    load(features, request.names()?.as_deref(), None)
}

fn named(name: &str, raw: &RawValue) -> Result<i64, Failure> {
    time_us(raw).map_err(|why| Failure::invalid(format!("{name}: {why}")))
}

fn load(
    features: &Features,
    names: Option<&[String]>,
    window: Option<Window>,
) -> Result<Reply, Failure> {
    let Some(source_dir) = features.source_dir() else {
        return Err(Failure::of(
            hyper::StatusCode::UNPROCESSABLE_ENTITY,
            "the server was not told where files of sources are: start it with --source-dir DIR, or load them with \
             thermae ingest",
        ));
    };
    let Ok(_loading) = features.loading.try_lock() else {
        let what = "files are being loaded already: repeat this when that is done";
        return Err(Failure::of(hyper::StatusCode::CONFLICT, what));
    };
    let store = features.store()?;
    let views = match names {
        Some(names) => by_name(features, names)?,
        None => with_files(features)?,
    };
    // All are looked at before the first is loaded.
    let mut found = Vec::with_capacity(views.len());
    for object in &views {
        let Some(view) = object.as_view() else { continue };
        found.push((object, FileRows::new(view, &path_of(view, source_dir)?, window.is_none())?));
    }
    let mut told = Vec::with_capacity(found.len());
    for (object, mut rows) in found {
        let id = &object.id;
        let name = format!("{}/{}@{}", id.project, id.name, id.version);
        let report = match window {
            Some((from_us, to_us)) => store.materialize(&name, &mut rows, from_us, to_us)?,
            None => store.materialize_incremental(&name, &mut rows)?,
        };
        told.push(report_json(&name, &report, &rows));
    }
    Ok(Reply::json(json!({ "feature_views": told }).to_string()))
}

fn by_name(features: &Features, names: &[String]) -> Result<Vec<Arc<Object>>, Failure> {
    let published = features.store()?.registry().published();
    let mut views = Vec::with_capacity(names.len());
    for name in names {
        let name: Name = name.parse().map_err(Failure::invalid)?;
        views.push(Arc::clone(published.state.find(&[Kind::View], &name, None)?));
    }
    Ok(views)
}

/// All views that serve and whose source names a file.
fn with_files(features: &Features) -> Result<Vec<Arc<Object>>, Failure> {
    let published = features.store()?.registry().published();
    let has_file = |object: &&Arc<Object>| {
        let is_serving = !matches!(object.about.lifecycle, Lifecycle::Staged | Lifecycle::Retired);
        let source = object.as_view().map(|view| SourceHint::from_source(&view.source));
        is_serving && source.is_some_and(|hint| hint.file.is_some())
    };
    Ok(published.state.objects().filter(has_file).cloned().collect())
}

fn report_json(name: &str, report: &LoadReport, rows: &FileRows<'_>) -> serde_json::Value {
    let refused = report.refused.iter().take(TOLD_MAX);
    let refused = refused.map(|(row, why)| format!("row {row}: {why}"));
    let reasons: Vec<String> = rows.reasons.iter().cloned().chain(refused).collect();
    json!({
        "name": name,
        "rows": report.rows + rows.rejected,
        "written": report.written,
        "duplicate": report.duplicate,
        "outside": report.outside,
        "rejected": rows.rejected + report.refused.len() as u64,
        "reasons": reasons,
    })
}
