//! A store over the wire: the client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_pyarrow::{PyArrowType, Table};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use thermae_client::{Ack, Client, Config, Described, Keys, ReadOptions, ViewHandle, choose};
use thermae_features::definitions;
use thermae_features::model::Name;
use thermae_formats::NO_TIME;
use thermae_server::ingest::load::{self, Report};
use thermae_server::ingest::rejects::Rejects;
use thermae_server::ingest::writer::ClientWriter;

use crate::answer::{Answer, Held};
use crate::entities::Entities;
use crate::errors::{Fault, Result};
use crate::history;
use crate::mapped::MappedReaders;
use crate::pending::Pending;
use crate::resolve::{Asked, Resolved, Stored, Way, resolve};
use crate::rows::{ArrowRows, Layout, streams};
use crate::scan::EntityKeys;

/// A store over the wire.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct Remote {
    client: Client,
    project: Option<String>,
    mapped: Option<MappedReaders>,
    /// Views that were written, by identity, with the schema that they were written by.
    handles: Mutex<HashMap<u32, (u16, ViewHandle)>>,
}

/// What was asked for, compiled.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct RemotePlan(Resolved);

#[pymethods]
impl RemotePlan {
    /// What requests call the join keys, each once.
    #[getter]
    fn join_keys(&self) -> Vec<String> {
        self.0.join_keys()
    }

    /// What requests must bring beside them.
    #[getter]
    fn request(&self) -> Vec<String> {
        match &self.0.way {
            Way::Stored(_) => Vec::new(),
            Way::Computed(plan) => plan.request().iter().map(|field| field.name.clone()).collect(),
        }
    }

    /// What the reader should know.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings.clone()
    }
}

#[pymethods]
impl Remote {
    /// Connects. Times are seconds.
    #[new]
    #[pyo3(signature = (address, *, project, pool_size, spin, timeout_s, connect_timeout_s, mapped))]
    fn new(
        py: Python<'_>,
        address: &str,
        project: Option<String>,
        pool_size: usize,
        spin: bool,
        timeout_s: f64,
        connect_timeout_s: f64,
        mapped: bool,
    ) -> Result<Self> {
        let address = address.parse()?;
        let config = Config {
            pool_size,
            spin,
            request_timeout: seconds(timeout_s)?,
            connect_timeout: seconds(connect_timeout_s)?,
            client_name: concat!("thermae-python/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Config::default()
        };
        py.detach(|| {
            let client = Client::connect(&address, config)?;
            let mapped = match mapped {
                true => Some(MappedReaders::open(&client, project.as_deref().unwrap_or(""))?),
                false => None,
            };
            Ok(Remote { client, project, mapped, handles: Mutex::default() })
        })
    }

    /// Finds what is asked for.
    #[pyo3(signature = (features, service, full_names))]
    fn prepare(
        &self,
        py: Python<'_>,
        features: Option<Vec<String>>,
        service: Option<&str>,
        full_names: bool,
    ) -> Result<RemotePlan> {
        let asked = Asked::of(features.as_deref(), service, full_names, self.project.as_deref())?;
        py.detach(|| resolve(&self.client, &asked)).map(RemotePlan)
    }

    /// Reads what was prepared.
    fn read(
        &self,
        py: Python<'_>,
        plan: &RemotePlan,
        entities: &Bound<'_, PyDict>,
        read_time: Option<i64>,
        matrix: bool,
    ) -> PyResult<Answer> {
        let entities = Entities::of(entities)?;
        let options = options(read_time, matrix);
        let resolved = &plan.0;
        let read = || -> Result<(Held, i64)> {
            let stored = match &resolved.way {
                Way::Stored(stored) => stored,
                Way::Computed(plan) => {
                    let rows = entities.computed_rows(plan)?;
                    let answer = self.client.read_computed(&rows, &options)?;
                    let read_time = answer.read_time();
                    return Ok((Held::Computed(answer), read_time));
                }
            };
            let keys = keys(stored, &entities)?;
            if let Some(mapped) = &self.mapped {
                let answers = mapped.read(&stored.name, &stored.plan, &keys, &options)?;
                return Ok((Held::Mapped(answers), options.read_time));
            }
            let keys: Vec<&Keys> = keys.iter().collect();
            let answer = self.client.read(&stored.plan, &keys, &options)?;
            let read_time = answer.read_time();
            Ok((Held::Wire(answer), read_time))
        };
        let (held, read_time) = py.detach(read)?;
        Ok(Answer::new(held, Arc::clone(&resolved.columns), entities.rows(), read_time))
    }

    /// Sends the same read, to be awaited; `None` where features are computed: those are read by the blocking way.
    fn send_read(
        &self,
        py: Python<'_>,
        plan: &RemotePlan,
        entities: &Bound<'_, PyDict>,
        read_time: Option<i64>,
        matrix: bool,
    ) -> PyResult<Option<Pending>> {
        let Way::Stored(stored) = &plan.0.way else { return Ok(None) };
        let entities = Entities::of(entities)?;
        let options = options(read_time, matrix);
        let read = py.detach(|| -> Result<_> {
            let keys = keys(stored, &entities)?;
            let keys: Vec<&Keys> = keys.iter().collect();
            Ok(self.client.send_read(&stored.plan, &keys, &options)?)
        })?;
        Ok(Some(Pending::new(read, Arc::clone(&plan.0.columns), entities.rows())))
    }

    /// Judges every row of a table, then writes them. `producer` 0 is nobody. The outcome is JSON.
    fn push(
        &self,
        py: Python<'_>,
        view: &str,
        table: &Bound<'_, PyAny>,
        layout: Layout,
        durable: bool,
        producer: u64,
    ) -> PyResult<String> {
        let (check, write) = streams(table)?;
        let report = py.detach(|| -> Result<Report> {
            let described = self.described(view)?;
            if check.check(&described.writable(), &layout)? == 0 {
                return Ok(Report::default());
            }
            let ack = if durable { Ack::Durable } else { Ack::Logged };
            self.write(&described, write, &layout, ack, producer)
        })?;
        Ok(serde_json::to_string(&report).map_err(|e| Fault::store(e.to_string()))?)
    }

    /// Joins features onto a spine as of each row's time.
    #[pyo3(signature = (features, service, full_names, time_column, as_of_known, spine))]
    fn history(
        &self,
        py: Python<'_>,
        features: Option<Vec<String>>,
        service: Option<&str>,
        full_names: bool,
        time_column: &str,
        as_of_known: bool,
        spine: PyArrowType<RecordBatchStreamReader>,
    ) -> Result<PyArrowType<Table>> {
        let asked = Asked::of(features.as_deref(), service, full_names, self.project.as_deref())?;
        let client = &self.client;
        let table =
            py.detach(|| history::remote(client, &asked, time_column, as_of_known, spine.0));
        table.map(PyArrowType)
    }

    /// The join keys of the entities that the one view of a plan has rows of.
    fn entity_keys<'py>(&self, py: Python<'py>, plan: &RemotePlan) -> PyResult<Bound<'py, PyDict>> {
        let Way::Stored(stored) = &plan.0.way else {
            return Err(Fault::invalid("entities are those of a feature view").into());
        };
        py.detach(|| EntityKeys::remote(&self.client, &stored.plan))?.to_dict(py)
    }

    /// Applies definitions as a file holds them; the outcome is JSON.
    fn apply(&self, py: Python<'_>, name: &str, text: &str, dry_run: bool) -> Result<String> {
        py.detach(|| {
            let read = definitions::read(name, text).map_err(thermae_features::Error::from)?;
            let request = serde_json::json!({ "objects": read.objects, "dry_run": dry_run });
            Ok(self.client.apply(&request.to_string())?)
        })
    }

    /// The feature views, as JSON.
    fn describe(&self, py: Python<'_>) -> Result<String> {
        Ok(py.detach(|| self.client.describe(self.project.as_deref(), None))?)
    }
}

impl Remote {
    /// The view that a name means, by its newest schema.
    fn described(&self, view: &str) -> Result<Described> {
        let name: Name = view.parse().map_err(Fault::invalid)?;
        let project = name.project.as_deref().or(self.project.as_deref());
        let views = self.client.views(project)?;
        choose(views, project, &name.name, name.version).map_err(Fault::not_found)
    }

    fn handle(&self, described: &Described) -> Result<ViewHandle> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((schema_id, handle)) = handles.get(&described.view_id)
            && *schema_id == described.schema_id
        {
            return Ok(handle.clone());
        }
        let view = &described.definition;
        let handle = self.client.view_version(&view.project, &view.name, view.version)?;
        handles.insert(described.view_id, (handle.view().schema_id, handle.clone()));
        Ok(handle)
    }

    fn write(
        &self,
        described: &Described,
        mut rows: ArrowRows,
        layout: &Layout,
        ack: Ack,
        producer: u64,
    ) -> Result<Report> {
        let view = &described.writable();
        let mapping = rows.mapping(view, layout)?;
        let (client, handle) = (self.client.clone(), self.handle(described)?);
        let mut writer = ClientWriter::new(client, handle, ack, producer, described.checks.clone());
        let rejects = Rejects::new(None)?;
        let report = load::load(&mut rows, view, mapping, &mut writer, rejects, &mut |_| {})?;
        if report.rejected == 0 {
            return Ok(report);
        }
        let reasons: Vec<String> =
            report.reasons.iter().map(|r| format!("{} ({} rows)", r.example, r.rows)).collect();
        Err(Fault::not_applied(
            format!(
                "{} of {} rows were refused, the others are written: {}",
                report.rejected,
                report.rows,
                reasons.join("; ")
            ),
            Vec::new(),
        ))
    }
}

fn keys(stored: &Stored, entities: &Entities) -> Result<Vec<Keys>> {
    let views = stored.keys.iter().enumerate();
    views.map(|(view, names)| entities.keys(&stored.plan, view, names)).collect()
}

fn options(read_time: Option<i64>, matrix: bool) -> ReadOptions {
    ReadOptions {
        matrix,
        event_times: !matrix,
        read_time: read_time.unwrap_or(NO_TIME),
        ..ReadOptions::default()
    }
}

fn seconds(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| Fault::invalid(format!("a timeout of {seconds} s: {error}")))
}
