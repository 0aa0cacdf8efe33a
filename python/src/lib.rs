//! `thermae._thermae`: the part of the Python package that is not Python.
//!
//! It holds no protocol and no storage of its own: a [`remote`] store is the client, an [`embedded`] one the
//! feature store, and both answer with the same [`answer`]. The GIL is released while either works. What is
//! convenience (tables of any kind, names, exceptions) is Python's, in `thermae/`.

mod answer;
mod embedded;
mod entities;
mod errors;
mod feast;
mod history;
mod loads;
mod mapped;
mod pending;
mod remote;
mod request_columns;
mod resolve;
mod rows;
mod scan;
mod values;

use pyo3::prelude::*;

/// The module.
#[pymodule]
fn _thermae(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<answer::Answer>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<remote::Remote>()?;
    module.add_class::<remote::RemotePlan>()?;
    module.add_class::<embedded::Embedded>()?;
    module.add_class::<embedded::EmbeddedPlan>()
}
