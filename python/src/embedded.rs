//! A store in this process: the feature store over a directory.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_pyarrow::{PyArrowType, Table};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use thermae_engine::{Ack, Options};
use thermae_features::FeatureStore;
use thermae_features::definitions;
use thermae_features::model::{Kind, Name};
use thermae_features::registry::ApplyOptions;
use thermae_features::store::{Ask, Wanted};
use thermae_formats::FeatureView;

use crate::answer::{Answer, Columns, Held};
use crate::entities::Entities;
use crate::errors::{Fault, Result};
use crate::history;
use crate::loads::{TableSource, loaded, push};
use crate::resolve::{Asked, What};
use crate::rows::{Layout, streams};
use crate::scan::EntityKeys;

/// Largest answer, in bytes.
const BYTES_MAX: u32 = 1 << 30;

/// A store in this process.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct Embedded {
    store: RwLock<Option<FeatureStore>>,
    project: Option<String>,
}

/// What was asked for, found.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct EmbeddedPlan {
    asked: Asked,
    found: Mutex<Found>,
}

/// What names mean in one version of the registry.
#[derive(Clone)]
struct Found {
    wanted: Arc<Wanted>,
    columns: Arc<Columns>,
}

impl Found {
    fn find(store: &FeatureStore, asked: &Asked) -> Result<Self> {
        let wanted = store.wanted(&ask(asked))?;
        let columns = wanted.columns.iter();
        let columns = columns.map(|column| (column.name.clone(), column.value_type.clone()));
        let columns = Arc::new(Columns::apart(columns));
        Ok(Found { wanted: Arc::new(wanted), columns })
    }
}

impl EmbeddedPlan {
    fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[pymethods]
impl EmbeddedPlan {
    /// What requests call the join keys, each once.
    #[getter]
    fn join_keys(&self) -> Vec<String> {
        self.found().wanted.keys.iter().map(|key| key.name.clone()).collect()
    }

    /// What requests must bring beside them.
    #[getter]
    fn request(&self) -> Vec<String> {
        let wanted = self.found().wanted;
        let is_key = |name: &String| wanted.keys.iter().any(|key| key.name == *name);
        let fields = wanted.request.iter().map(|field| field.name.clone());
        fields.filter(|name| !is_key(name)).collect()
    }

    /// What the reader should know.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.found().wanted.warnings.clone()
    }
}

#[pymethods]
impl Embedded {
    /// Opens a directory, creating it when it is not there. `memory_bytes` and `cores`: 0 is the default.
    #[new]
    #[pyo3(signature = (dir, *, project, memory_bytes, cores))]
    fn new(
        py: Python<'_>,
        dir: std::path::PathBuf,
        project: Option<String>,
        memory_bytes: u64,
        cores: usize,
    ) -> Result<Self> {
        let mut options = Options::default();
        if memory_bytes > 0 {
            options.memory_bytes = memory_bytes;
        }
        if cores > 0 {
            options.cores = cores;
        }
        let store = py.detach(|| FeatureStore::open_with(dir, options))?;
        Ok(Embedded { store: RwLock::new(Some(store)), project })
    }

    /// Stops in order. What is asked of it afterwards fails.
    fn close(&self, py: Python<'_>) -> Result<()> {
        py.detach(|| {
            let store = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
            store.map_or(Ok(()), FeatureStore::close).map_err(Fault::from)
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
    ) -> Result<EmbeddedPlan> {
        let asked = Asked::of(features.as_deref(), service, full_names, self.project.as_deref())?;
        py.detach(|| {
            self.with(|store| {
                let found = Mutex::new(Found::find(store, &asked)?);
                Ok(EmbeddedPlan { asked: asked.clone(), found })
            })
        })
    }

    /// Reads what was prepared.
    fn read(
        &self,
        py: Python<'_>,
        plan: &EmbeddedPlan,
        entities: &Bound<'_, PyDict>,
        read_time: i64,
    ) -> PyResult<Answer> {
        let entities = Entities::of(entities)?;
        let read = || self.with(|store| read(store, plan, &entities, read_time));
        Ok(py.detach(read)?)
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
        let report = py.detach(|| {
            let ack = if durable { Ack::Durable } else { Ack::Logged };
            let definition = self.view(view)?;
            check.check(&definition, &layout)?;
            let rows = write.stream(&definition, &layout)?;
            self.with(|store| push(store, &self.named(view), rows, ack, producer))
        })?;
        Ok(serde_json::to_string(&report).map_err(|e| Fault::store(e.to_string()))?)
    }

    /// Loads the rows of a table whose event time lies in a window, or, without one, those that come behind what
    /// was loaded from this source before. The outcome is JSON.
    #[pyo3(signature = (view, source, table, layout, window))]
    fn materialize(
        &self,
        py: Python<'_>,
        view: &str,
        source: &str,
        table: &Bound<'_, PyAny>,
        layout: Layout,
        window: Option<(i64, i64)>,
    ) -> PyResult<String> {
        let (check, write) = streams(table)?;
        let report = py.detach(|| {
            let definition = self.view(view)?;
            check.check(&definition, &layout)?;
            let rows = write.stream(&definition, &layout)?;
            let mut source = TableSource { name: source.to_owned(), rows };
            let view = self.named(view);
            self.with(|store| {
                let report = match window {
                    Some((from, to)) => store.materialize(&view, &mut source, from, to),
                    None => store.materialize_incremental(&view, &mut source),
                };
                loaded(report?)
            })
        })?;
        Ok(report.to_string())
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
        let join = |store: &FeatureStore| {
            history::embedded(store, &ask(&asked), time_column, as_of_known, spine.0)
        };
        py.detach(|| self.with(join)).map(PyArrowType)
    }

    /// The join keys of the entities that the one view of a plan has rows of.
    fn entity_keys<'py>(
        &self,
        py: Python<'py>,
        plan: &EmbeddedPlan,
    ) -> PyResult<Bound<'py, PyDict>> {
        let keys = py.detach(|| {
            self.with(|store| {
                let published = store.registry().published();
                let (picks, home, _) = plan.asked.picks(&published.state)?;
                let [pick] = picks.as_slice() else {
                    return Err(Fault::invalid("entities are those of one view"));
                };
                let object = published.state.find(&[Kind::View], &pick.view, home.as_deref())?;
                let keys = object.as_view().into_iter().flat_map(|view| &view.join_keys);
                let names = keys.map(|key| key.name.clone()).collect();
                let id = &object.id;
                let view = format!("{}/{}@{}", id.project, id.name, id.version);
                EntityKeys::embedded(store, &view, names)
            })
        })?;
        keys.to_dict(py)
    }

    /// Applies definitions as a file holds them; the outcome is JSON.
    fn apply(&self, py: Python<'_>, name: &str, text: &str, dry_run: bool) -> Result<String> {
        py.detach(|| {
            self.with(|store| {
                let read = definitions::read(name, text).map_err(thermae_features::Error::from)?;
                let told = if dry_run {
                    let plan = store.plan(&read)?;
                    serde_json::json!({
                        "base": plan.base, "version": plan.version(), "changes": plan.changes
                    })
                } else {
                    let applied = store.apply(&read, &ApplyOptions::default())?;
                    serde_json::to_value(applied).map_err(|e| Fault::store(e.to_string()))?
                };
                Ok(told.to_string())
            })
        })
    }

    /// The feature views, as JSON.
    fn describe(&self, py: Python<'_>) -> Result<String> {
        py.detach(|| {
            self.with(|store| {
                let published = store.registry().published();
                let of_project =
                    |view: &&FeatureView| self.project.as_ref().is_none_or(|p| *p == view.project);
                let views = published.state.views().filter(of_project);
                let views: Vec<_> =
                    views.map(|view| serde_json::json!({ "definition": view })).collect();
                Ok(serde_json::json!({ "views": views }).to_string())
            })
        })
    }
}

impl Embedded {
    fn with<T>(&self, work: impl FnOnce(&FeatureStore) -> Result<T>) -> Result<T> {
        let held = self.store.read().unwrap_or_else(PoisonError::into_inner);
        work(held.as_ref().ok_or_else(|| Fault::invalid("the store is closed: open it again"))?)
    }

    /// A name with the project that is meant.
    fn named(&self, view: &str) -> String {
        match &self.project {
            Some(project) if !view.contains('/') => format!("{project}/{view}"),
            _ => view.to_owned(),
        }
    }

    fn view(&self, view: &str) -> Result<FeatureView> {
        self.with(|store| {
            let name: Name = self.named(view).parse().map_err(Fault::invalid)?;
            let published = store.registry().published();
            let object = published.state.find(&[Kind::View], &name, None)?;
            let view = object.as_view().cloned();
            view.ok_or_else(|| Fault::not_found(format!("{} is no feature view", object.id)))
        })
    }
}

fn ask(asked: &Asked) -> Ask {
    let ask = match &asked.what {
        What::Features(picks) => Ask::picks(picks.clone()),
        What::Service(name) => Ask::service(&name.to_string()),
    };
    if asked.full_names { ask.with_full_names() } else { ask }
}

fn read(
    store: &FeatureStore,
    plan: &EmbeddedPlan,
    entities: &Entities,
    read_time: i64,
) -> Result<Answer> {
    let mut found = plan.found();
    let rows = found.wanted.entity_rows(entities.rows(), entities)?;
    let answer = store.get_online_features(&ask(&plan.asked).at(read_time), &rows)?;
    if answer.registry_version != found.wanted.registry_version {
        found = Found::find(store, &plan.asked)?;
        *plan.found.lock().unwrap_or_else(PoisonError::into_inner) = found.clone();
    }
    let held = Held::Embedded(answer.to_frame(0, true, BYTES_MAX)?);
    // Between the read and the look at what names mean now the registry may have changed again.
    let names = answer.columns.into_iter().map(|column| column.name).zip(answer.types);
    let is_same = names.len() == found.columns.names.len()
        && found.wanted.registry_version == answer.registry_version;
    let columns = if is_same { found.columns } else { Arc::new(Columns::apart(names)) };
    Ok(Answer::new(held, columns, entities.rows(), read_time))
}
