//! Training reads: Arrow in, the same rows with features out.

use std::collections::HashSet;

use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_pyarrow::Table;
use arrow_schema::{ArrowError, Field, Schema};
use thermae_client::{Client, Error as ClientError, HistoryQuery, HistoryView};
use thermae_engine::training::{MemorySpine, Progress};
use thermae_features::FeatureStore;
use thermae_features::model::{Body, Kind, Pick, RequestField};
use thermae_features::store::{Ask, HistoricalOptions};

use crate::errors::{Fault, Result};
use crate::request_columns::RequestColumns;
use crate::resolve::{Asked, state};

/// Joins features onto a spine at the server. The answer has the spine's columns, then the features'.
///
/// # Errors
/// A name that is not there, a spine that does not fit, the server's refusal.
pub fn remote(
    client: &Client,
    asked: &Asked,
    time_column: &str,
    as_of_known: bool,
    spine: RecordBatchStreamReader,
) -> Result<Table> {
    let state = state(client)?;
    let (mut picks, home, _) = asked.picks(&state)?;
    let mut fields: Vec<RequestField> = Vec::new();
    for pick in &mut picks {
        let object = state.find(&[Kind::View, Kind::OnDemand], &pick.view, home.as_deref())?;
        pick.view.project = Some(object.id.project.clone());
        if let Body::OnDemand(view) = &object.body {
            fields.extend_from_slice(&view.request);
        }
    }
    let query = HistoryQuery {
        time_column: time_column.to_owned(),
        views: picks.iter().enumerate().map(|(at, pick)| history_view(at, pick)).collect(),
        as_of_known,
        full_names: true,
        ..HistoryQuery::default()
    };
    let mut columns = RequestColumns::new(&spine.schema(), &fields);
    let schema = columns.schema();
    let mut writer = StreamWriter::try_new(client.history(&query)?, &schema).map_err(arrow)?;
    for batch in spine {
        writer.write(&columns.take(&batch.map_err(arrow)?)?).map_err(arrow)?;
    }
    let answer = writer.into_inner().map_err(arrow)?.join()?;
    let reader = StreamReader::try_new(answer, None).map_err(arrow)?;
    let named = renamed(&reader.schema(), schema.fields().len(), &picks, asked.full_names)?;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.map_err(arrow)?;
        let columns = batch.columns().to_vec();
        batches.push(RecordBatch::try_new(named.clone(), columns).map_err(arrow)?);
    }
    Table::try_new(batches, named).map_err(arrow)
}

/// The same by an embedded store.
///
/// # Errors
/// As [`remote`].
pub fn embedded(
    store: &FeatureStore,
    ask: &Ask,
    time_column: &str,
    as_of_known: bool,
    spine: RecordBatchStreamReader,
) -> Result<Table> {
    let mut columns = RequestColumns::new(&spine.schema(), &store.wanted(ask)?.request);
    let schema = columns.schema();
    let batches = spine.map(|batch| columns.take(&batch.map_err(arrow)?));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    let spine = MemorySpine::new(schema, batches).map_err(arrow)?;
    let time_column = time_column.to_owned();
    let options = HistoricalOptions { time_column, as_of_known, ..HistoricalOptions::default() };
    let progress = Progress::default();
    let answer = store.get_historical_features(ask, &options, &spine, &progress)?;
    let schema = answer.rows.schema();
    let batches = answer.rows.collect::<std::result::Result<Vec<_>, _>>()?;
    Table::try_new(batches, schema).map_err(arrow)
}

/// A view under an alias of its place: whatever it is called, its columns are found again.
fn history_view(at: usize, pick: &Pick) -> HistoryView {
    HistoryView {
        view: pick.view.to_string(),
        alias: alias(at),
        features: pick.features.clone(),
        columns: pick.join_keys.iter().map(|(key, at)| (key.clone(), at.clone())).collect(),
    }
}

fn alias(at: usize) -> String {
    format!("pick{at}")
}

/// The answer's columns as the request calls them.
fn renamed(
    answer: &Schema,
    spine_columns: usize,
    picks: &[Pick],
    full_names: bool,
) -> Result<arrow_schema::SchemaRef> {
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(answer.fields().len());
    for (at, field) in answer.fields().iter().enumerate() {
        let name = match at < spine_columns {
            true => field.name().clone(),
            false => column_name(field, picks, full_names)?,
        };
        if !seen.insert(name.clone()) {
            return Err(Fault::invalid(format!(
                "the answer would have two columns {name:?}: ask for full names, give a view an alias, or rename \
                 the spine's column"
            )));
        }
        fields.push(field.as_ref().clone().with_name(name));
    }
    Ok(Schema::new(fields).into())
}

fn column_name(field: &Field, picks: &[Pick], full_names: bool) -> Result<String> {
    let parts = field.name().split_once("__");
    let found = parts.and_then(|(prefix, feature)| {
        let at = (0..picks.len()).find(|at| alias(*at) == prefix)?;
        Some((picks.get(at)?, feature))
    });
    let (pick, feature) = found.ok_or_else(|| {
        Fault::store(format!("the answer has a column {:?} that was not asked for", field.name()))
    })?;
    Ok(pick.column(feature, full_names))
}

fn arrow(error: ArrowError) -> Fault {
    let ArrowError::IoError(message, source) = error else {
        return Fault::invalid(error.to_string());
    };
    match source.into_inner().and_then(|inner| inner.downcast::<ClientError>().ok()) {
        Some(error) => (*error).into(),
        None => Fault::store(message),
    }
}
