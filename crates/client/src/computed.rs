//! Features by name, those that are computed when they are read among them: the server finds what a request means,
//! and computes. Stored features alone are read quicker through a plan.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use thermae_formats::row_value::decode_value;
use thermae_formats::wire::{
    CellStatus, ColumnShape, ComputeColumn, ComputeRequest, ComputeRow, ReadReply, RowStatus,
    ViewReply, WireError,
};
use thermae_formats::{Feature, KeyType, KeyValue, RowLayout, Value, ValueType};

use crate::buffer::FrameBuf;
use crate::client::{Client, is_stale};
use crate::error::Error;
use crate::plan::ReadOptions;

/// What is asked for by name: features, or a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComputedQuery {
    /// `[ALIAS=]VIEW[@VERSION][:f1,f2]` each, of feature views and on-demand views; or the long form of definitions as
    /// JSON.
    pub features: Vec<String>,
    /// Instead of features: a service's.
    pub service: Option<String>,
    /// Columns are called `view__feature`. Default off.
    pub full_names: bool,
}

impl ComputedQuery {
    fn to_json(&self) -> Result<String, Error> {
        let pick = |text: &String| match text.starts_with('{') {
            true => {
                serde_json::from_str(text).map_err(|error| Error::Usage(format!("{text}: {error}")))
            }
            false => Ok(serde_json::Value::from(text.as_str())),
        };
        let features = self.features.iter().map(pick).collect::<Result<Vec<_>, _>>()?;
        let (service, full_names) = (&self.service, self.full_names);
        Ok(json!({ "features": features, "service": service, "full_names": full_names })
            .to_string())
    }
}

/// A column of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NamedType {
    /// What it is called.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
}

/// A join key of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NamedKey {
    /// What the request calls it.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

#[derive(Debug, Deserialize)]
struct Told {
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    registry_version: u64,
    keys: Vec<NamedKey>,
    request: Vec<NamedType>,
    columns: Vec<NamedType>,
    warnings: Vec<String>,
}

/// What a query means under one version of the server's registry. Cheap to clone; once the registry has changed,
/// reads by it are [`Error::PlanChanged`]: prepare again.
#[derive(Debug, Clone)]
pub struct ComputedPlan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ask: String,
    wanted: Wanted,
    layout: RowLayout,
    shapes: Vec<ColumnShape>,
}

impl ComputedPlan {
    fn new(ask: String, mut wanted: Wanted) -> Result<Self, Error> {
        // A field that is called like a join key is that.
        let keys = &wanted.keys;
        wanted.request.retain(|field| !keys.iter().any(|key| key.name == field.name));
        let columns = wanted.keys.iter().map(|key| Feature::new(&key.name, key.key_type.scalar()));
        let fields =
            wanted.request.iter().map(|field| Feature::new(&field.name, field.value_type.clone()));
        let layout = RowLayout::new(&columns.chain(fields).collect::<Vec<_>>())?;
        let shapes = wanted.columns.iter().map(|column| ColumnShape::of(&column.value_type));
        let shapes = shapes.collect();
        Ok(Self { inner: Arc::new(Inner { ask, wanted, layout, shapes }) })
    }

    /// The join keys that a row needs, in order.
    pub fn join_keys(&self) -> &[NamedKey] {
        &self.inner.wanted.keys
    }

    /// What a row must bring beside them, for features that are computed of it, in order.
    pub fn request(&self) -> &[NamedType] {
        &self.inner.wanted.request
    }

    /// The columns of the answer, in the order asked.
    pub fn columns(&self) -> &[NamedType] {
        &self.inner.wanted.columns
    }

    /// What the reader should know.
    pub fn warnings(&self) -> &[String] {
        &self.inner.wanted.warnings
    }

    /// No rows yet.
    pub fn rows(&self) -> ComputedRows {
        ComputedRows { plan: self.clone(), bytes: Vec::new(), rows: Vec::new() }
    }
}

/// Of whom features are read, and what the request brings.
#[derive(Debug, Clone)]
pub struct ComputedRows {
    plan: ComputedPlan,
    bytes: Vec<u8>,
    /// Whether each is dense, and where it ends.
    rows: Vec<(bool, usize)>,
}

impl ComputedRows {
    /// Adds a row: a value of each join key, and of each field of the request.
    ///
    /// # Errors
    /// As many values as there are not, or one that does not fit, naming it; the rows are as before.
    pub fn push(&mut self, keys: &[KeyValue], request: &[Value]) -> Result<(), Error> {
        let plan = &self.plan;
        if keys.len() != plan.join_keys().len() {
            let (found, due) = (keys.len(), plan.join_keys().len());
            return Err(Error::Usage(format!("{found} values for {due} join keys")));
        }
        let keys = keys.iter().zip(plan.join_keys());
        let keys = keys.map(|(key, wanted)| key.to_value(&wanted.name, wanted.key_type));
        let mut values = keys.collect::<Result<Vec<Value>, _>>()?;
        let fields = request.iter().zip(plan.request());
        values.extend(fields.map(|(value, field)| value.clone().widened_to(&field.value_type)));
        if values.len() != plan.inner.layout.len() || request.len() != plan.request().len() {
            let (found, due) = (request.len(), plan.request().len());
            return Err(Error::Usage(format!("{found} values for {due} fields of the request")));
        }
        let dense = plan.inner.layout.encode(&values, &mut self.bytes)?;
        self.rows.push((dense, self.bytes.len()));
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn rows(&self) -> Vec<ComputeRow<'_>> {
        let mut start = 0;
        let row = |(dense, end): &(bool, usize)| {
            let value = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            ComputeRow { dense: *dense, value }
        };
        self.rows.iter().map(row).collect()
    }
}

impl Client {
    /// Finds what a query means.
    ///
    /// # Errors
    /// The server's refusal (a name that it does not have), a lost connection.
    pub fn prepare_computed(&self, query: &ComputedQuery) -> Result<ComputedPlan, Error> {
        let ask = query.to_json()?;
        let told = self.registry(&format!("{{\"wanted\":{ask}}}"))?;
        let told: Told = serde_json::from_str(&told).map_err(|error| {
            Error::Usage(format!("the server's answer cannot be read: {error}"))
        })?;
        ComputedPlan::new(ask, told.wanted)
    }

    /// Reads rows, and has computed what is computed of them. It has no `matrix` and no `min_offset`. Repeated once
    /// when the connection is lost.
    ///
    /// # Errors
    /// The server's refusal, [`Error::PlanChanged`] once the registry has changed, a lost connection, a timeout.
    pub fn read_computed(
        &self,
        rows: &ComputedRows,
        options: &ReadOptions,
    ) -> Result<ComputedAnswer, Error> {
        let Inner { ask, wanted, .. } = &*rows.plan.inner;
        let keys = wanted.keys.iter().map(|key| ComputeColumn {
            name: &key.name,
            value_type: ValueType::Scalar(key.key_type.scalar()),
        });
        let fields = wanted
            .request
            .iter()
            .map(|field| ComputeColumn { name: &field.name, value_type: field.value_type.clone() });
        let request = ComputeRequest {
            event_times: options.event_times,
            deadline_us: options.deadline_us,
            read_time: options.read_time,
            registry_version: wanted.registry_version,
            ask,
            columns: keys.chain(fields).collect(),
            rows: rows.rows(),
        };
        let ask = || self.ask(self.next_lane(), |out, id, max| Ok(request.encode(out, id, max)?));
        let frame = match ask() {
            Err(Error::Disconnected) => ask(),
            answer => answer,
        };
        match frame {
            Err(ref error) if is_stale(error) => Err(Error::PlanChanged),
            frame => ComputedAnswer::check(frame?, &rows.plan, rows.len()),
        }
    }
}

/// An answer to a read by name. It owns the received frame, whose buffers it hands out as they lie.
#[derive(Debug)]
pub struct ComputedAnswer {
    frame: FrameBuf,
    plan: ComputedPlan,
    read_time: i64,
}

impl ComputedAnswer {
    fn check(frame: FrameBuf, plan: &ComputedPlan, rows: usize) -> Result<Self, Error> {
        let reply = ReadReply::decode(&frame.frame())?;
        let shapes = &plan.inner.shapes;
        let fits = |(at, shape): (usize, &ColumnShape)| {
            reply.view(at).is_some_and(|view| {
                let column = view.column(0);
                view.rows() == rows
                    && view.columns() == 1
                    && column.is_some_and(|c| c.width_bytes() == shape.width_bytes as usize)
            })
        };
        if reply.view_count() != shapes.len() || !shapes.iter().enumerate().all(fits) {
            return Err(Error::PlanChanged);
        }
        let read_time = reply.read_time();
        Ok(Self { frame, plan: plan.clone(), read_time })
    }

    /// The time by which TTL was judged and expressions computed, microseconds UTC.
    pub fn read_time(&self) -> i64 {
        self.read_time
    }

    /// What was asked for.
    pub fn plan(&self) -> &ComputedPlan {
        &self.plan
    }

    /// One column of the answer, in the order asked, as the one of a view: statuses, event times, values.
    pub fn column(&self, index: usize) -> Option<ViewReply<'_>> {
        ReadReply::again(&self.frame.frame()).ok()?.view(index)
    }

    /// What became of one value.
    pub fn status(&self, row: usize, column: usize) -> CellStatus {
        self.column(column).map_or(CellStatus::NotFound, |view| view.cell(row, 0))
    }

    /// One value; null unless it is present.
    ///
    /// # Errors
    /// A position outside the answer, or bytes that do not decode as the column's type.
    pub fn value(&self, row: usize, column: usize) -> Result<Value, Error> {
        let found = self.column(column).zip(self.plan.columns().get(column));
        let Some((view, declared)) = found.filter(|(view, _)| row < view.rows()) else {
            return Err(Error::Usage(format!("no row {row}, column {column} in this answer")));
        };
        match view.column(0).and_then(|values| values.value(row)) {
            Some(bytes) if view.status(row) == RowStatus::Present => {
                decode_value(&declared.value_type, bytes).map_err(|fault| {
                    let offset_bytes = fault.offset as u64;
                    Error::Wire(WireError::Misplaced { what: fault.reason, offset_bytes })
                })
            }
            _ => Ok(Value::Null),
        }
    }
}
