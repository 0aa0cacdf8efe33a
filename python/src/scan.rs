//! The entities that a view has rows of.

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyList};
use thermae_client::{Client, Plan, ScanOptions};
use thermae_engine::{Scan, ScanOptions as StoreScanOptions};
use thermae_features::FeatureStore;
use thermae_formats::KeyValue;

use crate::errors::{Fault, Result};

/// Join keys of entities, each once.
pub struct EntityKeys {
    names: Vec<String>,
    keys: Vec<Vec<KeyValue>>,
}

impl EntityKeys {
    /// Those that the one view of a plan has at a server.
    ///
    /// # Errors
    /// A plan of several views, the server's refusal.
    pub fn remote(client: &Client, plan: &Plan) -> Result<Self> {
        let [view] = plan.views() else {
            return Err(Fault::invalid("entities are those of one view"));
        };
        let mut found = EntityKeys {
            names: view.join_keys.iter().map(|key| key.name.clone()).collect(),
            keys: Vec::new(),
        };
        // With deletions: the newest row says whether there is one.
        let options = ScanOptions { tombstones: true, ..ScanOptions::default() };
        let (mut place, mut last) = (None::<Vec<u8>>, None);
        loop {
            let page = client.scan(plan, &options, place.as_deref())?;
            for row in page.rows() {
                let row = row?;
                found.add(row.key, row.values.is_some(), &mut last);
            }
            match page.place() {
                Some(next) => place = Some(next.to_vec()),
                None => return Ok(found),
            }
        }
    }

    /// Those that a view has in an embedded store; `view` is `project/name@version`.
    ///
    /// # Errors
    /// No such view, a table that cannot be read.
    pub fn embedded(store: &FeatureStore, view: &str, names: Vec<String>) -> Result<Self> {
        let mut found = EntityKeys { names, keys: Vec::new() };
        let options = StoreScanOptions { tombstones: true, ..StoreScanOptions::default() };
        let mut last = None;
        for row in Scan::open(&store.handle().snapshot()?, view, &[], &options)? {
            let row = row?;
            found.add(row.key, row.values.is_some(), &mut last);
        }
        Ok(found)
    }

    /// Rows of an entity follow each other, the newest first.
    fn add(&mut self, key: Vec<KeyValue>, is_there: bool, last: &mut Option<Vec<KeyValue>>) {
        if last.as_ref() == Some(&key) {
            return;
        }
        if is_there {
            self.keys.push(key.clone());
        }
        *last = Some(key);
    }

    /// As a dictionary of columns.
    ///
    /// # Errors
    /// Python's.
    pub fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let columns = PyDict::new(py);
        for (at, name) in self.names.iter().enumerate() {
            let values = self.keys.iter().filter_map(|key| key.get(at));
            let values = values.map(|value| object(py, value)).collect::<PyResult<Vec<_>>>()?;
            columns.set_item(name, PyList::new(py, values)?)?;
        }
        Ok(columns)
    }
}

fn object<'py>(py: Python<'py>, value: &KeyValue) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        KeyValue::Int(v) => v.into_pyobject(py)?.into_any(),
        KeyValue::String(v) => v.into_pyobject(py)?.into_any(),
        KeyValue::Bytes(v) => PyBytes::new(py, v).into_any(),
        KeyValue::Uuid(v) => {
            let bytes = [("bytes", PyBytes::new(py, v))].into_py_dict(py)?;
            py.import("uuid")?.getattr("UUID")?.call((), Some(&bytes))?
        }
    })
}
